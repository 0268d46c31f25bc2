"""Asks the running stack whether what the settings say is so. `logstack doctor` prints it.

A policy is believed when the engine or the store says it, not because a file asks for it.
"""

from __future__ import annotations

from stack.alerting.loaded import rule_differences
from stack.archive.checks import Finding, archive_findings
from stack.archive.context import Archive
from stack.engines.kinds import kind_of
from stack.settings.targets import Target


def run(archive: Archive, target: Target) -> list[Finding]:
    """Every check. One that cannot be made because something does not answer has failed."""
    return [check_alert_rules(target), *archive_findings(archive)]


def check_alert_rules(target: Target) -> Finding:
    """Exactly the shipped rules are loaded where they are evaluated."""
    problems = rule_differences(target)
    found = f"{kind_of(target.settings).evaluator} has loaded exactly the rules of alerts/rules/"
    return Finding("alert rules", not problems, "; ".join(problems) or found)
