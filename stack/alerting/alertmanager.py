"""Alertmanager's configuration from settings, rules and channels. Pure.

Alerts go to the channels of their severity (`channels.CHANNELS`). Those without a severity are
routed as tickets, so that none is lost. That a channel fails is sent to all.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from stack.alerting.channels import NAMES, channels_of
from stack.alerting.receivers import Channels
from stack.alerting.rule_files import dump
from stack.alerting.rules import Rule
from stack.components.component import as_pattern
from stack.settings import ROOT, Settings
from stack.settings.alerts import SEVERITIES, MuteTime, Severity
from stack.settings.targets import Target
from stack.settings.units import go_duration, parse_duration

HEAD = "# Rendered from stack/settings.toml and alerts/: change it there.\n"
TEMPLATES = ROOT / "alerts" / "templates"
WATCHDOG = "Watchdog"
# With hundreds of services in one alert, a chat gets one message.
GROUP, PAGE_CHAT = ["alertname", "environment"], "page-chat"
FAILING, EVERYBODY = "NotificationsFailing", "everybody"
TEST_LABEL = "test_channel"


def render_alertmanager(target: Target, rules: Sequence[Rule], channels: Channels) -> str:
    """The whole configuration as YAML."""
    folder = target.config_dir("alertmanager") / "templates"
    mute_times = target.settings.alerts.mute_times
    document: dict[str, Any] = {
        "route": route(target.settings),
        "receivers": receivers(channels, label_names(rules)),
        "inhibit_rules": inhibitions(rules),
        "templates": [f"{as_pattern(folder)}/*.tmpl"],
    }
    if mute_times:
        document["time_intervals"] = [_interval(item) for item in mute_times]
    return HEAD + dump(document)


def route(settings: Settings) -> dict[str, Any]:
    """The tree of routes."""
    alerts = settings.alerts
    interval = parse_duration(alerts.deadman_interval)
    watchdog = {
        "matchers": [f'alertname="{WATCHDOG}"'],
        "receiver": "deadman",
        "group_by": ["environment"],
        "group_wait": "0s",
        "group_interval": go_duration(alerts.deadman_interval),
        # Every group_interval Alertmanager checks whether the last call is repeat_interval ago. If
        # both were equal, it would be slightly less, and every second call would be skipped.
        "repeat_interval": f"{interval // timedelta(milliseconds=2)}ms",
    }
    failing = {
        "matchers": [f'alertname="{FAILING}"'],
        "receiver": EVERYBODY,
        "repeat_interval": go_duration(alerts.repeat_page),
    }
    digest = go_duration(alerts.digest)
    page = {
        "matchers": ['severity="page"'],
        "group_interval": go_duration(alerts.page_interval),
        "repeat_interval": go_duration(alerts.repeat_page),
        **_mute("page", settings),
    }
    incidents = {"receiver": "page", "group_by": [*GROUP, "service_name"], "continue": True}
    info = {
        "matchers": ['severity="info"'],
        "receiver": "info",
        "group_by": ["severity", "environment"],
        "group_wait": digest,
        "group_interval": digest,
        "repeat_interval": "24h",
        **_mute("info", settings),
    }
    # The root route cannot be muted, so tickets have their own route, too.
    ticket = {"matchers": ['severity="ticket"'], "receiver": "ticket", **_mute("ticket", settings)}
    return {
        "receiver": "ticket",
        "group_by": GROUP,
        "group_wait": go_duration(alerts.group_wait),
        "group_interval": go_duration(alerts.group_interval),
        "repeat_interval": go_duration(alerts.repeat_ticket),
        "routes": [
            watchdog,
            *_test_routes(),
            failing,
            {**page, **incidents},
            {**page, "receiver": PAGE_CHAT},
            ticket,
            info,
        ],
    }


def _test_routes() -> list[dict[str, Any]]:
    """Of messages that `logstack alerts send` sends to one channel."""
    return [
        {
            "matchers": [f'{TEST_LABEL}="{channel}"'],
            "receiver": f"test-{channel}",
            "group_by": ["..."],
            "group_wait": "0s",
        }
        for channel in NAMES
    ]


def label_names(rules: Sequence[Rule]) -> list[str]:
    """The names of the labels whose values come from records."""
    return sorted({name for rule in rules for name in rule.query("any").by} - {"environment"})


def receivers(channels: Channels, labels: Sequence[str]) -> list[dict[str, Any]]:
    """Two for pages, one per other severity, one of all channels, one per channel for tests, the
    dead man's switch.
    """
    incidents = {"name": "page", **_configs(channels, channels_of("page", by_service=True))}
    messages = [
        {
            "name": PAGE_CHAT if severity == "page" else severity,
            **_configs(channels, channels_of(severity, by_service=False)),
        }
        for severity in SEVERITIES
    ]
    tests = [{"name": f"test-{name}", **_configs(channels, (name,), test=True)}
             for name in NAMES]  # fmt: skip
    everybody = {"name": EVERYBODY, **_configs(channels, NAMES)}
    deadman = {"name": "deadman", **_configs(channels, ("deadman",))}
    found: list[dict[str, Any]] = [incidents, *messages, everybody, *tests, deadman]
    for entry in (entry for item in found for entry in item.get("opsgenie_configs", ())):
        # Alertmanager adds every label as it is, and Opsgenie refuses more than 8,000 characters.
        entry["details"] = {
            name: f'{{{{ .CommonLabels.{name} | printf "%.200s" }}}}' for name in labels
        }
    return found


def inhibitions(rules: Sequence[Rule]) -> list[dict[str, Any]]:
    """Inhibition rules: alerts that add nothing while another one fires."""
    return [
        {
            "source_matchers": [f'alertname="{rule.name}"'],
            "target_matchers": [f'alertname=~"{"|".join(rule.text.inhibits.alerts)}"'],
            "equal": list(rule.text.inhibits.equal),
        }
        for rule in rules
        if rule.text.inhibits
    ]


def message_templates() -> dict[str, str]:
    """The templates of alerts/templates/, by path below Alertmanager's folder."""
    return {
        f"templates/{path.name}": path.read_text(encoding="utf-8")
        for path in sorted(TEMPLATES.glob("*.tmpl"))
    }


def _configs(
    channels: Channels, names: Sequence[str], *, test: bool = False
) -> dict[str, list[dict[str, Any]]]:
    # No message when the test alert ends.
    changes = {"send_resolved": False} if test else {}
    return {
        kind: [{**entry, **changes} for entry in entries]
        for name in names
        for kind, entries in channels.receivers.get(name, {}).items()
    }


def _mute(severity: Severity, settings: Settings) -> dict[str, list[str]]:
    names = [item.name for item in settings.alerts.mute_times if severity in item.severities]
    return {"mute_time_intervals": names} if names else {}


def _interval(item: MuteTime) -> dict[str, Any]:
    interval: dict[str, Any] = {"location": item.location}
    if item.weekdays:
        interval["weekdays"] = list(item.weekdays)
    if item.times:
        pairs = [text.split("-") for text in item.times]
        interval["times"] = [{"start_time": start, "end_time": end} for start, end in pairs]
    return {"name": item.name, "time_intervals": [interval]}
