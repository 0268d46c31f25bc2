"""A search of the archive: what waits in memory and on disk, and in which order it comes out."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from stack.archive import ArchiveError, scan
from stack.archive.format import lines
from stack.archive.format.manifest import Erasure, Part
from stack.archive.scan import SpooledLines, StoppedError, run_ahead
from stack.archive.search import Candidate, Matcher, merged
from stack.archive.storage.ledger import Tombstone
from stack.archive.suppression import Suppression, match_hmac, text_in
from stack.engines import Record, Selection
from stack.records.timestamps import nanoseconds

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


def found_of(rows: list[bytes], folder: Path) -> SpooledLines:
    found = SpooledLines(folder)
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
        assert found.file._rolled is (count >= 10)  # type: ignore[attr-defined]
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

    def scanned() -> Iterator[SpooledLines]:
        for number, item in enumerate(moments):
            asked.append(number)
            yield found_of([line(moment) for moment in item], tmp_path)

    chosen = [candidate(item, number) for number, item in enumerate(moments)]
    out = merged(chosen, scanned(), lambda name, text: None)
    seen = [(lines.timestamp(next(out)[0]), len(asked)) for _ in range(7)]
    assert seen == [(1, 1), (2, 1), (5, 2), (6, 2), (7, 3), (8, 3), (9, 3)]
    assert next(out, None) is None


class Scans:
    """Scans of ten bytes each that end when they are released, and what was started and closed."""

    def __init__(self, count: int, folder: Path) -> None:
        self.released = [threading.Event() for _ in range(count)]
        self.started: list[int] = []
        self.closed: list[int] = []
        self.stopped = threading.Event()
        self.results = run_ahead(
            [partial(self._scan, number, folder) for number in range(count)], self.stopped
        )

    def release(self, *numbers: int) -> None:
        for number in numbers:
            self.released[number].set()

    def _scan(self, number: int, folder: Path) -> SpooledLines:
        self.started.append(number)
        while not self.released[number].wait(0.01):
            if self.stopped.is_set():
                raise StoppedError
        result = found_of([b"%010d" % number], folder)
        result.close = partial(self._close, number, result)  # type: ignore[method-assign]
        return result

    def _close(self, number: int, result: SpooledLines) -> None:
        self.closed.append(number)
        result.file.close()


def test_results_come_in_order_and_a_slow_first_part_stops_no_other(tmp_path: Path) -> None:
    """Other scanners go on while the first part is read."""
    scans = Scans(7, tmp_path)
    scans.release(*range(1, 7))
    timer = threading.Timer(0.5, lambda: scans.release(0))
    timer.start()
    first = next(scans.results)
    assert (list(first.lines()), sorted(scans.started)) == ([b"%010d" % 0], list(range(7)))
    assert [list(item.lines()) for item in scans.results] == [[b"%010d" % n] for n in range(1, 7)]


def test_no_further_part_is_started_while_much_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for the one that is read next; else nothing would continue."""
    monkeypatch.setattr(scan, "AHEAD_BYTES", 20)
    scans = Scans(9, tmp_path)
    scans.release(*range(1, 9))
    timer = threading.Timer(0.5, lambda: scans.release(0))
    timer.start()
    list(next(scans.results).lines())
    waiting = len(scans.started)
    assert scan.SCANNERS <= waiting <= scan.SCANNERS + 2
    assert len([list(item.lines()) for item in scans.results]) == 8


def test_a_closed_search_stops_its_scans_and_closes_what_waits(tmp_path: Path) -> None:
    """Also a scan that would never end."""
    scans = Scans(9, tmp_path)
    scans.release(0, 1)
    list(next(scans.results).lines())
    scans.results.close()
    assert scans.stopped.is_set()
    assert scans.closed == [1]
    assert len(scans.started) <= scan.SCANNERS + 2


@pytest.mark.parametrize("pattern", ["(", "*", "[a", "a{2,1}", "(?P<a"])
def test_an_invalid_regular_expression_is_refused(pattern: str) -> None:
    """With what was expected, and where it is wrong."""
    with pytest.raises(ArchiveError) as caught:
        Matcher(Selection(NOON, NOON, grep=pattern))
    assert f"--grep: expected a regular expression, got {pattern!r}: " in str(caught.value)
    assert "position" in str(caught.value)


NESTED: Record = {
    "a": '{"b":{"c":[1,{"d":null}],"e":"x","t":true}}',
    "n.m": '{"o.p":"dotted"}',
    "f": 3.0,
}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("a.b.c", '[1,{"d":null}]'),
        ("a.b.e", "x"),
        ("a.b.t", "true"),
        ("a.b", '{"c":[1,{"d":null}],"e":"x","t":true}'),
        ("n.m.o.p", "dotted"),
        ("f", "3.0"),
        ("a.b.none", None),
        ("a.b.e.x", None),
        ("a..b", None),
        ("f.x", None),
        ("none", None),
    ],
)
def test_a_dotted_name_is_a_path(field: str, text: str | None) -> None:
    """Through objects and their JSON text, whose names may have dots; also for what is erased."""
    assert text_in(NESTED, field) == text
    key = Ed25519PrivateKey.generate()
    digest = match_hmac(key, field, text or "")
    erasure = Erasure(field=field, match_hmac=digest, reason="asked for", streams={}, replaced=())
    suppression = Suppression(key, "victorialogs", [Tombstone(erasure, NOON)])
    before, after = line(0), line(nanoseconds(NOON))
    assert suppression.excludes(before, NESTED) == (text is not None)
    assert not suppression.excludes(after, NESTED)  # what comes later is archived
    ever = Tombstone(erasure.model_copy(update={"future": True}), NOON)
    suppression = Suppression(key, "victorialogs", [ever])
    assert suppression.excludes(after, NESTED) == (text is not None)
