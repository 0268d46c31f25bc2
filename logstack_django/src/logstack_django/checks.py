"""System checks: each misconfiguration has a number and says what to do about it."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage


def check_logging(**kwargs: Any) -> list[CheckMessage]:
    return []


def check_middleware(**kwargs: Any) -> list[CheckMessage]:
    return []
