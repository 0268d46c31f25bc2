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
    """Run a docker command to its end, whatever its exit status. Raises DockerError."""
    try:
        return subprocess.run(
            [*command, *arguments], capture_output=True, text=True, check=False, timeout=timeout
        )
    except FileNotFoundError:
        raise DockerError(
            "cannot use Docker: the program `docker` is not on PATH. Install Docker, or run: "
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
            f"cannot use Docker: its engine does not answer: {reason}\n"
            "Start it (systemctl start docker), or run: RUNTIME=native make up"
        )
    version = result.stdout.strip()
    numbers = tuple(int(part) for part in version.split("+")[0].split(".")[:2] if part.isdigit())
    if numbers < OLDEST_ENGINE:
        oldest = ".".join(map(str, OLDEST_ENGINE))
        raise DockerError(
            f"docker: expected an engine of version {oldest} or newer, got {version}. "
            "Update it, or run: RUNTIME=native make up"
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
        "cannot use Docker: Compose v2 (`docker compose`) is not installed. Install the package "
        "docker-compose-plugin, or run: ./logstack images build (builds it), or: "
        "RUNTIME=native make up"
    )
