"""What a test needs from the machine: skipped with the reason, or failed where it is demanded."""

from __future__ import annotations

import os
from typing import NoReturn

import pytest


def unavailable(what: str, reason: str) -> NoReturn:
    """Skip the test; fail it when LOGSTACK_TEST_REQUIRE (comma-separated) names `what`."""
    if what in os.environ.get("LOGSTACK_TEST_REQUIRE", "").split(","):
        pytest.fail(f"{what} is required here and missing: {reason}")
    pytest.skip(f"needs {what}: {reason}")
