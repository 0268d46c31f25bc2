"""Thousands of generated lines in one file: each comes back once, and nothing stops."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from stack.engines import Record
from tests.corpus.any_lines import MARK, lines, mark
from tests.corpus.run import Fleet, fleet_of, require_binaries
from tests.support.native_stack import ON_EVERY_COMBINATION, Combination, poll

pytestmark = [pytest.mark.native, pytest.mark.timeout(600)]

COUNT = 6000
# Another seed finds other lines: LOGSTACK_TEST_SEED=$RANDOM.
SEED = int(os.environ.get("LOGSTACK_TEST_SEED", "17"))


@pytest.fixture(scope="module")
def combination(request: pytest.FixtureRequest) -> Combination:
    found: Combination = request.param
    return found


@ON_EVERY_COMBINATION
def test_every_line_comes_back_once(combination: Combination, tmp_path: Path) -> None:
    """By its mark, which is in one record: a line that continues a text is in that text's."""
    require_binaries(combination)
    written = lines(COUNT, SEED)
    with fleet_of(combination, tmp_path) as fleet:
        path = fleet.app.root / "var/log/corpus/any.log"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"\n".join(written) + b"\n")
        with fleet.agent() as agent:
            found = all_of(fleet)
            stopped = fleet.stopped(agent)
    marks = [marks_in(record) for record in found]
    times = Counter(number for numbers in marks for number in numbers)
    wrong = {number: times[number] for number in range(COUNT) if times[number] != 1}
    lost = tmp_path / "wrong.txt"
    lost.write_bytes(b"\n".join(b"%d x %s" % (wrong[n], written[n]) for n in sorted(wrong)))
    assert not wrong, (
        f"seed {SEED}: {len(wrong)} of {COUNT} lines, with how often they came: {lost}"
    )
    assert all(marks), "a record of no line"
    objects = [n for n, text in enumerate(written) if text.startswith(b"{") and text.endswith(b"}")]
    alone = {next(iter(numbers)) for numbers in marks if len(numbers) == 1}
    joined = [written[number][:300] for number in objects if number not in alone]
    assert not joined, f"seed {SEED}: JSON in a record with other lines: {joined[:5]}"
    assert stopped == []


def marks_in(record: Record) -> set[int]:
    return {int(number) for value in record.values() for number in MARK.findall(str(value))}


def all_of(fleet: Fleet) -> list[Record]:
    """The records once the last line is there and no more come."""
    last = mark(COUNT - 1)
    poll(lambda: any(last in str(record) for record in fleet.all_records()), last, timeout=120)
    found: list[Record] = []
    while len(now := fleet.all_records()) > len(found):
        found = now
        time.sleep(3)
    return now
