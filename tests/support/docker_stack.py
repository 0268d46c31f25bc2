"""Starts the Docker runtime for tests, and containers that log beside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from docker.types import LogConfig
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer

from stack.components.log_sources import SERVICE_LABEL
from stack.engines import Engine
from stack.engines.factory import engine_of
from stack.runtimes.docker.runtime import DockerRuntime
from stack.settings import variable_name
from stack.settings.targets import Target
from tests.support.native_stack import StackUnderTest

SERVICE = "writer"
# Its helper that cleans up is one more image to pull; `with` removes every container here.
testcontainers_config.ryuk_disabled = True


@dataclass
class DockerStackUnderTest(StackUnderTest):
    """The Docker runtime in folders and on ports of its own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        # Neither records nor containers that a test did not ask for.
        quiet = {("sample_app", "traffic"): "0", ("stack", "grafana"): "off"}
        self.variables = {
            **{variable_name(*key): text for key, text in quiet.items()},
            **self.variables,
        }
        self.variables[variable_name("stack", "runtime")] = "docker"

    @property
    def runtime(self) -> DockerRuntime:
        return DockerRuntime(self.settings)

    @property
    def target(self) -> Target:
        return self.runtime.target

    @property
    def engine(self) -> Engine:
        return engine_of(self.target)

    def logs(self, size: int = 3000) -> str:
        """The end of what every component printed, for a failed test."""
        names = [component.name for component in self.runtime.components]
        return "\n".join(f"--- {name}\n{self.runtime.logs(name)[-size:]}" for name in names)

    @contextmanager
    def writer(self, script: str, *arguments: str, **log: str) -> Iterator[DockerContainer]:
        """A container that runs a Python script and logs the way the sample app's does.

        `log` are options of Docker's json-file driver.
        """
        container = DockerContainer(self.runtime.image("sample_app"))
        container.with_command(["python3", "-u", "-c", script, *arguments])
        container.with_kwargs(
            labels={SERVICE_LABEL: SERVICE},
            log_config=LogConfig(type="json-file", config={"labels": SERVICE_LABEL, **log}),
            network_mode="none",
        )
        with container:
            yield container


def write_lines(*lines: str) -> tuple[str, str]:
    """A script that prints lines and then stays, and its argument."""
    script = """
import sys, json, time
for line in json.loads(sys.stdin.read() if len(sys.argv) < 2 else sys.argv[1]):
    if isinstance(line, list):
        line = line[0] + line[1] * line[2] + line[3]
    sys.stdout.write(line + "\\n")
    sys.stdout.flush()
time.sleep(600)
"""
    return script, json.dumps(list(lines))


def long_line(start: str, letter: str, count: int, end: str) -> Any:
    """A line that write_lines makes inside of the container: arguments have a limit."""
    return [start, letter, count, end]
