"""A rule in the words of an engine: expression, labels, annotations with their links.

Annotations are Go templates that vmalert and Loki's ruler fill in. Pure.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote_plus

from stack.alerting.rules import RUNBOOKS, Rule
from stack.common import quote
from stack.components.catalogue import selected
from stack.components.grafana_links import uid
from stack.engines.kinds import Dialect, kind_of
from stack.queries.alert_rules import message_samples
from stack.queries.language import Query, equals, over
from stack.settings.targets import Target

SAMPLES = 3
SAMPLE_LENGTH = 200  # characters of a message that people are shown
# Labels that name people and places; they stand in the query of the records behind an alert.
_PLACEHOLDER = re.compile(r'"label\(([a-z_]+)\)"')


@dataclass(frozen=True)
class AlertRule:
    """One rule as vmalert and the ruler read it."""

    name: str
    expression: str
    hold: str
    labels: dict[str, str]
    annotations: dict[str, str]


def alert_rule(rule: Rule, target: Target, dialect: Dialect) -> AlertRule:
    environment = target.settings.stack.environment
    return AlertRule(
        name=rule.name,
        expression=expression(rule, environment, dialect),
        hold=rule.hold,
        labels={"severity": rule.severity, "environment": environment},
        annotations=annotations_of(rule, target, dialect),
    )


def expression(rule: Rule, environment: str, dialect: Dialect) -> str:
    """The query and what it is compared with: a result for every alert, none when all is well."""
    query = rule.query(environment)
    threshold = number(rule.threshold)
    if dialect == "logql":
        return f"({query.logql}) {rule.operator} {threshold}"
    return f"{query.logsql} | filter value:{rule.operator}{threshold}"


def annotations_of(rule: Rule, target: Target, dialect: Dialect) -> dict[str, str]:
    """What people are told. Empty ones are left out."""
    query = rule.query(target.settings.stack.environment)
    records = rule.lines(target.settings.stack.environment)
    behind = narrowed(records, [name for name in query.by if name != "environment"])
    texts = {
        "summary": rule.text.summary.strip(),
        "description": rule.text.description.strip(),
        "value": "{{ $value | humanize }}",
        "samples": samples(behind, rule, dialect) if rule.text.samples else "",
        "lines": lines_link(behind, target, dialect),
        "dashboard": dashboard_link(rule.text.dashboard, target),
        "runbook": runbook_link(rule.text.runbook, target),
    }
    return {name: text for name, text in texts.items() if text}


def narrowed(records: Query, labels: Sequence[str]) -> Query:
    """The records of one alert: a placeholder stands where the alert's label goes."""
    conditions = [equals(name, f"label({name})") for name in labels]
    logql = [condition.logql() for condition in conditions]
    logsql = [condition.logsql() for condition in conditions]
    return Query(
        records.name,
        logql=" | ".join([records.logql, *logql]),
        logsql=" ".join([records.logsql, *logsql]),
        kind="records",
    )


def samples(behind: Query, rule: Rule, dialect: Dialect) -> str:
    """A template that asks the engine for the most frequent messages behind the alert."""
    query = message_samples(behind, over(rule.window), SAMPLES)
    text, label = (query.logql, "message") if dialect == "logql" else (query.logsql, "_msg")
    labels = _PLACEHOLDER.findall(text)
    wanted = _PLACEHOLDER.sub("%q", text.replace("%", "%%"))
    arguments = " ".join([quote(wanted), *(f"$labels.{name}" for name in labels)])
    return (
        f"{{{{ range query (printf {arguments}) }}}}"
        f'{{{{ . | label "{label}" | printf "%.{SAMPLE_LENGTH}s" }}}}\n'
        "{{ end }}"
    )


def lines_link(behind: Query, target: Target, dialect: Dialect) -> str:
    """Grafana's Explore for Loki, the engine's own page for VictoriaLogs."""
    if dialect == "logql":
        base = grafana_address(target)
        if not base:
            return ""
        explore = {
            "alert": {
                "datasource": "loki",
                "queries": [{"refId": "A", "expr": "EXPRESSION"}],
                "range": {"from": "now-1h", "to": "now"},
            }
        }
        panes = quote_plus(json.dumps(explore, separators=(",", ":")))
        # The expression is a string inside JSON, so its quotes are escaped once more.
        inner = json.dumps(behind.logql, ensure_ascii=False)[1:-1]
        text = panes.replace("EXPRESSION", _link_text(inner, escaped=True))
        return f"{base}/explore?schemaVersion=1&orgId=1&panes={text}"
    page = f"{target.public_url or target.url('victorialogs')}/select/vmui/#/"
    # The hour that ends ten minutes after the alert became active.
    until = '{{ ($activeAt.Add 600000000000).UTC.Format "2006-01-02T15:04:05" }}'
    query = _link_text(behind.logsql, escaped=False)
    return f"{page}?query={query}&g0.range_input=1h&g0.end_input={until}&g0.relative_time=none"


def grafana_address(target: Target) -> str:
    """Where people reach Grafana: as the settings say, or the one that runs here; or nothing."""
    if base := target.settings.alerts.grafana_url:
        return base.rstrip("/")
    components = selected(target.settings, in_containers=target.in_containers)
    here = any(component.name == "grafana" for component in components)
    return target.url("grafana") if here else ""


def dashboard_link(page: str, target: Target) -> str:
    base = grafana_address(target)
    return f"{base}/d/{uid(page, kind_of(target.settings).name)}" if base else ""


def runbook_link(heading: str, target: Target) -> str:
    own = "" if target.on_host else RUNBOOKS.as_uri()  # no file of the machine that deploys
    base = target.settings.alerts.runbooks_url or own
    return f"{base}#{heading.lower()}" if base else ""


def number(value: float) -> str:
    """A number without an exponent and without `.0`."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


def _link_text(text: str, *, escaped: bool) -> str:
    """Text for a link; a label goes in quoted as in a query, and then as in an address."""
    pattern = re.compile(r'\\"label\(([a-z_]+)\)\\"') if escaped else _PLACEHOLDER
    parts = pattern.split(text)
    quoted = 'printf "%q"' + (' | printf "%q" | reReplaceAll "^.|.$" ""' if escaped else "")
    pieces = [
        f"{{{{ $labels.{part} | {quoted} | urlquery }}}}" if index % 2 else quote_plus(part)
        for index, part in enumerate(parts)
    ]
    return "".join(pieces)
