"""One rule in the words of vmalert and of Loki's ruler."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from stack.alerting.expressions import number
from stack.alerting.rule_files import render_rules
from stack.alerting.rules import load_rules, load_rules_for
from stack.engines.kind import Dialect
from stack.engines.kinds import KINDS
from stack.queries import alert_rules as alert_queries
from stack.queries.language import Scope, over
from stack.settings.targets import docker, host, native
from tests.support.example import target_in


def rendered(folder: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """The rules of both engines by name."""
    documents = {}
    for kind in KINDS.values():
        target = target_in(
            folder,
            alerts={
                "grafana_url": "https://grafana.example.com/",
                "runbooks_url": "https://docs.example.com/runbooks.md",
                "delay": "3s",
            },
            stack={"environment": "prod", "engine": kind.name},
        )
        rules = load_rules(target.settings)
        documents[kind.dialect] = yaml.safe_load(render_rules(rules, target, kind.dialect))
    return {
        dialect: {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}
        for dialect, document in documents.items()
    }


def test_both_engines_get_the_same_rules(tmp_path: Path) -> None:
    """Names, labels, times; and annotations but for the links and what asks the engine."""
    both = rendered(tmp_path)
    assert list(both["logsql"]) == list(both["logql"])
    for name, rule in both["logsql"].items():
        other = both["logql"][name]
        # vmalert makes a label of the column's name, which has to be taken away again.
        assert rule["labels"] == {**other["labels"], "stats_result": ""}
        assert rule["for"] == other["for"]
        assert set(rule["annotations"]) == set(other["annotations"])
        for key in ("summary", "description", "value", "runbook"):
            assert rule["annotations"][key] == other["annotations"][key]


def test_a_rule_for_vmalert(tmp_path: Path) -> None:
    """Its expression, and the links of an alert to its records, its dashboard and its runbook."""
    rule = rendered(tmp_path)["logsql"]["CriticalLogged"]
    assert rule["expr"] == (
        '_time:5m {environment="prod"} level:="CRITICAL" '
        "| stats by (service_name) count() as value | filter value:>0"
    )
    assert rule["for"] == "0s"
    assert rule["labels"] == {"severity": "page", "environment": "prod", "stats_result": ""}
    annotations = rule["annotations"]
    assert annotations["samples"] == (
        '{{ range query (printf "_time:5m {environment=\\"prod\\"} level:=\\"CRITICAL\\" '
        'service_name:=%q | stats by (_msg) count() as value | first 3 by (value desc)" '
        '$labels.service_name) }}{{ . | label "_msg" | printf "%.200s" }}\n{{ end }}'
    )
    assert annotations["lines"] == (
        "http://127.0.0.1:21001/select/vmui/#/?query=%7Benvironment%3D%22prod%22%7D"
        "+level%3A%3D%22CRITICAL%22+service_name%3A%3D"
        '{{ $labels.service_name | printf "%q" | urlquery }}&g0.range_input=1h&g0.end_input='
        '{{ ($activeAt.Add 600000000000).UTC.Format "2006-01-02T15:04:05" }}&g0.relative_time=none'
    )
    assert annotations["dashboard"] == "https://grafana.example.com/d/logstack-errors-victorialogs"
    assert annotations["runbook"] == "https://docs.example.com/runbooks.md#criticallogged"


def test_a_rule_for_loki(tmp_path: Path) -> None:
    """The same with LogQL; its records are shown by Grafana."""
    rule = rendered(tmp_path)["logql"]["CriticalLogged"]
    assert rule["expr"] == (
        '(sum by (service_name) (count_over_time({environment="prod",level="CRITICAL"} [5m]))) > 0'
    )
    assert rule["labels"] == {"severity": "page", "environment": "prod"}
    annotations = rule["annotations"]
    assert annotations["lines"].startswith(
        "https://grafana.example.com/explore?schemaVersion=1&orgId=1&panes="
    )
    assert annotations["dashboard"] == "https://grafana.example.com/d/logstack-errors-loki"


def test_links_lead_to_the_grafana_that_runs_here(tmp_path: Path) -> None:
    """Without an address in the settings; and nowhere where there is none."""
    links = {}
    for grafana in ("on", "off"):
        target = target_in(tmp_path, stack={"grafana": grafana, "engine": "loki"})
        document = yaml.safe_load(render_rules(load_rules(target.settings), target, "logql"))
        rules = {rule["alert"]: rule for group in document["groups"] for rule in group["rules"]}
        links[grafana] = rules["CriticalLogged"]["annotations"].get("dashboard", "")
    assert links == {"on": "http://127.0.0.1:21023/d/logstack-errors-loki", "off": ""}


def test_a_rule_that_reads_much_is_evaluated_less_often(tmp_path: Path) -> None:
    """Whole texts, or every record of a week, each time again; the others keep their interval."""
    target = target_in(tmp_path, timing={"alert_interval": "10s"}, alerts={"scan_interval": "90s"})
    rules = load_rules(target.settings)
    dialects: tuple[tuple[Dialect, str | None], ...] = (("logql", "10s"), ("logsql", None))
    for dialect, usual in dialects:
        groups = {
            rule["alert"]: group.get("interval")
            for group in yaml.safe_load(render_rules(rules, target, dialect))["groups"]
            for rule in group["rules"]
        }
        scans = {rule.name for rule in rules if rule.text.scans}
        assert {"SensitiveDataLogged", "RecordsLate", "ExceptionReturned"} <= scans
        assert {groups[name] for name in scans} == {"90s"}
        assert {interval for name, interval in groups.items() if name not in scans} == {usual}


def test_no_rule_has_a_variable_of_grafana(tmp_path: Path) -> None:
    """A ruler does not know them and would fail at each evaluation."""
    for rules in rendered(tmp_path).values():
        for rule in rules.values():
            assert "$__" not in rule["expr"]
            assert "%{" not in rule["expr"]  # vmalert reads the environment there


def test_a_threshold_is_written_out() -> None:
    """Neither an exponent nor `.0`."""
    assert [number(value) for value in (5.0, 0.05, 0, 1e-7, 2_000_000.0)] == [
        *("5", "0.05", "0", "0.0000001", "2000000")
    ]


def test_what_fell_silent_is_asked_for_over_both_times() -> None:
    """One scan in LogsQL, two counts in LogQL."""
    query = alert_queries.fell_silent(Scope("prod"), over("10m"), against="1h")
    assert query.logql == (
        'sum by (service_name) (count_over_time({environment="prod"} [1h] offset 10m)) unless '
        'sum by (service_name) (count_over_time({environment="prod"} [10m]))'
    )
    assert query.logsql == (
        '_time:4200000ms {environment="prod"} | stats by (service_name) '
        "count() if (_time:10m) as recent, count() if (_time:1h offset 10m) as value "
        "| filter recent:=0 | delete recent"
    )


def test_the_absence_of_an_archiver_is_reported_only_where_one_runs(tmp_path: Path) -> None:
    """Containers and hosts have none; every other rule is evaluated everywhere."""
    settings = target_in(tmp_path).settings
    names = [
        {rule.name for rule in load_rules_for(target)}
        for target in (native(settings), docker(settings), host(settings, "logs-1"))
    ]
    assert names[0] - names[1] == names[0] - names[2] == {"ArchiveNeverRan"}
