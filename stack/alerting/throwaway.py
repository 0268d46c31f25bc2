"""Temporary programs that run until a block ends, for the rule tests and for tests."""

from __future__ import annotations

import socket
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from stack import artifacts
from stack.common import wait_until
from stack.components.catalogue import by_name, programs
from stack.components.loki import render_loki
from stack.engines import EngineError
from stack.engines.facts import VL_EMPTY_MESSAGE
from stack.engines.loki import Loki
from stack.engines.victorialogs import VictoriaLogs
from stack.settings import Settings
from stack.settings.secrets import write_private
from stack.settings.targets import Target

START_TIMEOUT = 60.0  # seconds
HOST = "127.0.0.1"


@dataclass(frozen=True)
class RunningProcess:
    """A running program. `log` is the file with its output."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]


@contextmanager
def running(
    argv: Sequence[str],
    url: str,
    health: str,
    folder: Path,
    environ: Mapping[str, str] | None = None,
) -> Iterator[RunningProcess]:
    """Run a program until the block ends; it is ready when `url` + `health` answers 200.

    Raises EngineError with the end of its log when it does not become ready.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "output.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            argv, stdout=output, stderr=subprocess.STDOUT, cwd=folder, env=environ
        )
    found = RunningProcess(url, log, process)
    try:
        wait_until_healthy(found, health)
        yield found
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until_healthy(found: RunningProcess, health: str) -> None:
    """Raises EngineError with the end of its log when it does not become healthy."""

    def is_settled() -> bool:
        return _answers(found.url + health) or found.process.poll() is not None

    wait_until(is_settled, START_TIMEOUT, every=0.1)
    ended = found.process.poll() is not None
    if ended or not _answers(found.url + health):
        text = found.log.read_text(encoding="utf-8", errors="replace")[-4000:]
        cause = "it exited" if ended else f"no response within {START_TIMEOUT:g} s"
        raise EngineError(f"cannot reach {found.url}{health}: {cause}. Its log:\n{text}")


def _answers(url: str) -> bool:
    try:
        return bool(requests.get(url, timeout=2).ok)
    except requests.RequestException:
        return False


@contextmanager
def throwaway_victorialogs(settings: Settings) -> Iterator[VictoriaLogs]:
    """An empty VictoriaLogs that accepts records of any age. Raises EngineError, ArtifactError."""
    folders = artifacts.ensure_all(settings, lambda name, text: None)
    with tempfile.TemporaryDirectory(prefix="logstack-") as name:
        folder = Path(name)
        address = f"{HOST}:{free_port()}"
        argv = [
            str(folders["victorialogs"] / "victoria-logs"),
            f"-storageDataPath={folder / 'data'}",
            f"-httpListenAddr={address}",
            "-retentionPeriod=10y",
            f"-defaultMsgValue={VL_EMPTY_MESSAGE}",
        ]
        with running(argv, f"http://{address}", "/health", folder / "victorialogs") as found:
            yield VictoriaLogs(found.url)


@contextmanager
def throwaway_loki(settings: Settings) -> Iterator[Loki]:
    """An empty Loki that returns records of any age. Raises EngineError if none is on PATH."""
    artifact = programs(settings)["loki"]
    binaries = artifacts.find(artifact, artifacts.cache_dir(settings))
    if binaries is None:
        raise EngineError(f"cannot start Loki: loki {artifact.version} is not on PATH")
    ports = {"offset": 0, "loki": free_port(), "loki_grpc": free_port()}
    values = settings.model_copy(
        update={
            "ports": settings.ports.model_copy(update=ports),
            "retention": settings.retention.model_copy(update={"hot_days": 3000}),
        }
    )
    with tempfile.TemporaryDirectory(prefix="logstack-") as name:
        folder = Path(name)
        target = Target("throwaway", HOST, folder / "run", folder / "data", values)
        for path, text in render_loki(target).items():
            write_private(target.run_dir / path, text)
        (target.config_dir("loki") / "rules").mkdir(exist_ok=True)
        argv = [str(binaries / artifact.binaries[0]), *by_name("loki").argv(target)]
        with running(argv, target.url("loki"), by_name("loki").health, folder / "loki") as found:
            yield Loki(found.url)


def flush(engine: VictoriaLogs) -> None:
    """Make pushed records visible to queries."""
    requests.get(f"{engine.url}/internal/force_flush", timeout=30).raise_for_status()


def free_port() -> int:
    """A free port of loopback."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
