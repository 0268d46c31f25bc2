"""Rule files: what is read, and what is refused with which words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.alerting import AlertError
from stack.alerting.cases import (
    Case,
    CaseText,
    Records,
    load_cases,
    missing_cases,
    problem_with,
    shipped_settings,
)
from stack.alerting.loaded import differences
from stack.alerting.rule_text import read_rule_files, runbook_headings
from stack.alerting.rules import Rule, load_rules
from stack.settings import ROOT
from tests.support.example import settings_with

RULE: dict[str, Any] = {
    "name": "TooMany",
    "query": "record_count",
    "window": "5m",
    "above": 3,
    "for": "1m",
    "severity": "page",
    "summary": "Too many",
    "description": "There are too many.",
    "dashboard": "errors",
    "runbook": "TooMany",
}


def refusal(folder: Path, *rules: Mapping[str, Any], **sections: Mapping[str, Any]) -> list[str]:
    """The lines that loading these rules is refused with."""
    write_rules(folder, *rules)
    with pytest.raises(AlertError) as caught:
        load_rules(settings_with(**sections), folder, folder / "runbooks.md")
    return str(caught.value).replace(f"{folder}/", "").splitlines()


def write_rules(folder: Path, *rules: Mapping[str, Any]) -> None:
    (folder / "runbooks.md").write_text("# Runbooks\n\n## TooMany\n\nText.\n", encoding="utf-8")
    text = yaml.safe_dump({"rules": [dict(rule) for rule in rules]}, sort_keys=False)
    (folder / "mine.yaml").write_text(text, encoding="utf-8")


def test_a_rule_is_read_with_its_settings(tmp_path: Path) -> None:
    """Thresholds from the settings, and what an environment changes."""
    write_rules(tmp_path, {**RULE, "above": {"setting": "thresholds.server_errors"}})
    changes = {"rules": {"TooMany": {"for": "3m", "severity": "info", "window": "9m"}}}
    settings = settings_with(thresholds={"server_errors": 17}, alerts=changes)
    [rule] = load_rules(settings, tmp_path, tmp_path / "runbooks.md")
    assert (rule.operator, rule.threshold) == (">", 17)
    assert (rule.hold, rule.severity, rule.window) == ("3m", "info", "9m")


WHERE: dict[str, Any] = {
    **{key: value for key, value in RULE.items() if key != "query"},
    "where": {
        "service_name": "billing",
        "level": ["ERROR", "CRITICAL"],
        "message": '~"could not connect"',
        "status": {"at_least": {"setting": "thresholds.server_errors"}},
        "logger_name": {"not": "billing.retry"},
        "organization_id": "*",
    },
    "by": ["client_ip"],
}


def loaded(folder: Path, rule: Mapping[str, Any], **sections: Mapping[str, Any]) -> Rule:
    """The one rule of a file."""
    write_rules(folder, rule)
    [found] = load_rules(settings_with(**sections), folder, folder / "runbooks.md")
    return found


def test_a_rule_without_a_query_of_the_project(tmp_path: Path) -> None:
    """`where` becomes a count in both dialects, and the records behind it are those that count."""
    rule = loaded(tmp_path, WHERE, thresholds={"server_errors": 17})
    query, lines = rule.query("prod"), rule.lines("prod")
    conditions = (
        'service_name:="billing" level:in("ERROR","CRITICAL") _msg:~"could not connect" '
        'status:>=17 -logger_name:="billing.retry" -organization_id:=""'
    )
    assert query.logsql == (
        f'_time:5m {{environment="prod"}} {conditions} -client_ip:="" | stats by (client_ip) '
        "count() as value | first 200 by (value desc, client_ip)"
    )
    assert lines.logsql == f'{{environment="prod"}} {conditions}'
    for piece in (
        'service_name="billing",level=~"ERROR|CRITICAL"',
        'message=~"(?s).*(?:could not connect).*"',
        "status >= 17",
        'logger_name!="billing.retry"',
    ):
        assert piece in query.logql
        assert piece in lines.logql


def test_a_share_without_a_query_of_the_project(tmp_path: Path) -> None:
    """`of` says of what."""
    change = {"of": {"event_type": "request_finished"}, "arguments": {"at_least_records": 9}}
    rule = loaded(tmp_path, {**WHERE, "where": {"status": {"at_least": 500}}, **change})
    assert rule.query("prod").logsql == (
        '_time:5m {environment="prod"} event_type:="request_finished" -client_ip:="" '
        "| stats by (client_ip) count() if (status:>=500) as part, count() as whole "
        "| filter whole:>=9 | math part / whole as value | delete part, whole"
    )


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ({"level": {"above": 3}}, "where.level: expected a value, a list of values"),
        ({"level": []}, "where.level: expected a value, a list of values"),
        ({"status": {"at_least": "500"}}, "where.status: expected a value"),
        ({"message": "~(oops"}, "message: expected a regular expression, got '(oops'"),
        ({"a b": 1}, "field: expected a field such as logger_name, got 'a b'"),
    ],
)
def test_a_condition_that_cannot_be_read_is_refused(
    tmp_path: Path, where: dict[str, Any], expected: str
) -> None:
    """With the field and what is expected."""
    [text] = refusal(tmp_path, {**WHERE, "where": where})
    assert expected in text


def test_a_rule_has_either_conditions_or_a_query(tmp_path: Path) -> None:
    """Not both."""
    [text] = refusal(tmp_path, {**WHERE, "query": "record_count"})
    assert "expected only one of where and query" in text


def test_a_rule_that_is_off_can_be_turned_on(tmp_path: Path) -> None:
    """Rules that would be noisy for some are shipped so."""
    write_rules(tmp_path, {**RULE, "enabled": False})
    runbooks = tmp_path / "runbooks.md"
    assert load_rules(settings_with(), tmp_path, runbooks) == ()
    on = settings_with(alerts={"rules": {"TooMany": {"enabled": True}}})
    assert [rule.name for rule in load_rules(on, tmp_path, runbooks)] == ["TooMany"]


def test_an_environment_can_turn_a_rule_off(tmp_path: Path) -> None:
    """Then it is not shipped."""
    write_rules(tmp_path, RULE)
    settings = settings_with(alerts={"rules": {"TooMany": {"enabled": False}}})
    assert load_rules(settings, tmp_path, tmp_path / "runbooks.md") == ()


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (
            {"query": "recordcount"},
            "query: expected a query of stack/queries/, "
            "got 'recordcount'. Did you mean record_count?",
        ),
        (
            {"arguments": {"level": "ERROR"}},
            "query: record_count: expected arguments out of levels, got level",
        ),
        (
            {"query": "records"},
            "query: records: ",
        ),
        (
            {"runbook": "TooFew"},
            "runbook: expected a heading of alerts/runbooks.md, got 'TooFew'. "
            "Add a section `## TooFew`",
        ),
        ({"severity": "critical"}, "severity: expected one of page, ticket, info, got 'critical'"),
        ({"for": "5 minutes"}, "for: expected a duration such as 30s, 5m or 1d, got '5 minutes'"),
        ({"for": 5}, "for: expected a duration such as 30s, 5m or 1d, got 5"),
        ({"window": "soon"}, "window: expected a duration such as 30s, 5m or 1d, got 'soon'"),
        ({"above": "many"}, "above: expected a number or {setting: thresholds.<name>}, got 'many'"),
        ({"at_least": 3}, "expected exactly one of above and at_least"),
        (
            {"above": {"setting": "thresholds.server_error"}},
            "threshold: expected the name of a setting, got 'thresholds.server_error'. "
            "Did you mean thresholds.server_errors?",
        ),
        ({"name": "too many"}, "name: expected text of the form"),
        (
            {"sumary": "x"},
            "sumary: expected only the keys name, enabled, where, of, by, query, arguments",
        ),
        (
            {"lines": {"query": "record_count"}},
            "lines.query: record_count: ",
        ),
        (
            {"inhibits": {"alerts": ["TooMuch"], "equal": ["environment"]}},
            "inhibits: expected alerts, got 'TooMuch'. Did you mean TooMany?",
        ),
    ],
)
def test_a_bad_rule_is_refused(tmp_path: Path, change: dict[str, Any], expected: str) -> None:
    """With the file, the rule and what is expected."""
    [text] = refusal(tmp_path, {**RULE, **change})
    name = change.get("name", "TooMany")
    assert text.startswith(f"mine.yaml: rule {name}: {expected}")


@pytest.mark.parametrize("key", sorted(set(RULE) - {"name", "above"}))
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    """Each that a rule needs."""
    [text] = refusal(tmp_path, {name: value for name, value in RULE.items() if name != key})
    assert text.startswith(f"mine.yaml: rule TooMany: {key}: expected ")
    assert text.endswith(", got none")


def test_two_rules_with_one_name_are_refused(tmp_path: Path) -> None:
    """An engine would keep both and Alertmanager could not tell them apart."""
    [text] = refusal(tmp_path, RULE, RULE)
    assert text == (
        "mine.yaml: rule TooMany: name: expected a unique name, got one that is also in mine.yaml"
    )


def test_every_problem_is_reported_at_once(tmp_path: Path) -> None:
    """One run shows all that there is to mend."""
    texts = refusal(
        tmp_path,
        {**RULE, "severity": "loud"},
        {**RULE, "name": "TooFew", "query": "nothing", "runbook": "TooFew"},
    )
    assert [text.split(": ")[1:3] for text in texts] == [
        ["rule TooMany", "severity"],
        ["rule TooFew", "runbook"],
        ["rule TooFew", "query"],
    ]


def test_a_file_that_is_no_yaml_is_refused(tmp_path: Path) -> None:
    """With its name."""
    write_rules(tmp_path, RULE)
    (tmp_path / "other.yaml").write_text("rules: [", encoding="utf-8")
    with pytest.raises(AlertError, match=r"cannot read .*other\.yaml"):
        load_rules(settings_with(), tmp_path, tmp_path / "runbooks.md")


def test_an_override_of_no_rule_is_refused(tmp_path: Path) -> None:
    """A typing mistake would leave the rule as it is."""
    [text] = refusal(tmp_path, RULE, alerts={"rules": {"TooMani": {"enabled": False}}})
    assert text == (
        "alerts.rules.TooMani: expected the name of a rule, got 'TooMani'. Did you mean TooMany?"
    )


def test_rules_and_runbooks_are_one_to_one() -> None:
    """Each alert has a section of its own name, and no section is left over."""
    texts, problems = read_rule_files(ROOT / "alerts" / "rules")
    names = [text.name for _, text in texts]
    assert not problems
    assert sorted(names) == sorted(runbook_headings(ROOT / "alerts" / "runbooks.md"))
    assert [text.runbook for _, text in texts] == names


def test_each_runbook_has_its_parts_and_a_command() -> None:
    """Meaning, first look, likely causes and fix."""
    text = (ROOT / "alerts" / "runbooks.md").read_text(encoding="utf-8")
    for section in text.split("\n## ")[1:]:
        for part in ("**Meaning.**", "**First look.**", "**Likely causes.**", "**Fix.**"):
            assert section.count(part) == 1, section[:40]
        look = section.partition("**First look.**")[2].partition("**Likely causes.**")[0]
        assert "`" in look or "link" in look, section[:40]


def test_every_rule_has_every_kind_of_case() -> None:
    """Firing, quiet, empty and boundary; and no case is about a rule that does not exist."""
    rules, cases = load_rules(shipped_settings(), with_disabled=True), load_cases()
    assert missing_cases(rules, cases) == {}
    assert {case.rule for case in cases} == {rule.name for rule in rules}


def test_the_pages_name_alerts_that_exist() -> None:
    """Of the archive, whose alerts stand in several pages."""
    rules = {rule.name for rule in load_rules(shipped_settings())}
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), ROOT / "alerts/runbooks.md"):
        named = set(re.findall(r"`(Archive[A-Z]\w+)`", path.read_text(encoding="utf-8")))
        assert named <= rules, path


def test_a_lacking_kind_is_found() -> None:
    """By rule."""
    rules = load_rules(shipped_settings())
    cases = [
        case
        for case in load_cases()
        if (case.rule, case.text.kind) != ("CriticalLogged", "boundary")
    ]
    assert missing_cases(rules, cases) == {"CriticalLogged": ["boundary"]}


@pytest.mark.parametrize(
    ("kind", "fields", "values", "expected"),
    [
        ("firing", {}, [], "an alert"),
        ("quiet", {"alerts": ({"service_name": "x"},)}, [], "no alert"),
        ("empty", {"records": (Records(ago="1m"),)}, [], "no record"),
        ("boundary", {"records": (Records(ago="1m"),)}, [9.0], "a number equal to the"),
        ("boundary", {"records": (Records(ago="1m"),)}, [10.0], ""),
        ("boundary", {"records": (Records(ago="1m"),), "edge": "5m"}, [10.0], "a number equal to"),
        ("boundary", {"records": (Records(ago="5m1s"),), "edge": "5m"}, [], ""),
    ],
)
def test_a_case_has_to_be_what_it_says(
    kind: Any, fields: dict[str, Any], values: list[float], expected: str
) -> None:
    """A boundary case away from the boundary would prove nothing."""
    rule = next(r for r in load_rules(shipped_settings()) if r.name == "ServerErrorBurst")
    case = Case(rule.name, "file", CaseText(kind=kind, about="x", **fields))
    found = problem_with(case, rule, values)
    assert (expected in found) if expected else not found


@pytest.mark.parametrize(
    ("found", "count", "expected"),
    [
        ({"A": "1", "B": "2"}, 2, []),
        ({"A": "1"}, 1, ["rules not loaded: B. Run: make up"]),
        ({}, 0, ["rules not loaded: A, B. Run: make up"]),
        (
            {"A": "1", "B": "2", "C": "3"},
            3,
            ["unknown rules are loaded: C. Run: make up"],
        ),
        ({"A": "1", "B": "x"}, 2, ["rules loaded with another expression: B. Run: make up"]),
        ({"A": "1", "B": "2"}, 3, ["expected 2 rules, got 3. Run: make up"]),
    ],
)
def test_loaded_rules_are_compared_name_by_name(
    found: dict[str, str], count: int, expected: list[str]
) -> None:
    """Missing, further, different and doubled ones."""
    assert differences({"A": "1", "B": "2"}, found, count) == expected


def test_every_rule_names_a_page_of_the_dashboards() -> None:
    """A link to a dashboard that is not there helps nobody."""
    pages = {path.stem for path in (ROOT / "dashboards" / "pages").glob("*.py")}
    texts, _ = read_rule_files(ROOT / "alerts" / "rules")
    assert {text.dashboard for _, text in texts} <= pages
