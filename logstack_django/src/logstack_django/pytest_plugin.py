"""pytest plugin: the fixture `captured_logs`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from logstack_django.testing import CapturedLogs


@pytest.fixture
def captured_logs() -> Iterator[CapturedLogs]:
    """The records that the test logs, parsed; see `logstack_django.testing`."""
    # Imported here: the plugin is loaded in every run, also in projects' runs without Django.
    from logstack_django.testing import capture_logs

    with capture_logs() as logs:
        yield logs
