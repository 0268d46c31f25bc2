"""A search of the archive: what waits in memory and on disk, and in which order it comes out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stack.archive import ArchiveError, scan
from stack.archive.format import lines
from stack.archive.format.manifest import Part
from stack.archive.scan import Ahead, Found, StoppedError
from stack.archive.search import Candidate, Matcher, merged
from stack.engines import Selection

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MOMENTS = st.lists(st.integers(0, 30), min_size=1, max_size=20).map(sorted)


def line(moment: int, text: str = "") -> bytes:
    return lines.encode(b"%019d" % moment, b"{}", {}, text)


def candidate(moments: list[int], number: int) -> Candidate:
    part = Part(
        key=f"part-{number}",
        services=(),
        records=len(moments),
        streams={},
        raw_bytes=0,
        raw_sha256="",
        compressed_bytes=0,
        compressed_sha256="",
        first_ns=f"{moments[0]:019d}",
        last_ns=f"{moments[-1]:019d}",
    )
    return Candidate(NOON, part, "victorialogs")


def found_of(rows: list[bytes], folder: Path) -> Found:
    found = Found(folder)
    for row in rows:
        found.add(row)
    return found


def test_what_is_found_waits_on_disk_beyond_a_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In its order, whatever its size; in the work folder, without a name."""
    monkeypatch.setattr(scan, "HELD_BYTES", 1000)
    for count in (0, 1, 9, 10, 11, 95):
        rows = [b"%0100d" % number for number in range(count)]
        found = found_of(rows, tmp_path)
        assert list(found.lines()) == rows
        assert (found.count, found.size) == (count, 100 * count)
        assert sum(map(len, found.held)) < 1000
        found.close()
    assert list(tmp_path.iterdir()) == []


@given(st.lists(MOMENTS, max_size=8))
def test_parts_come_out_in_one_order(moments: list[list[int]]) -> None:
    """Of parts that overlap or not, each line once."""
    moments = sorted(moments, key=lambda item: item[0])
    chosen = [candidate(item, number) for number, item in enumerate(moments)]
    scanned = (found_of([line(moment) for moment in item], Path("/tmp")) for item in moments)
    out = list(merged(chosen, scanned, lambda name, text: None))
    assert out == sorted((line(moment), "victorialogs") for item in moments for moment in item)


def test_what_is_earlier_than_all_further_parts_waits_for_none_of_them(tmp_path: Path) -> None:
    """So that the oldest few records are there at once, and the rest is never read."""
    moments = [[1, 2, 8], [5, 6], [7, 9]]
    asked: list[int] = []

    def scanned() -> Iterator[Found]:
        for number, item in enumerate(moments):
            asked.append(number)
            yield found_of([line(moment) for moment in item], tmp_path)

    chosen = [candidate(item, number) for number, item in enumerate(moments)]
    out = merged(chosen, scanned(), lambda name, text: None)
    seen = [(lines.timestamp(next(out)[0]), len(asked)) for _ in range(7)]
    assert seen == [(1, 1), (2, 1), (5, 2), (6, 2), (7, 3), (8, 3), (9, 3)]
    assert next(out, None) is None


def test_parts_are_not_begun_while_much_waits_but_for_the_one_that_is_read_next() -> None:
    """Otherwise nothing would go on."""
    ahead = Ahead()
    ahead.add(scan.AHEAD_BYTES)
    begun: list[int] = []

    def begin(number: int) -> None:
        ahead.begin(number)
        begun.append(number)

    threads = [threading.Thread(target=begin, args=(number,)) for number in (0, 1, 2)]
    for thread in threads:
        thread.start()
    threads[0].join(10)
    assert begun == [0]
    ahead.want(1)
    threads[1].join(10)
    threads[2].join(0.2)
    assert begun == [0, 1]
    ahead.add(-1)
    threads[2].join(10)
    assert begun == [0, 1, 2]


def test_a_search_that_is_over_begins_nothing_more() -> None:
    """Also where something waits for its turn."""
    ahead = Ahead()
    ahead.add(scan.AHEAD_BYTES)
    threading.Timer(0.1, ahead.stop).start()
    with pytest.raises(StoppedError):
        ahead.begin(5)
    with pytest.raises(StoppedError):
        ahead.check()


@pytest.mark.parametrize("pattern", ["(", "*", "[a", "a{2,1}", "(?P<a"])
def test_what_is_no_regular_expression_is_said(pattern: str) -> None:
    """What was wanted and found, and where it goes wrong."""
    with pytest.raises(ArchiveError) as caught:
        Matcher(Selection(NOON, NOON, grep=pattern))
    assert f"--grep: wanted a regular expression, found {pattern!r}: " in str(caught.value)
    assert "position" in str(caught.value)
