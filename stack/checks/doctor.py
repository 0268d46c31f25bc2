"""Checks that the running stack applies the settings; `logstack doctor` prints the findings.

A check reads the policy back from the engine or the store, not from a configuration file.
"""

from __future__ import annotations

from stack.alerting.loaded import rule_differences
from stack.archive.checks import Finding, archive_findings
from stack.archive.context import Archive
from stack.engines.kinds import kind_of
from stack.settings.targets import Target


def run(archive: Archive, target: Target) -> list[Finding]:
    """Run every check. One that cannot be made because a program does not answer has failed."""
    return [check_alert_rules(target), *archive_findings(archive)]


def check_alert_rules(target: Target) -> Finding:
    """The evaluator has loaded exactly the shipped rules."""
    problems = rule_differences(target)
    passed = f"{kind_of(target.settings).evaluator} has loaded exactly the rules of alerts/rules/"
    return Finding("alert rules", not problems, "; ".join(problems) or passed)
