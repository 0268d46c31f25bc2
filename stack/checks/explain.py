"""What records lines become, and why: the real agent reads them, and each record is compared.

`logstack explain` shows it. No stack needs to run.
"""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePath

from stack.checks.field_origins import Line, Origins, explain_fields
from stack.components.log_sources import log_sources
from stack.engines import Record
from stack.engines.kinds import kind_of
from stack.engines.loki import record_from
from stack.engines.otlp import OtlpRecord, parse_batch
from stack.runtimes.promtail_run import run_promtail
from stack.runtimes.single_run import LINE_NUMBER, SingleRun, run_agent
from stack.settings import Settings
from stack.settings.tables import FileSource
from stack.settings.targets import native
from stack.settings.units import parse_bytes


@dataclass(frozen=True)
class Explained:
    """One record: the lines that it was made of, counted from 1, and where its fields come from."""

    first: int
    last: int
    record: Record
    origins: Origins


def entry_of(settings: Settings, service: str, path: Path | None) -> FileSource:
    """How the agent reads a file or a service's lines: its entry in agent.files, if it has one.

    The entry's path becomes `path`.
    """
    entries = settings.agent.files
    if path is not None:
        patterns = {source.path: source.patterns for source in log_sources(native(settings))}
        entries = tuple(
            entry
            for entry in entries
            if any(PurePath(path).match(pattern) for pattern in patterns.get(entry.path, ()))
        )
    if service:
        entries = tuple(entry for entry in entries if entry.service == service)
    name = service or settings.sample_app.service
    entry = entries[0] if entries else FileSource(service=name, path="/dev/stdin")
    return entry.model_copy(update={"path": str(path)} if path else {})


@dataclass(frozen=True)
class Read:
    """A record, and which of the lines (as the agent splits them, from 0) it begins at.

    `arrived`: it has the time of its arrival.
    """

    first: int
    record: Record
    arrived: bool


def explain(
    settings: Settings, program: Path, source: FileSource, lines: list[bytes]
) -> list[Explained]:
    """The records of `lines`, in order. `program`: the agent. Raises AgentError."""
    if not any(lines):
        return []
    limit = parse_bytes(settings.limits.line)
    tokens = [(n, token) for n, line in enumerate(lines, 1) for token in _split(line, limit)]
    with tempfile.TemporaryDirectory(prefix="logstack-explain-") as name:
        folder = Path(name)
        file = folder / "lines.log"
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        run = SingleRun(settings, program, source, file, folder, "json", numbered=True)
        read = AGENTS[settings.stack.agent](run, [token for _, token in tokens])
    read.sort(key=lambda item: item.first)
    ends = [*(item.first for item in read[1:]), len(tokens)]
    return [
        _explain(source.service, item, tokens[item.first : max(end, item.first + 1)])
        for item, end in zip(read, ends, strict=True)
    ]


def _explain(service: str, read: Read, tokens: list[tuple[int, bytes]]) -> Explained:
    text = b"\n".join(token for _, token in tokens).decode("utf-8", "replace").rstrip("\n")
    line = Line(text, service, read.arrived)
    last = max(number for number, token in tokens if token or number == tokens[0][0])
    return Explained(tokens[0][0], last, read.record, explain_fields(line, read.record))


def _read_with_collector(run: SingleRun, tokens: list[bytes]) -> list[Read]:
    """The collector numbers the lines."""
    sent: list[OtlpRecord] = []
    run_agent(run, lambda body: sent.extend(parse_batch(body)))
    found = []
    for item in sent:
        resource = dict(item.resource)
        first = int(resource.pop(LINE_NUMBER)) - 1
        record = kind_of(run.settings).from_otlp(replace(item, resource=resource))
        found.append(Read(first, record, arrived=not item.time))
    return found


def _read_with_promtail(run: SingleRun, tokens: list[bytes]) -> list[Read]:
    """Promtail keeps lines as they are, so that a record begins at the line that it begins with."""
    places: dict[str, deque[int]] = {}
    for place, token in enumerate(tokens):
        places.setdefault(token.decode("utf-8", "replace"), deque()).append(place)
    started = time.time_ns()
    found: list[Read] = []
    for entry in run_promtail(run, sum(map(bool, tokens))):
        at = places.get(entry.line.split("\n")[0])
        first = at.popleft() if at else max((item.first for item in found), default=-1) + 1
        first = min(first, len(tokens) - 1)
        record = record_from(entry)
        if record.get("log.file.path") == str(run.file):
            record["log.file.path"] = run.source.path
        found.append(Read(first, record, arrived=entry.time >= started))
    return found


AGENTS: Mapping[str, Callable[[SingleRun, list[bytes]], list[Read]]] = {
    "otelcol": _read_with_collector,
    "promtail": _read_with_promtail,
}


def _split(line: bytes, limit: int) -> Iterator[bytes]:
    """What the agent makes of a line that is too long."""
    cuts = [*range(0, len(line), limit), max(len(line), 1)]
    return (line[start:end] for start, end in pairwise(cuts if line else [0, 1]))
