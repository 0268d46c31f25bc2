"""Runs the real agent over one file, to the end: `logstack explain` and `import` use it.

Its configuration is the rendered one. That file is its only source, it keeps nothing on disk, and
it sends to a receiver in this process.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import yaml

from stack import artifacts
from stack.common import last_lines
from stack.components.catalogue import by_name, programs
from stack.components.component import as_pattern
from stack.components.log_sources import source_of
from stack.components.otelcol import render_otelcol
from stack.runtimes.loopback import OnBatch, Receiver
from stack.settings import Settings
from stack.settings.secrets import write_private
from stack.settings.tables import FileSource
from stack.settings.targets import Target, native

# Lets `delete_after_read` be set: that the file is gone says that all of it was read.
DELETION = "filelog.allowFileDeletion"
LINE_NUMBER = "logstack.line"
MOST_QUEUED = 64_000_000  # bytes of records on their way to the receiver
STOP_SECONDS = 60
# Ends the agent when this process ends in whatever way: its parent's end is its signal to end.
UNTIL_PARENT_ENDS = (
    "import ctypes, os, signal, sys; "
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL); "
    "os.getppid() == int(sys.argv[1]) or os._exit(1); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


class AgentError(Exception):
    """The agent could not be run over a file; the text says why."""


@dataclass(frozen=True)
class SingleRun:
    """One run of the collector.

    `source` names the service and how the lines are read; its path is the one that records carry.
    `file` is what is read, and is deleted; `program` is the collector. `accepted`: how far a
    record's time may be before and after now, instead of what the engine accepts. `encoding` is
    that of the batches. With `numbered` each record has the number of its first line in the
    attribute LINE_NUMBER of its resource.
    """

    settings: Settings
    program: Path
    source: FileSource
    file: Path
    folder: Path
    encoding: Literal["json", "proto"]
    accepted: tuple[timedelta, timedelta] | None = None
    numbered: bool = False

    @property
    def target(self) -> Target:
        return native(self.settings)

    def config(self) -> dict[str, Any]:
        """The agent's rendered configuration."""
        source = source_of(self.target, self.source)
        text = render_otelcol(self.target, (source,), self.accepted)
        config: dict[str, Any] = yaml.safe_load(text)
        return config


def find_program(
    settings: Settings, on_progress: artifacts.OnProgress, agent: str = "otelcol"
) -> Path:
    """An agent's binary; built if it is missing. Raises ArtifactError."""
    program = programs(settings)[agent]
    folders = artifacts.ensure_all(settings, on_progress, {agent: program})
    return folders[agent] / program.binaries[0]


def run_agent(run: SingleRun, on_batch: OnBatch) -> None:
    """Read the file to its end and hand on every batch.

    Raises AgentError; whatever happens, the agent has ended on return.
    """
    component = by_name("otelcol")
    arguments = component.argv(run.target)
    gates = next(argument for argument in arguments if argument.startswith("--feature-gates="))
    with Receiver(on_batch) as receiver:
        config = for_one_file(run, f"http://127.0.0.1:{receiver.port}")
        path = run.folder / "config.yaml"
        write_private(path, yaml.safe_dump(config, allow_unicode=True, width=10_000))
        argv = [str(run.program), f"--config={path}", f"{gates},{DELETION}"]
        with started(argv, component.env(run.target), run.folder) as process:
            while run.file.exists() and receiver.error is None:
                check_running(process, run.folder)
                time.sleep(0.05)
            if receiver.error:
                raise receiver.error
            process.terminate()  # it hands on what it still holds
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                raise AgentError(
                    f"cannot stop the agent: it has not ended after {STOP_SECONDS} s"
                ) from None
        if receiver.error:
            raise receiver.error
        if process.returncode:
            raise AgentError(_failure(process.returncode, run.folder))


def for_one_file(run: SingleRun, url: str) -> dict[str, Any]:
    """The rendered configuration with one source, one receiver and no storage."""
    config = run.config()
    ((name, receiver),) = config["receivers"].items()
    receiver.pop("storage")
    receiver |= {
        "include": [_escape(as_pattern(run.file))],
        "exclude": [],
        "delete_after_read": True,
        "poll_interval": "50ms",
    }
    first: list[dict[str, Any]] = [
        {
            "id": "original_path",
            "type": "add",
            "field": 'attributes["log.file.path"]',
            "value": _escape(run.source.path),
        }
    ]
    if run.numbered:
        receiver["include_file_record_number"] = True
        number = 'attributes["log.file.record_number"]'
        to = f'resource["{LINE_NUMBER}"]'
        first.append({"id": "line_number", "type": "move", "from": number, "to": to})
    receiver["operators"] = [*first, *receiver["operators"]]
    config["receivers"] = {name: receiver}
    exporter = next(iter(config["exporters"].values()))
    exporter.pop("tls", None)
    exporter.pop("headers", None)
    exporter |= {"logs_endpoint": url, "compression": "none", "encoding": run.encoding}
    exporter["sending_queue"].pop("storage")
    exporter["sending_queue"] |= {"queue_size": MOST_QUEUED, "num_consumers": 1}
    config["exporters"] = {"otlp_http": exporter}
    config.pop("extensions")
    service = config["service"]
    service.pop("extensions")
    service["telemetry"]["metrics"] = {"level": "none"}
    service["pipelines"]["logs"] |= {"receivers": [name], "exporters": ["otlp_http"]}
    return config


@contextmanager
def started(
    argv: list[str], env: Mapping[str, str], folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """An agent's process while the block runs; its log is in the folder."""
    with (folder / "agent.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", UNTIL_PARENT_ENDS, str(os.getpid()), *argv],
            env={**os.environ, **env},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C reaches this process, which ends the agent
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def check_running(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Raises AgentError, with the end of its log, once it has ended."""
    if process.poll() is not None:
        raise AgentError(_failure(process.returncode, folder))


def _failure(status: int, folder: Path) -> str:
    text = (folder / "agent.log").read_text(encoding="utf-8", errors="replace")
    return f"cannot run the agent: it ended with status {status}. The end of its log:\n" + (
        last_lines(text, 10)
    )


def _escape(text: str) -> str:
    """Text that the collector does not expand."""
    return text.replace("$", "$$")
