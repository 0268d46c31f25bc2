"""A container of an application reaches no part of the stack: networks apart."""

from __future__ import annotations

import json

import pytest

from stack.runtimes.docker.engine import run
from tests.support.docker_stack import DockerStackUnderTest

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

# Prints what each address of the arguments answers, by name, by address and by the way out.
ASK = """
import socket, sys
for place in sys.argv[1:]:
    name, _, port = place.rpartition(":")
    try:
        socket.create_connection((name, int(port)), timeout=3).close()
        print(place, "open")
    except OSError:
        print(place, "closed")
"""
INSPECT = "{{json .NetworkSettings.Networks}}"


def container_of(stack: DockerStackUnderTest, component: str) -> str:
    project, service = stack.runtime.project, f"com.docker.compose.service={component}"
    labels = ("--filter", f"label=com.docker.compose.project={project}")
    return run("ps", "-q", *labels, "--filter", f"label={service}").stdout.strip()


def networks_of(stack: DockerStackUnderTest, component: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(
        run("inspect", "-f", INSPECT, container_of(stack, component)).stdout
    )
    return found


def asked(stack: DockerStackUnderTest, component: str, places: list[str]) -> list[str]:
    """Which of the places a program in the component's container reaches."""
    command = ("exec", container_of(stack, component), "python3", "-c", ASK, *places)
    answer = run(*command, timeout=180)
    assert answer.returncode == 0, answer.stderr
    return [line for line in answer.stdout.splitlines() if line.endswith(" open")]


def test_an_application_reaches_no_part_of_the_stack(stack: DockerStackUnderTest) -> None:
    """Neither by name, nor by address, nor by the port that is open to this machine."""
    others = [c for c in stack.runtime.components if c.port and c.name != "sample_app"]
    assert {"alertmanager", stack.runtime.target.settings.stack.engine} <= {c.name for c in others}
    gateways = [item["Gateway"] for item in networks_of(stack, "sample_app").values()]
    places = []
    for component in others:
        addresses = [item["IPAddress"] for item in networks_of(stack, component.name).values()]
        for port in component.ports:
            number = stack.runtime.target.port(port)
            places += [f"{host}:{number}" for host in (component.name, *addresses, *gateways)]
    assert asked(stack, "sample_app", places) == []
    # The same program in a container of the stack's network reaches all of it.
    inside = [f"{c.name}:{stack.runtime.target.port(c.health_port or c.port)}" for c in others]
    assert asked(stack, "monitor", inside) == [f"{place} open" for place in inside]
