"""What records lines become, and why: the real agent reads them, and each record is compared.

`logstack explain` shows it. No stack needs to run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path, PurePath

from stack.checks.field_origins import Line, Origins, explain_fields
from stack.components.log_sources import log_sources
from stack.engines import Record
from stack.engines.kinds import kind_of
from stack.engines.otlp import OtlpRecord, parse_batch
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


def explain(
    settings: Settings, program: Path, source: FileSource, lines: list[bytes]
) -> list[Explained]:
    """The records of `lines`, in order. `program`: the agent. Raises AgentError."""
    if not any(lines):
        return []
    sent: list[OtlpRecord] = []
    with tempfile.TemporaryDirectory(prefix="logstack-explain-") as name:
        folder = Path(name)
        file = folder / "lines.log"
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        run = SingleRun(settings, program, source, file, folder, "json", numbered=True)
        run_agent(run, lambda body: sent.extend(parse_batch(body)), lambda: None)
    limit = parse_bytes(settings.limits.line)
    tokens = [(n, token) for n, line in enumerate(lines, 1) for token in _split(line, limit)]
    sent.sort(key=_number)
    ends = [*(_number(item) for item in sent[1:]), len(tokens) + 1]
    return [
        _explain(settings, source.service, item, tokens[_number(item) - 1 : end - 1])
        for item, end in zip(sent, ends, strict=True)
    ]


def _explain(
    settings: Settings, service: str, sent: OtlpRecord, tokens: list[tuple[int, bytes]]
) -> Explained:
    resource = {name: value for name, value in sent.resource.items() if name != LINE_NUMBER}
    record = kind_of(settings).from_otlp(replace(sent, resource=resource))
    text = b"\n".join(token for _, token in tokens).decode("utf-8", "replace").rstrip("\n")
    line = Line(text, service, arrived=not sent.time)
    last = max(number for number, token in tokens if token or number == tokens[0][0])
    return Explained(tokens[0][0], last, record, explain_fields(line, record))


def _number(sent: OtlpRecord) -> int:
    return int(sent.resource[LINE_NUMBER])


def _split(line: bytes, limit: int) -> Iterator[bytes]:
    """What the agent makes of a line that is too long."""
    cuts = [*range(0, len(line), limit), max(len(line), 1)]
    return (line[start:end] for start, end in pairwise(cuts if line else [0, 1]))
