"""What the agent makes of lines of text: their level, time and fields, stack traces, secrets."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from stack.engines import Record, Selection
from stack.settings import variable_name
from tests.native.text_lines import CASES, MOMENT, TIMEZONE, TRACES, Case
from tests.support.native_stack import (
    DEFAULT,
    LOKI,
    Combination,
    StackUnderTest,
    marker,
    on,
    poll,
)

pytestmark = [pytest.mark.native, on(DEFAULT, LOKI)]
FORMATS = ("auto", "nginx", "apache", "gunicorn", "text")


class Lines:
    """All cases, written at once to the files of their formats, and the records they became."""

    def __init__(self, stack: StackUnderTest, folder: Path) -> None:
        self.stack, self.folder = stack, folder
        self.marks = {name: marker() for name in (*CASES, *TRACES)}
        self.records: list[Record] = []

    def write(self) -> None:
        for name, case in CASES.items():
            self._append(case.file, case.lines(self.marks[name]))
        for name, case in TRACES.items():
            mark = self.marks[name]
            text = "\n".join((f"before {mark}", case.lines(mark), f"after {mark}"))
            self._append("auto", text)

    def read(self) -> None:
        """Once as many have arrived as were written."""
        count = len(CASES) + 3 * len(TRACES)
        now = datetime.now(UTC)
        selection = Selection(
            since=now - timedelta(days=1),
            until=now + timedelta(hours=1),
            matches={"service_name": "texts"},
        )
        poll(
            lambda: self.stack.engine.count(selection) >= count,
            lambda: f"{count} records, got {self.stack.engine.count(selection)}",
        )
        self.records = list(self.stack.engine.records(selection, limit=1000))

    def of(self, name: str) -> list[Record]:
        mark = self.marks[name]
        return [r for r in self.records if mark in str(r["message"])]

    def _append(self, file: str, text: str) -> None:
        with (self.folder / f"{file}.log").open("a", encoding="utf-8") as log:
            log.write(f"{text}\n")


@pytest.fixture(scope="module")
def lines(
    tmp_path_factory: pytest.TempPathFactory, combination: Combination, binaries: None
) -> Iterator[Lines]:
    folder = tmp_path_factory.mktemp("texts")
    tables = (
        f'{{service = "texts", path = "{folder}/{name}.log", format = "{name}"}}'
        for name in FORMATS
    )
    variables = {
        variable_name("agent", "files"): f"[{', '.join(tables)}]",
        variable_name("agent", "timezone"): TIMEZONE,
    }
    stack = StackUnderTest(folder / "stack", {**combination.variables, **variables})
    stack.folder.mkdir()
    stack.up()
    written = Lines(stack, folder)
    try:
        written.write()
        written.read()
        yield written
    finally:
        stack.run("down")


@pytest.mark.parametrize("name", CASES)
def test_a_line_has_what_it_shows(lines: Lines, name: str) -> None:
    """Its level, logger, own time and fields; the message stays as it was written."""
    [found] = lines.of(name)
    case, mark = CASES[name], lines.marks[name]
    plain = case.lines(mark).replace("\x1b[31m", "").replace("\x1b[0m", "").rstrip("\r")
    expected = {"message": plain, **_filled(case, mark)}
    assert {key: found.get(key) for key in expected} == expected
    if "timestamp" not in case.expected:
        assert str(found["timestamp"]) > MOMENT.isoformat()


@pytest.mark.parametrize("name", TRACES)
def test_a_stack_trace_is_one_record(lines: Lines, name: str) -> None:
    """Of the level ERROR, with what was raised; the lines around it are records of their own."""
    case, mark = TRACES[name], lines.marks[name]
    messages = [f"before {mark}", case.lines(mark), f"after {mark}"]
    found = {str(record["message"]): record for record in lines.of(name)}
    assert sorted(found) == sorted(messages)
    expected = {"level": "ERROR", "format": "text", **_filled(case, mark)}
    assert {key: found[messages[1]].get(key) for key in expected} == expected


def test_only_text_without_a_level_counts_as_unparsed(lines: Lines) -> None:
    """The alert rule is quiet for files whose text is right."""
    unparsed = {str(r["message"]) for r in lines.records if r.get("level") is None}
    assert not [message for message in unparsed if lines.marks["text that is right"] in message]
    assert [message for message in unparsed if lines.marks["plain words"] in message]


def _filled(case: Case, mark: str) -> dict[str, Any]:
    return {
        name: Case(value).lines(mark) if isinstance(value, str) and "{" in value else value
        for name, value in case.expected.items()
    }
