"""A rule for one engine: expression, labels, annotations with their links. Pure.

Annotations are Go templates, which vmalert and Loki's ruler fill in for each alert.
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
from stack.engines.kind import Dialect
from stack.engines.kinds import kind_of
from stack.queries.alert_rules import message_samples
from stack.queries.language import Query, equals, over
from stack.settings.targets import Target

SAMPLES = 3
SAMPLE_LENGTH = 200  # characters of a message in a notification
# Stands for a label of the alert in the query of the records behind it: `name:="label(name)"`.
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
    """The rule with its expression, labels and annotations."""
    environment = target.settings.stack.environment
    return AlertRule(
        name=rule.name,
        expression=expression(rule, environment, dialect),
        hold=rule.hold,
        labels={"severity": rule.severity, "environment": environment},
        annotations=annotations_of(rule, target, dialect),
    )


def expression(rule: Rule, environment: str, dialect: Dialect) -> str:
    """The query compared with the threshold: one result per alert."""
    query = rule.query(environment)
    threshold = number(rule.threshold)
    if dialect == "logql":
        return f"({query.logql}) {rule.operator} {threshold}"
    return f"{query.logsql} | filter value:{rule.operator}{threshold}"


def annotations_of(rule: Rule, target: Target, dialect: Dialect) -> dict[str, str]:
    """The texts and links of an alert, without empty ones."""
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
    """The records behind one alert, with placeholders for the values of its labels."""
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
    """A template that queries the engine for the most frequent messages behind the alert."""
    query = message_samples(behind, over(rule.window), SAMPLES)
    text, label = (query.logql, "message") if dialect == "logql" else (query.logsql, "_msg")
    labels = _PLACEHOLDER.findall(text)
    form = _PLACEHOLDER.sub("%q", text.replace("%", "%%"))
    arguments = " ".join([quote(form), *(f"$labels.{name}" for name in labels)])
    return (
        f"{{{{ range query (printf {arguments}) }}}}"
        f'{{{{ . | label "{label}" | printf "%.{SAMPLE_LENGTH}s" }}}}\n'
        "{{ end }}"
    )


def lines_link(behind: Query, target: Target, dialect: Dialect) -> str:
    """A template of the address that shows the records behind the alert.

    VictoriaLogs has a page for it; for Loki it is Grafana's Explore, or nothing without a Grafana.
    `_link_text` has examples of both.
    """
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
        text = panes.replace("EXPRESSION", _link_text(behind.logql, in_json=True))
        return f"{base}/explore?schemaVersion=1&orgId=1&panes={text}"
    page = f"{target.public_url or target.url('victorialogs')}/select/vmui/#/"
    # The hour that ends ten minutes after the alert became active.
    until = '{{ ($activeAt.Add 600000000000).UTC.Format "2006-01-02T15:04:05" }}'
    query = _link_text(behind.logsql, in_json=False)
    return f"{page}?query={query}&g0.range_input=1h&g0.end_input={until}&g0.relative_time=none"


def grafana_address(target: Target) -> str:
    """alerts.grafana_url of the settings, else the Grafana that runs here, else nothing."""
    if base := target.settings.alerts.grafana_url:
        return base.rstrip("/")
    components = selected(target.settings, in_containers=target.in_containers)
    is_here = any(component.name == "grafana" for component in components)
    return target.url("grafana") if is_here else ""


def dashboard_link(page: str, target: Target) -> str:
    """The address of a dashboard, or nothing without a Grafana."""
    base = grafana_address(target)
    return f"{base}/d/{uid(page, kind_of(target.settings).name)}" if base else ""


def runbook_link(heading: str, target: Target) -> str:
    """The address of a runbook: alerts.runbooks_url, else the file if the stack runs here."""
    local = "" if target.on_host else RUNBOOKS.as_uri()
    base = target.settings.alerts.runbooks_url or local
    return f"{base}#{heading.lower()}" if base else ""


def number(value: float) -> str:
    """A number without an exponent and without `.0`."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


def _link_text(query: str, *, in_json: bool) -> str:
    r"""A query for an address: percent-encoded, each placeholder as a template of its label.

    The template quotes the label's value as the query does and percent-encodes it. `in_json`: the
    address holds the query as a string of a JSON document, where quotes are escaped once more: a
    second `%q` does it, and the quotes that it adds at both ends are removed. For `a:="label(u)"`:

        in_json  template                                            with the label u = x"y
        no       a%3A%3D{{ $labels.u | printf "%q" | urlquery }}     a:="x\"y"
        yes      a%3A%3D{{ $labels.u | printf "%q" | printf "%q"     a:=\"x\\\"y\"
                   | reReplaceAll "^.|.$" "" | urlquery }}
    """
    template = '{{{{ $labels.{} | printf "%q" | urlquery }}}}'
    if in_json:
        template = template.replace(
            "| urlquery", '| printf "%q" | reReplaceAll "^.|.$" "" | urlquery'
        )
    pieces = []
    for index, part in enumerate(_PLACEHOLDER.split(query)):
        escaped = json.dumps(part, ensure_ascii=False)[1:-1] if in_json else part
        pieces.append(template.format(part) if index % 2 else quote_plus(escaped))
    return "".join(pieces)
