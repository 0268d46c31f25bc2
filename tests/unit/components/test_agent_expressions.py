"""What the agent's expressions say of lines; the real agent runs them in tests/native."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest

from stack import settings
from stack.components.agent_expressions import nesting
from stack.components.log_sources import window
from stack.settings import targets


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ("{}", True),
        ('{"a": {"b": [1]}} \t', True),
        ('{"a": "}{][ \\" }"}', True),
        ('{"a": {"b": [[1]]}}', False),
        ("{}{}", False),
        ("{} x", False),
        ('{"a": "', False),
        ('{"a": {}', False),
        ("[{}]", False),
    ],
)
def test_an_object_is_known_by_its_brackets(line: str, is_one: bool) -> None:
    """Those in text do not count, and neither what is wrong inside of them."""
    assert bool(re.match(nesting(3), line)) is is_one


@pytest.mark.parametrize(
    ("engine", "lateness", "expected"),
    [
        ("victorialogs", "7d", (timedelta(days=6), timedelta(hours=47))),
        ("loki", "7d", (timedelta(days=6), timedelta(hours=23))),
        ("loki", "1d", (timedelta(hours=18), timedelta(hours=23))),
        ("victorialogs", "90d", (timedelta(days=29), timedelta(hours=47))),
    ],
)
def test_the_window_of_times_lies_within_what_the_engine_takes(
    engine: str, lateness: str, expected: tuple[timedelta, timedelta]
) -> None:
    """And leaves room for records that wait, and for clocks that differ."""
    variables = {"LOGSTACK_STACK__ENGINE": engine, "LOGSTACK_ARCHIVE__LATENESS": lateness}
    assert window(targets.native(settings.load(variables))) == expected
