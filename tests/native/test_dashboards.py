"""`logstack dashboards check` and `logstack report`, on a stack that traffic has gone through."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dashboards.pages import PAGES
from stack.queries.catalogue import deployments
from stack.queries.evaluate import evaluator_of
from stack.queries.language import Scope
from stack.records.contract import normalise
from tests.support.native_stack import ON_ENGINES, StackUnderTest, poll

pytestmark = [pytest.mark.native, ON_ENGINES]


@pytest.fixture(scope="module")
def used_stack(stack: StackUnderTest) -> StackUnderTest:
    """The stack after enough traffic for something of everything to have happened."""
    result = stack.run("traffic", "--rate", "40", "--duration", "20")
    assert result.returncode == 0, result.stderr
    return stack


def check(stack: StackUnderTest) -> list[dict[str, Any]]:
    """The findings of a check that ended well, or none."""
    result = stack.run("dashboards", "check", "--json")
    if result.returncode != 0:
        return []
    findings: list[dict[str, Any]] = json.loads(result.stdout)
    return findings


def test_every_panel_shows_the_sample_apps_traffic(used_stack: StackUnderTest) -> None:
    """Over the last hour and over thirty days, without error and in time."""
    findings = poll(lambda: check(used_stack), lambda: used_stack.run("dashboards", "check").stdout)
    assert len(findings) == 2 * sum(len(page.panels) for page in PAGES)
    assert not [finding for finding in findings if finding["problem"]]


def test_the_report_is_written_for_its_owner_only(used_stack: StackUnderTest) -> None:
    """With every page, in the folder where the command runs."""
    result = used_stack.run("report", "--since", "1h", "--out", "report.html")
    assert result.returncode == 0, result.stderr
    path = used_stack.folder / "report.html"
    assert path.stat().st_mode & 0o077 == 0
    text = path.read_text(encoding="utf-8")
    assert [page.name for page in PAGES if f'<section id="{page.name}">' not in text] == []


def test_a_deployment_is_marked_in_charts(used_stack: StackUnderTest) -> None:
    """The command's record is what the dashboards' annotation asks for."""
    result = used_stack.run("annotate", "deploy", "--version", "1.4.2", "--json")
    assert result.returncode == 0, result.stderr
    logged = json.loads(result.stdout)
    [found] = used_stack.wait_for({"event_type": "deployed"}, 1)
    assert found == {**normalise(logged), "host": "test-host"}
    now = datetime.now(UTC)
    marks = evaluator_of(used_stack.target).records(
        deployments(Scope("dev")), now - timedelta(hours=1), now + timedelta(minutes=1), limit=10
    )
    assert [mark["message"] for mark in marks] == ["Version 1.4.2 is live"]


def test_a_time_range_that_is_none_is_refused(used_stack: StackUnderTest) -> None:
    """With what was expected."""
    result = used_stack.run("report", "--since", "1h", "--until", "2h")
    assert result.returncode == 2
    assert "expected a start before the end" in result.stderr
