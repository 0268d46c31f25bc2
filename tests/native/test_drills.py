"""The short form of every drill: what breaks under load loses nothing, and is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.drills.drill import Drill
from bench.drills.table import DRILLS
from tests.support.require import unavailable

pytestmark = [pytest.mark.native, pytest.mark.own_stack, pytest.mark.timeout(300)]
SHORT = [drill for drill in DRILLS if drill.short is not None]


@pytest.mark.parametrize("drill", SHORT, ids=lambda drill: drill.name)
def test_a_drill_loses_nothing_and_its_fault_is_named(
    drill: Drill, tmp_path: Path, binaries: None
) -> None:
    """Except where README says that it does."""
    if reason := drill.needs():
        unavailable("tmpfs", reason)
    assert drill.short is not None
    outcome = drill.run(tmp_path, drill.short)
    print(outcome)
    assert drill.faults(outcome) == [], outcome
