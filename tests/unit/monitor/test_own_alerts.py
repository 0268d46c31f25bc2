"""The alerts that the monitor sends itself: which, when, and with the labels of the rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stack import settings
from stack.alerting.own_alerts import render_own_alerts
from stack.alerting.rules import load_rules
from stack.monitor import alerts
from stack.monitor.alerts import FILE, read_alerts, tell
from stack.monitor.history import History
from stack.monitor.metrics import Samples
from stack.monitor.model import Observation, Problem
from stack.monitor.plan import Limits, Plan, Program
from stack.monitor.view import View
from stack.settings import targets

LIMITS = Limits(300, 259_200, 5, 14, 1, 720, 360)
ADDRESS = "http://127.0.0.1:1/metrics"
PLAN = Plan(
    *("dev", 30, "", "", "make up", "otelcol", "victorialogs"),
    (Program("alertmanager", metrics=ADDRESS),),
    (),
    LIMITS,
)
DOWN = Observation(
    "victorialogs", problems=(Problem("component_down", "it is stopped", "log", "make up"),)
)


@pytest.fixture
def own(tmp_path: Path) -> tuple[alerts.OwnAlert, ...]:
    values = settings.load({"LOGSTACK_STACK__HOST": "here"})
    text = render_own_alerts(load_rules(values), targets.native(values))
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    return read_alerts(tmp_path)


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Stands for Alertmanager."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(alerts, "send", lambda base, alert: found.append({**alert, "base": base}))
    return found


def test_every_rule_about_a_problem_is_an_alert_of_the_monitor(
    own: tuple[alerts.OwnAlert, ...],
) -> None:
    """By host and component, whose values it knows; texts that ask the engine are left out."""
    rules = [rule for rule in load_rules(settings.load({})) if rule.text.where]
    about = [rule for rule in rules if "problem" in (rule.text.where or {})]
    assert {alert.labels["alertname"] for alert in own} == {rule.name for rule in about}
    assert {rule.text.by for rule in about} == {("host", "component")}
    assert "{{" not in "".join(str(a.annotations) for a in own).replace("{{ $labels.", "")


def test_an_alert_is_sent_once_its_problem_has_lasted(
    own: tuple[alerts.OwnAlert, ...], sent: list[dict[str, Any]]
) -> None:
    """As long as the rule waits, and again at each look; one that was over starts again."""
    known = History()

    def look(now: float, *found: Observation) -> list[str]:
        view = View(PLAN, now, known, {"alertmanager": {}}, {})
        return [alert["labels"]["alertname"] for alert in tell(own, view, found)]

    assert [look(now, DOWN) for now in (0, 119, 120, 150)] == [[], [], *[["ComponentDown"]] * 2]
    assert look(180) == []
    assert look(210, DOWN) == []
    first = sent[0]
    assert first["labels"] == {
        "alertname": "ComponentDown",
        "severity": "page",
        "environment": "dev",
        "host": "here",
        "component": "victorialogs",
    }
    assert first["annotations"]["summary"] == "victorialogs on here does not run"
    assert first["annotations"]["samples"] == "it is stopped"
    assert (first["base"], first["startsAt"]) == ("http://127.0.0.1:1", "1970-01-01T00:02:00Z")


def test_nothing_is_sent_where_there_is_no_alertmanager(
    own: tuple[alerts.OwnAlert, ...], sent: list[dict[str, Any]], tmp_path: Path
) -> None:
    """Nor while it does not answer; a host without its file has no alerts."""
    looks: list[dict[str, Samples]] = [{}, {"victorialogs": {}}]
    for samples in looks:
        assert tell(own, View(PLAN, 1000, History(), samples, {}), [DOWN]) == []
    assert sent == []
    assert read_alerts(tmp_path / "none") == ()
