"""How `logstack smoke` compares records."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.checks.smoke import SmokeError, differences, find_written

WANTED = {"message": "x", "status": 200, "duration_ms": 1.0, "truncated": True}


def test_equal_records_do_not_differ() -> None:
    """In whatever order their fields are."""
    assert differences(WANTED, dict(reversed(WANTED.items()))) == []


@pytest.mark.parametrize(
    ("found", "wanted_line"),
    [
        (
            {**WANTED, "message": "y"},
            "  message: expected 'x' (str), got 'y' (str)",
        ),
        (
            {**WANTED, "status": "200"},
            "  status: expected 200 (int), got '200' (str)",
        ),
        (
            {**WANTED, "duration_ms": 1},
            "  duration_ms: expected 1.0 (float), got 1 (int)",
        ),
        (
            {**WANTED, "truncated": 1},
            "  truncated: expected True (bool), got 1 (int)",
        ),
        (
            {name: value for name, value in WANTED.items() if name != "status"},
            "  status: expected 200 (int), got '(nothing)' (str)",
        ),
        (
            {**WANTED, "extra": "e"},
            "  extra: expected '(nothing)' (str), got 'e' (str)",
        ),
    ],
)
def test_a_difference_is_named(found: dict[str, object], wanted_line: str) -> None:
    """Another value, another type, a field too few and a field too many."""
    assert differences(WANTED, found) == [wanted_line]


def test_every_difference_is_named() -> None:
    """In the order of the record written, then what was added."""
    lines = differences({"a": 1, "b": 2}, {"c": 3, "b": 4})
    assert [line.split(":")[0].strip() for line in lines] == ["a", "b", "c"]


def test_the_written_record_is_found_by_its_marker(tmp_path: Path) -> None:
    """Among others, and beside lines that are not JSON."""
    log = tmp_path / "app.log"
    log.write_text('Traceback\n{"marker": "m-1"}\n{"marker": "m-2", "x": 1}\n', encoding="utf-8")
    assert find_written(log, "m-2") == {"marker": "m-2", "x": 1}


@pytest.mark.parametrize(("text", "found"), [("", 0), ('{"marker": "m"}\n' * 2, 2)])
def test_a_marker_that_is_not_there_once_is_an_error(tmp_path: Path, text: str, found: int) -> None:
    """Nothing was written, or twice."""
    log = tmp_path / "app.log"
    log.write_text(text, encoding="utf-8")
    with pytest.raises(SmokeError) as caught:
        find_written(log, "m")
    assert str(caught.value) == f"{log}: expected 1 line with m, got {found}"


def test_a_missing_log_file_says_what_to_type(tmp_path: Path) -> None:
    """The stack was never started."""
    with pytest.raises(SmokeError) as caught:
        find_written(tmp_path / "app.log", "m")
    assert str(caught.value) == (
        f"cannot read {tmp_path / 'app.log'}: No such file or directory. Run: make up"
    )
