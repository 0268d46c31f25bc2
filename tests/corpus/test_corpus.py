"""Every case through the real agent and engine: what comes back is what the case says."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.corpus.cases import Case, cannot, load
from tests.corpus.compare import differences, fault
from tests.corpus.run import Outcome, fleet_of, is_read, require_binaries, run_cases
from tests.support.native_stack import ON_EVERY_COMBINATION, Combination

pytestmark = [pytest.mark.native, pytest.mark.timeout(600)]


@pytest.fixture(scope="session")
def combination(request: pytest.FixtureRequest) -> Combination:
    found: Combination = request.param
    return found


@pytest.fixture(scope="session")
def outcome(
    combination: Combination, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcome]:
    """All cases, once for each agent and engine."""
    require_binaries(combination)
    with fleet_of(combination, tmp_path_factory.mktemp("corpus")) as fleet:
        yield run_cases(fleet, load())


@ON_EVERY_COMBINATION
@pytest.mark.parametrize("case", load(), ids=lambda case: case.id)
def test_a_case_comes_back_as_it_says(
    case: Case, outcome: Outcome, combination: Combination
) -> None:
    """One that an agent cannot do is marked, and no other is."""
    if not is_read(case, combination.agent):
        pytest.skip("Promtail reads the journal with libsystemd")
    said = fault(case, differences(case, outcome), cannot(combination.agent).get(case.id))
    assert not said, said


@ON_EVERY_COMBINATION
def test_every_record_is_of_a_case_and_the_agent_goes_on(outcome: Outcome) -> None:
    """A record of no case has lost what it was written with."""
    assert outcome.others == []
    assert outcome.stopped == []
