"""`logstack alerts list|lint|test|try|send`."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from stack import artifacts, settings
from stack.alerting import AlertError, lint, past, rule_tests
from stack.alerting import send as sending
from stack.alerting.audience import audience
from stack.alerting.cases import KINDS, Case, Kind, load_cases, missing_cases, shipped_settings
from stack.alerting.channels import NAMES
from stack.alerting.loaded import LoadedRule, loaded_rules
from stack.alerting.receivers import read_channels
from stack.alerting.rules import Rule, load_rule_file, load_rules, load_rules_for
from stack.cli.console import AsJson, note, out, plain, print_json, progress
from stack.cli.environment import Environment, Reader, open_target, require_this_machine
from stack.cli.text import visible
from stack.cli.time_range import time_range
from stack.common.counted import counted
from stack.queries.evaluate import evaluator_of
from stack.records.timestamps import format_time, to_local
from stack.runtimes import selection as runtime
from stack.settings.targets import Target
from stack.settings.targets import native as native_target
from stack.settings.units import parse_duration

app = typer.Typer(help="Alert rules and notification channels.", no_args_is_help=True)


def register(parent: typer.Typer) -> None:
    parent.add_typer(app, name="alerts")


Channel = StrEnum("Channel", [(name, name) for name in NAMES])  # type: ignore[misc]  # of the table


@app.command("list")
def show(environment: Environment = "", reader: Reader = "", as_json: AsJson = False) -> None:
    """List every rule: severity, threshold, and its state in the running stack.

    With --env the states of the rules on the hosts, and the thresholds of this checkout.

    Example: logstack alerts list
    """
    target = open_target(environment, reader, rules=True)
    rules = load_rules_for(target, with_disabled=True)
    states = _states(target)
    rows = [
        {
            "name": rule.name,
            "severity": rule.severity,
            "query": rule.text.query,
            "window": rule.window,
            "threshold": f"{rule.operator} {rule.threshold:g}",
            "for": rule.hold,
            "state": states[rule.name].state if rule.name in states else _unloaded(rule),
            "error": states[rule.name].error if rule.name in states else "",
        }
        for rule in rules
    ]
    if as_json:
        print_json(rows, indent=2)
        return
    columns = ("name", "severity", "query", "window", "threshold", "for", "state")
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    styles = {"firing": "bold red", "pending": "yellow", "not loaded": "dim", "off": "dim"}
    for row in rows:
        state = plain(row["state"], styles.get(row["state"], "green"))
        table.add_row(*(row[name] for name in columns[:-1]), state)
    out.print(table)
    for row in rows:
        if row["error"]:
            note(f"{row['name']}: {row['error']}", "red")
    if not target.access:  # the channels of hosts are set up on the machine that deploys
        note(audience(target))


@app.command("lint")
def check() -> None:
    """Check rules, secrets and rendered files with amtool and vmalert.

    Example: logstack alerts lint
    """
    target = native_target(settings.load())
    count = lint.check_files(target)
    channels = read_channels(target.settings.receivers, target.run_dir)
    out.print(f"{counted(count, 'rule')} and Alertmanager's configuration are valid.")
    for remark in lint.remarks(channels, target.settings):
        note(remark, "yellow")


@app.command("test")
def run_tests(
    rule: Annotated[str, typer.Option(help="Only the test cases of this rule.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run the rule tests of alerts/tests/ against temporary engines.

    VictoriaLogs always, Loki if it is on PATH.

    Example: logstack alerts test
    """
    began = time.monotonic()
    rules = load_rules(shipped_settings(), with_disabled=True)
    cases = _cases_of(rule, [item.name for item in rules])
    missing = missing_cases([item for item in rules if not rule or item.name == rule], cases)
    values = settings.load()
    results = rule_tests.run_with_victorialogs(values, cases)
    with_loki = artifacts.is_available("loki", values)
    if with_loki:
        results += rule_tests.run_with_loki(values, cases)
    failed = [item for item in results if item.problem]
    seconds = time.monotonic() - began
    if as_json:
        print_json(_as_dict(results, missing, seconds))
    else:
        _print_results(results)
        for item in failed:
            note(f"{item.case.file}: {item.case.name} ({item.engine}): {item.problem}", "red")
        for name, kinds in missing.items():
            note(f"{name}: expected a case of each kind, got none of {', '.join(kinds)}", "red")
        passed = len(results) - len(failed)
        out.print(f"{passed} of {len(results)} cases passed in {seconds:.0f} s.")
        if not with_loki:
            note("Loki is not on PATH: the rules were tested with VictoriaLogs only.", "dim")
    if failed or missing:
        raise typer.Exit(1)


@app.command("try")
def try_file(
    file: Annotated[Path, typer.Argument(help="A file with rules.")],
    since: Annotated[str, typer.Option(help="Start: a duration ago (7d) or a time.")] = "7d",
    until: Annotated[str, typer.Option(help="End: a duration ago, a time, or now.")] = "now",
    environment: Environment = "",
    reader: Reader = "",
    as_json: AsJson = False,
) -> None:
    """Show when the rules of a file would have fired on the records that the engine has.

    A rule is evaluated every half window. The file may be anywhere and needs no runbooks.

    Example: logstack alerts try alerts/rules/errors.yaml --since 7d
    """
    start, end = time_range(since, until)
    target = open_target(environment, reader)
    rules = load_rule_file(file, target.settings)
    evaluator = evaluator_of(target)
    interval = parse_duration(target.settings.timing.alert_interval)
    found = []
    with progress() as display:
        for rule in rules:
            found += past.firings(
                evaluator,
                rule,
                target.settings.stack.environment,
                (start, end),
                interval,
                partial(display.update, rule.name),
            )
            display.update(rule.name, "done")
    if as_json:
        print_json([_firing(item) for item in found])
        return
    table = Table("rule", "from", "to", "highest", "labels", box=None, header_style="bold")
    for item in found:
        labels = ", ".join(f"{name}={visible(value)}" for name, value in item.labels if value)
        times = (to_local(format_time(moment))[:19] for moment in (item.began, item.ended))
        table.add_row(item.rule, *times, f"{item.highest:g}", Text(labels, overflow="fold"))
    if found:
        out.print(table)
    for rule in rules:
        number = sum(item.rule == rule.name for item in found)
        seconds = past.step_of(rule, interval).total_seconds()
        out.print(f"{rule.name}, evaluated every {seconds:g} s since {since}: fires {number} x")


@app.command("send")
def send(
    channel: Annotated[Channel, typer.Option(help="The channel to test.")],
    as_json: AsJson = False,
) -> None:
    """Send one marked test message through Alertmanager and report whether it was delivered.

    Example: logstack alerts send --channel slack
    """
    require_this_machine("send a test message")
    now = runtime.running(settings.load())
    result = sending.send(now.target, channel.value, lambda: now.read_log("alertmanager"))
    if as_json:
        print_json(asdict(result))
    elif result.delivered:
        out.print(f"{result.channel}: {result.answer}. Look there for {result.mark}.")
    else:
        note(f"{result.channel}: not delivered: {result.answer}", "red")
        note(f"Alertmanager's log: {now.log_place('alertmanager')}")
    if not result.delivered:
        raise typer.Exit(1)


def _unloaded(rule: Rule) -> str:
    return "not loaded" if rule.enabled else "off"


def _firing(item: past.Firing) -> dict[str, object]:
    times = {"began": format_time(item.began), "ended": format_time(item.ended)}
    return {**asdict(item), "labels": dict(item.labels), **times}


def _states(target: Target) -> dict[str, LoadedRule]:
    try:
        return {rule.name: rule for rule in loaded_rules(target)}
    except AlertError:
        if target.access:
            raise
        return {}  # nothing runs here


def _cases_of(rule: str, names: Sequence[str]) -> list[Case]:
    """The cases, of one rule or of all. Raises AlertError for a rule that does not exist."""
    cases = load_cases()
    for name in [rule] if rule else [case.rule for case in cases]:
        if name not in names:
            raise AlertError(f"rule: expected one of {', '.join(names)}, got {name!r}")
    return [case for case in cases if not rule or case.rule == rule]


def _as_dict(
    results: Sequence[rule_tests.CaseResult], missing: Mapping[str, list[Kind]], seconds: float
) -> dict[str, object]:
    cases = [
        {"case": item.case.name, "engine": item.engine, "problem": item.problem} for item in results
    ]
    return {"cases": cases, "missing": missing, "seconds": seconds}


def _print_results(results: Sequence[rule_tests.CaseResult]) -> None:
    table = Table("rule", *KINDS, box=None, pad_edge=False, header_style="bold")
    for name in dict.fromkeys(item.case.rule for item in results):
        table.add_row(name, *(_cell(results, name, kind) for kind in KINDS))
    out.print(table)


def _cell(results: Sequence[rule_tests.CaseResult], rule: str, kind: str) -> Text:
    mine = [item for item in results if (item.case.rule, item.case.text.kind) == (rule, kind)]
    bad = sum(bool(item.problem) for item in mine)
    if not mine:
        return Text("missing", "bold red")
    return Text(f"{bad} of {len(mine)} failed", "bold red") if bad else Text("ok", "green")
