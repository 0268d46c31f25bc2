"""CHANNELS, the list of the ways to notify somebody. receivers.py reads their secrets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stack.settings.alerts import Severity


@dataclass(frozen=True)
class Secret:
    """The setting that names its file, and Alertmanager's key for the path of the copy.

    It is an address, unless it has a `form`, whose description is `expected`. `hosts`: the setting
    with the hosts that the address may have.
    """

    setting: str
    key: str
    form: str = ""
    expected: str = ""
    hosts: str = ""


@dataclass(frozen=True)
class Channel:
    """One way to notify somebody, as an entry of Alertmanager's `kind`.

    `severities`: which alerts it gets. `by_service`: one message per service, which a pager keeps
    as an incident; other channels get one message for all services of an alert. `values`, `urls`,
    `required`: Alertmanager's keys and the settings that they come from; a required one comes with
    what is expected. `text`: the rest of the entry. Entries of one name are variants, of which one
    may be set up.
    """

    name: str
    kind: str
    severities: tuple[Severity, ...]
    secret: Secret | None = None
    text: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    required: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    by_service: bool = False


def _template(name: str) -> str:
    return f'{{{{ template "logstack.{name}" . }}}}'


_SLACK = {
    "title": _template("slack.title"),
    "title_link": _template("url"),
    "text": _template("slack.text"),
    "fallback": _template("slack.title"),
    "message_text": _template("slack.message"),  # what notifications show
    "color": _template("slack.color"),
    "footer": "logstack",
}
_CHAT: tuple[Severity, ...] = ("page", "ticket")
CHANNELS = (
    Channel(
        "pagerduty",
        "pagerduty_configs",
        ("page",),
        Secret(
            "pagerduty_key_file",
            "routing_key_file",
            form=r"[A-Za-z0-9]{32}",
            expected="an integration key of 32 letters and digits",
        ),
        {
            "description": _template("title"),
            "severity": _template("pagerduty.severity"),
            "class": '{{ .GroupLabels.alertname | printf "%.200s" }}',
            "component": '{{ .GroupLabels.service_name | printf "%.200s" }}',
            "group": '{{ .GroupLabels.environment | printf "%.200s" }}',
            "source": _template("pagerduty.source"),
            "client": "logstack",
            "client_url": _template("url"),
            "details": {
                name: _template(f"pagerduty.{name}")
                for name in ("what", "since", "samples", "lines", "runbook")
            },
        },
        urls={"url": "pagerduty_url"},
        by_service=True,
    ),
    Channel(
        "opsgenie",
        "opsgenie_configs",
        ("page",),
        Secret(
            "opsgenie_key_file",
            "api_key_file",
            form=r"[A-Za-z0-9-]{30,100}",
            expected="the API key of an integration, of letters, digits and `-`",
        ),
        {
            "message": _template("opsgenie.title"),
            "description": _template("opsgenie.text"),
            "source": "logstack",
            "entity": '{{ .CommonLabels.service_name | printf "%.200s" }}',
            "priority": _template("opsgenie.priority"),
            "tags": "logstack",
        },
        urls={"api_url": "opsgenie_url"},
        by_service=True,
    ),
    Channel(
        "slack",
        "slack_configs",
        _CHAT,
        Secret("slack_webhook_file", "api_url_file", hosts="slack_hosts"),
        _SLACK,
        values={"channel": "slack_channel"},
    ),
    Channel(
        "slack",
        "slack_configs",
        _CHAT,
        Secret(
            "slack_token_file",
            "app_token_file",
            form=r"xox[a-z]-[A-Za-z0-9-]{10,}",
            expected="a bot token, xoxb-...",
        ),
        _SLACK,
        urls={"app_url": "slack_api_url"},
        required={
            "channel": (
                "slack_channel",
                "the id of a channel such as C0123456789, which a bot token requires",
            )
        },
    ),
    Channel(
        "teams",
        "msteamsv2_configs",
        _CHAT,
        Secret("teams_webhook_file", "webhook_url_file"),
        {"title": _template("discord.title"), "text": _template("teams.text")},
    ),
    Channel(
        "discord",
        "discord_configs",
        _CHAT,
        Secret("discord_webhook_file", "webhook_url_file"),
        {"title": _template("discord.title"), "message": _template("discord.text")},
    ),
    Channel(
        "telegram",
        "telegram_configs",
        _CHAT,
        Secret(
            "telegram_token_file",
            "bot_token_file",
            form=r"[0-9]{5,20}:[A-Za-z0-9_-]{30,100}",
            expected="a bot token, 123456789:ABC...",
        ),
        {"message": _template("telegram.text"), "parse_mode": "HTML"},
        urls={"api_url": "telegram_url"},
        required={
            "chat_id": ("telegram_chat_id", "the number of a chat, which a bot token requires")
        },
    ),
    Channel("email", "email_configs", ("ticket", "info")),
    Channel(
        "webhook",
        "webhook_configs",
        ("page", "ticket", "info"),
        Secret("webhook_url_file", "url_file"),
        {"max_alerts": 50},
    ),
)
DEADMAN = Channel(
    "deadman",
    "webhook_configs",
    (),
    Secret("deadman_url_file", "url_file"),
    {"send_resolved": False},
)
NAMES = tuple(dict.fromkeys(channel.name for channel in CHANNELS))


def channels_of(severity: Severity, *, by_service: bool | None = None) -> tuple[str, ...]:
    """The names of the channels that alerts of a severity are sent to; None: of both kinds."""
    chosen = (
        channel.name
        for channel in CHANNELS
        if severity in channel.severities and by_service in (None, channel.by_service)
    )
    return tuple(dict.fromkeys(chosen))


def settings_of(name: str) -> str:
    """The settings of which one sets a channel up, for messages."""
    secrets = [channel.secret for channel in CHANNELS if channel.name == name]
    found = [secret.setting if secret else "email_to" for secret in secrets]
    return " or ".join(f"receivers.{setting}" for setting in found)
