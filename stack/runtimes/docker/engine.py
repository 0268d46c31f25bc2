"""Runs `docker` and Compose, and says what is wrong where they cannot be used."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from stack import artifacts
from stack.settings import Settings

OLDEST_ENGINE = (20, 10)
TIMEOUT = 60.0


class DockerError(Exception):
    """Docker could not do what it was asked; the text says what to do."""


def run(
    *arguments: str, command: tuple[str, ...] = ("docker",), timeout: float = TIMEOUT
) -> subprocess.CompletedProcess[str]:
    """Run a command of docker to its end, whatever it ends with. Raises DockerError."""
    try:
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=timeout
        )
    except FileNotFoundError:
        raise DockerError(
            "docker: wanted the program `docker` on PATH, found none. Install Docker, or type: "
            "RUNTIME=native make up"
        ) from None
    except subprocess.TimeoutExpired:
        shown = " ".join((*command, *arguments[:1]))
        raise DockerError(f"`{shown}` did not end within {timeout:g} s") from None


def ask(*arguments: str) -> str:
    """What a command of docker prints. Raises DockerError if it fails."""
    result = run(*arguments)
    if result.returncode != 0:
        raise DockerError(f"`docker {arguments[0]}`: {result.stderr.strip()[-500:]}")
    return result.stdout


def check_engine(settings: Settings) -> None:
    """An engine answers, is new enough, and Compose v2 is there. Raises DockerError."""
    result = run("version", "--format", "{{.Server.Version}}")
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no answer"])[-1]
        raise DockerError(
            f"docker: wanted an engine that answers, found: {reason}\n"
            "Start it (systemctl start docker), or type: RUNTIME=native make up"
        )
    version = result.stdout.strip()
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < OLDEST_ENGINE:
        oldest = ".".join(map(str, OLDEST_ENGINE))
        raise DockerError(
            f"docker: wanted an engine of version {oldest} or newer, found {version}. "
            "Update it, or type: RUNTIME=native make up"
        )
    compose_command(settings)


def compose_command(settings: Settings) -> tuple[str, ...]:
    """Compose v2: docker's plugin, or the one that this project built. Raises DockerError."""
    if shutil.which("docker") and run("compose", "version").returncode == 0:
        return ("docker", "compose")
    folder = artifacts.find(artifacts.compose_plugin(settings), artifacts.cache_dir(settings))
    if folder and os.access(program := Path(folder) / "docker-compose", os.X_OK):
        return (str(program),)
    raise DockerError(
        "docker: wanted Compose v2 (`docker compose`), found none. Install the package "
        "docker-compose-plugin, build it with ./logstack images build, or type: "
        "RUNTIME=native make up"
    )
