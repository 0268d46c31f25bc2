"""The table of `status` on terminals of any width."""

from __future__ import annotations

import re

import pytest

from stack.cli.console import out, print_statuses
from stack.runtimes.native import Status

NOTE = "ended 3 times in five minutes: another program uses its port"
STATUSES = [
    Status("victorialogs", "restarting", "http://127.0.0.1:8001", "/run/a.log", note=NOTE),
    Status("otelcol", "unsupervised", "http://127.0.0.1:8002", "/run/b.log", 7, 90, 2),
]


@pytest.mark.parametrize("columns", [30, 40, 60, 80, 100, 200])
def test_states_and_what_is_shown_beside_them_are_whole(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A note continues below; a column that does not fit is left out as a whole."""
    monkeypatch.setattr(out, "_width", columns)
    print_statuses(STATUSES)
    text = capsys.readouterr().out
    assert "…" not in text
    assert re.search(r"otelcol +unsupervised", text)
    words = re.sub(r"[^\w:/.()]+", " ", text)
    for word in f"restarting ({NOTE})".split():
        assert word in words
    table, _, below = text.partition("Log files: ")
    assert bool(below) == ("log file" not in table)
    assert all(len(line) <= columns for line in table.splitlines())
    for heading, value in (("address", "http://127.0.0.1:8001"), ("restarts", " 2 ")):
        assert (heading in table) == (value in f"{table} ")
