"""A long outage of a log server, beside the other tests: see conftest.py."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.support.host_containers import FleetUnderTest

pytestmark = [pytest.mark.docker, pytest.mark.outage, pytest.mark.timeout(600)]


def test_an_outage_of_the_log_server_loses_and_doubles_nothing(
    bare_fleet: FleetUnderTest, outage: Future[None]
) -> None:
    """Five minutes, under load: the agent's queue has it all, and each record arrives once."""
    outage.result(timeout=580)
