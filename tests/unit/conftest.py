"""What all unit tests share."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import settings

# A machine that is busy with something else is no failure.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")


@pytest.fixture
def new_delhi(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is five and a half hours ahead of UTC."""
    yield from _local_time("IST-5:30", monkeypatch)


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine behind UTC, with daylight saving time."""
    yield from _local_time("EST5EDT,M3.2.0,M11.1.0", monkeypatch)


def _local_time(zone: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()
