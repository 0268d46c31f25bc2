"""`logstack doctor` on a stack that nothing is wrong with."""

from __future__ import annotations

import re

import pytest

from tests.support.native_stack import ON_ENGINES, StackUnderTest

pytestmark = pytest.mark.native


@ON_ENGINES
def test_doctor_finds_nothing_wrong_with_a_fresh_stack(stack: StackUnderTest) -> None:
    """Programs run, records arrive; rules, retention, archive and gate are as the settings say."""
    result = stack.run("doctor")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "has loaded exactly the rules of alerts/rules/" in result.stdout
    assert "programs run and answer" in result.stdout
    assert re.search(r"in ten minutes \d+ were accepted", result.stdout)
