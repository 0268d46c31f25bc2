"""For an application's tests: the records it logs, as parsed JSON, through the real handler."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, overload

from logstack_django.handlers import JsonHandler
from logstack_django.options import Options
from logstack_django.sinks import MemorySink

Record = dict[str, Any]


class CapturedLogs(Sequence[Record]):
    """The records so far, oldest first, as dictionaries."""

    def __init__(self, sink: MemorySink) -> None:
        self._sink = sink
        self._parsed: list[Record] = []

    @property
    def lines(self) -> list[bytes]:
        """The lines as they would have been written."""
        return list(self._sink.lines)

    def _records(self) -> list[Record]:
        for line in self._sink.lines[len(self._parsed) :]:
            self._parsed.append(json.loads(line))
        return self._parsed

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        return self._records()[index]

    def __len__(self) -> int:
        return len(self._sink.lines)

    def matching(self, **fields: Any) -> list[Record]:
        """The records in which every given field has the given value."""
        return [record for record in self._records() if _matches(record, fields)]

    def clear(self) -> None:
        """Forget the records so far."""
        self._sink.lines.clear()
        self._parsed.clear()


@contextmanager
def capture_logs(
    level: int | str | None = None,
    *,
    logger: str = "",
    options: Options | Mapping[str, Any] | None = None,
) -> Iterator[CapturedLogs]:
    """Capture what is logged inside the block, besides the handlers that are configured.

    Uses the options of the project's LOGGING setting, and includes loggers that do not propagate.
    `level` overrides the configured level; `logger` limits the capture to one logger and its
    children.
    """
    sink = MemorySink()
    handler = JsonHandler(options if options is not None else _read_project_options(), sink=sink)
    top = logging.getLogger(logger)
    targets = [top, *_find_separate_loggers(logger)]
    before = top.level
    for target in targets:
        target.addHandler(handler)
    if level is not None:
        top.setLevel(level)
    try:
        yield CapturedLogs(sink)
    finally:
        for target in targets:
            target.removeHandler(handler)
        top.setLevel(before)
        handler.close()


def assert_logged(
    logs: Sequence[Record], message: str | None = None, *, count: int | None = None, **fields: Any
) -> Record:
    """The first record with all of these fields; an AssertionError shows the closest ones if none.

    `message` may be a part of the record's message. `count` is the exact number of records.
    None means that the field must be absent.
    """
    found = [
        record
        for record in logs
        if _matches(record, fields) and (message is None or message in record["message"])
    ]
    expected = {**({"message": message} if message is not None else {}), **fields}
    if count is not None and len(found) != count:
        wording = f"{count} record{'s' * (count != 1)}"
        raise AssertionError(
            f"expected {wording} with {expected}, got {len(found)}:\n{_show(found or logs)}"
        )
    if not found and count is None:
        nearest = sorted(logs, key=lambda record: -_count_matches(record, expected))[:5]
        raise AssertionError(
            f"expected a record with {expected}, got {len(logs)} others; closest:\n{_show(nearest)}"
        )
    return found[0] if found else {}


def _read_project_options() -> Options:
    from django.conf import settings

    from logstack_django.config import current_options

    return current_options() if settings.configured else Options(service="test")


def _find_separate_loggers(top: str) -> list[logging.Logger]:
    """Loggers below `top` whose records do not reach it."""
    prefix = f"{top}." if top else ""
    return [
        found
        for name, found in list(logging.Logger.manager.loggerDict.items())
        if isinstance(found, logging.Logger) and not found.propagate and name.startswith(prefix)
    ]


def _matches(record: Record, fields: Mapping[str, Any]) -> bool:
    return all(record.get(name) == value for name, value in fields.items())


def _count_matches(record: Record, expected: Mapping[str, Any]) -> int:
    return sum(record.get(name) == value for name, value in expected.items())


def _show(records: Sequence[Record]) -> str:
    return (
        "\n".join(json.dumps(record, ensure_ascii=False)[:2000] for record in records) or "  none"
    )
