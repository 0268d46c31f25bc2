"""Who receives alerts, in one sentence; `up` and `alerts list` end with it."""

from __future__ import annotations

from stack.alerting import AlertError
from stack.alerting.channels import channels_of
from stack.alerting.lint import links_without_address
from stack.alerting.receivers import read_channels
from stack.settings.alerts import SEVERITIES
from stack.settings.targets import Target


def audience(target: Target) -> str:
    """`Alerts: page to slack, ticket to nobody ...`, with the command where somebody is missing."""
    try:
        channels = read_channels(target.settings.receivers, target.run_dir)
    except AlertError as error:
        return f"Alerts reach nobody: {error}"
    known = {
        severity: [name for name in channels_of(severity) if name in channels.receivers]
        for severity in SEVERITIES
    }
    unset = ["[receivers]"] if not all(known.values()) else []
    if any(known.values()):
        unset += links_without_address(target.settings)
    advice = f" Set {', '.join(unset)}: docs/alerts.md." if unset else ""
    if not any(known.values()):
        return f"Alerts reach nobody: no channel is set up.{advice}"
    sent = [f"{severity} to {' and '.join(names) or 'nobody'}" for severity, names in known.items()]
    return f"Alerts are sent: {', '.join(sent)}.{advice}"
