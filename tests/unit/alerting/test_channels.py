"""Secrets, receivers and routes: what is rendered, and what is refused with which words."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.alerting import AlertError
from stack.alerting.alertmanager import render_alertmanager
from stack.alerting.audience import audience
from stack.alerting.files import alert_files
from stack.alerting.lint import remarks
from stack.alerting.receivers import Channels, read_channels
from stack.alerting.rules import load_rules
from tests.support.example import settings_with, target_in

WEBHOOK = "https://hooks.slack.com/services/T0/B0/abcdef"
TOKEN = "xoxb-1234567890-abcdefghij"
KEY = "0123456789abcdef0123456789abcdef"
BOT = f"123456789:{KEY}"
URL = "https://hc.example/x"
EMAIL = {
    "email_to": ["oncall@example.com"],
    "email_from": "logstack@example.com",
    "smtp_server": "smtp.example.com:587",
}


def secret(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "secret"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


def read(folder: Path, **receivers: Any) -> Channels:
    return read_channels(settings_with(receivers=receivers).receivers, folder / "run")


def refusal(folder: Path, **receivers: Any) -> str:
    with pytest.raises(AlertError) as caught:
        read(folder, **receivers)
    return str(caught.value).replace(f"{folder}/", "")


def test_nothing_is_configured_by_default(tmp_path: Path) -> None:
    """Alerts fire and are shown; the remarks say that they are not delivered."""
    channels = read(tmp_path)
    assert channels == Channels()
    assert len(list(remarks(channels, settings_with()))) == 4


def test_links_that_only_this_machine_can_open_are_named(tmp_path: Path) -> None:
    """Once somebody gets them; by the settings that are empty."""
    channels = read(tmp_path, slack_webhook_file=secret(tmp_path, WEBHOOK))
    public = {"grafana_url": "https://g.example.com", "runbooks_url": "https://r.example.com"}
    said = list(remarks(channels, settings_with(alerts=public)))
    assert said[-1] == (
        "Links in notifications work on this machine only, or are missing: set "
        "alerts.alertmanager_url."
    )
    all_set = {**public, "alertmanager_url": "https://a.example.com"}
    assert not [
        text for text in remarks(channels, settings_with(alerts=all_set)) if "Links" in text
    ]


@pytest.mark.parametrize(
    ("key", "text", "name", "kind", "field"),
    [
        ("slack_webhook_file", WEBHOOK, "slack_webhook", "slack_configs", "api_url_file"),
        ("slack_token_file", TOKEN, "slack_token", "slack_configs", "app_token_file"),
        ("pagerduty_key_file", KEY, "pagerduty_key", "pagerduty_configs", "routing_key_file"),
        ("opsgenie_key_file", KEY, "opsgenie_key", "opsgenie_configs", "api_key_file"),
        ("teams_webhook_file", URL, "teams_webhook", "msteamsv2_configs", "webhook_url_file"),
        ("discord_webhook_file", URL, "discord_webhook", "discord_configs", "webhook_url_file"),
        ("telegram_token_file", BOT, "telegram_token", "telegram_configs", "bot_token_file"),
        ("webhook_url_file", URL, "webhook_url", "webhook_configs", "url_file"),
        ("deadman_url_file", URL, "deadman_url", "webhook_configs", "url_file"),
    ],
)
def test_a_secret_is_copied_without_white_space(
    tmp_path: Path, key: str, text: str, name: str, kind: str, field: str
) -> None:
    """The configuration names the copy and does not hold the secret."""
    channels = read(
        tmp_path,
        **{key: secret(tmp_path, f"\n {text} \n")},
        slack_channel="C0123456789",
        telegram_chat_id=-100123,
    )
    assert channels.secrets == {name: text}
    [configs] = channels.receivers.values()
    assert configs[kind][0][field] == str(tmp_path / "run" / name)
    assert text not in str(configs)


SECRETS = {
    "slack_webhook_file": WEBHOOK,
    "slack_token_file": TOKEN,
    "pagerduty_key_file": KEY,
    "opsgenie_key_file": KEY,
    "teams_webhook_file": URL,
    "discord_webhook_file": URL,
    "telegram_token_file": BOT,
    "webhook_url_file": URL,
    "deadman_url_file": URL,
}


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_file_that_is_not_there_is_refused(tmp_path: Path, key: str) -> None:
    """With the setting and where it was looked for."""
    text = refusal(tmp_path, **{key: str(tmp_path / "nothing")})
    assert text.startswith(
        f"receivers.{key}: expected a file that holds the secret, got nothing, which does not "
        "exist. Create it with mode 0600"
    )
    assert f"LOGSTACK_RECEIVERS__{key.upper()}" in text


@pytest.mark.parametrize("key", SECRETS)
def test_a_secret_with_a_slash_in_place_of_its_file_is_not_shown(tmp_path: Path, key: str) -> None:
    """As passwords in base64 have; no folder is called so."""
    text = refusal(tmp_path, **{key: "hunter2/Zm9v="})
    assert "got a path that is not shown here, which does not exist" in text
    assert "hunter2" not in text


@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("text", ["", " \n\n"])
def test_an_empty_secret_file_is_refused(tmp_path: Path, key: str, text: str) -> None:
    """White space is empty."""
    found = refusal(tmp_path, **{key: secret(tmp_path, text)})
    assert found == f"receivers.{key}: secret: expected a secret, got an empty file"


@pytest.mark.parametrize("key", SECRETS)
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_file_that_others_read_is_refused(tmp_path: Path, key: str, mode: int) -> None:
    """With the command that mends it."""
    found = refusal(tmp_path, **{key: secret(tmp_path, SECRETS[key], mode)})
    assert found == (
        f"receivers.{key}: secret: expected mode 0600, got {mode:04o}. Run: chmod 600 'secret'"
    )


@pytest.mark.parametrize("key", SECRETS)
def test_a_newline_within_a_secret_is_refused(tmp_path: Path, key: str) -> None:
    """Two lines are two secrets, or half of one. The message shows neither."""
    found = refusal(tmp_path, **{key: secret(tmp_path, f"{SECRETS[key]}\n{SECRETS[key]}\n")})
    assert found == (
        f"receivers.{key}: secret: expected only the secret, got white space or a newline within it"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every file")
def test_a_secret_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """With the system's reason."""
    found = refusal(tmp_path, pagerduty_key_file=secret(tmp_path, KEY, 0o000))
    assert "Permission denied" in found


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://hooks.slack.com/services/T0/B0/abcdef", "http://hooks.slack.com/..."),
        ("https://hooks.slack.com.evil.example/services/abcdef", "https://hooks.slack.com.evil"),
        ("https://evil.example/hooks.slack.com/abcdef", "https://evil.example/..."),
        ("https://hooks.slack.com@evil.example/abcdef", "https://evil.example/..."),
        ("ftp://hooks.slack.com/services/abcdef", "ftp://hooks.slack.com/..."),
        ("hooks.slack.com/services/abcdef", "(no scheme)://(no host)/..."),
        ("https://hooks.slack.com/", "https://hooks.slack.com/..."),
        ("https://[half/abcdef", "(no scheme)://(no host)/..."),
    ],
)
def test_a_webhook_of_another_host_or_scheme_is_refused(
    tmp_path: Path, url: str, shown: str
) -> None:
    """What is behind the host is a secret and is not shown."""
    found = refusal(tmp_path, slack_webhook_file=secret(tmp_path, url))
    assert found.startswith(
        "receivers.slack_webhook_file: expected an address "
        f"https://hooks.slack.com or hooks.slack-gov.com/..., got {shown}"
    )
    assert "abcdef" not in found


@pytest.mark.parametrize(
    ("receivers", "text", "expected"),
    [
        ({"pagerduty_key_file": ""}, "short", "expected an integration key of 32 letters"),
        ({"slack_token_file": "", "slack_channel": "C1"}, "xoxo", "expected a bot token"),
        ({"slack_token_file": ""}, TOKEN, "receivers.slack_channel: expected the id of a channel"),
        *(
            ({f"{name}_file": ""}, "http://hc.example/x", "expected an address https://<host>/...")
            for name in ("deadman_url", "teams_webhook", "discord_webhook", "webhook_url")
        ),
        ({"opsgenie_key_file": ""}, "short", "expected the API key of an integration"),
        ({"telegram_token_file": ""}, KEY, "expected a bot token, 123456789:ABC..., got 32"),
        ({"telegram_token_file": ""}, BOT, "receivers.telegram_chat_id: expected the number of a"),
        (
            {"slack_webhook_file": "", "slack_token_file": ""},
            WEBHOOK,
            "expected one of them, got both",
        ),
        (
            {"pagerduty_key_file": "", "pagerduty_url": "http://events.example/v2/enqueue"},
            KEY,
            "receivers.pagerduty_url: expected an address https://",
        ),
    ],
)
def test_a_secret_of_the_wrong_shape_is_refused(
    tmp_path: Path, receivers: dict[str, str], text: str, expected: str
) -> None:
    """Before the first alert, not by the channel, and without showing it."""
    path = secret(tmp_path, text)
    values = {k: v or (path if k.endswith("_file") else v) for k, v in receivers.items()}
    found = refusal(tmp_path, **values)
    assert expected in found
    assert text not in found


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"email_from": ""}, "receivers.email_from: expected a value, because email_to is set"),
        ({"smtp_server": ""}, "receivers.smtp_server: expected a value, because email_to is set"),
        ({"smtp_user": "erp"}, "expected both or none, got one"),
    ],
)
def test_half_an_email_channel_is_refused(
    tmp_path: Path, change: dict[str, str], expected: str
) -> None:
    """All that sending needs has to be there."""
    assert expected in refusal(tmp_path, **{**EMAIL, **change})


def test_the_problems_of_all_channels_and_rules_are_reported_at_once(tmp_path: Path) -> None:
    """`make up` says everything that there is to mend."""
    target = target_in(
        tmp_path,
        receivers={"pagerduty_key_file": "/nothing", "deadman_url_file": "/nothing"},
        alerts={"rules": {"Nothing": {"enabled": False}}},
    )
    with pytest.raises(AlertError) as caught:
        alert_files(target)
    heads = [text.split(":")[0] for text in str(caught.value).splitlines()]
    assert heads == [
        "alerts.rules.Nothing",
        "receivers.pagerduty_key_file",
        "receivers.deadman_url_file",
    ]


def test_channels_follow_severity(tmp_path: Path) -> None:
    """A page to pagers and chats, a ticket to chats and by e-mail, info by e-mail."""
    receivers: dict[str, Any] = {**EMAIL, "telegram_chat_id": -100123}
    for key, text in SECRETS.items():
        if key not in ("slack_token_file", "deadman_url_file"):
            (tmp_path / key).mkdir()
            receivers[key] = secret(tmp_path / key, text)
    target = target_in(tmp_path, receivers=receivers)
    channels = read_channels(target.settings.receivers, tmp_path / "run")
    rules = load_rules(target.settings)
    document = yaml.safe_load(render_alertmanager(target, rules, channels))
    receivers = {item.pop("name"): item for item in document["receivers"]}
    chats = [
        *("discord_configs", "msteamsv2_configs", "slack_configs", "telegram_configs"),
        "webhook_configs",
    ]
    assert {name: sorted(item) for name, item in receivers.items()} == {
        "page": ["opsgenie_configs", "pagerduty_configs"],
        "page-chat": chats,
        "ticket": sorted(["email_configs", *chats]),
        "info": ["email_configs", "webhook_configs"],
        "everybody": sorted(["email_configs", "opsgenie_configs", "pagerduty_configs", *chats]),
        "test-slack": ["slack_configs"],
        "test-pagerduty": ["pagerduty_configs"],
        "test-opsgenie": ["opsgenie_configs"],
        "test-teams": ["msteamsv2_configs"],
        "test-discord": ["discord_configs"],
        "test-telegram": ["telegram_configs"],
        "test-webhook": ["webhook_configs"],
        "test-email": ["email_configs"],
        "deadman": [],
    }
    for name, item in receivers.items():
        for [config] in item.values():
            assert config["send_resolved"] is not name.startswith("test-")
    assert KEY not in str(document)
    assert WEBHOOK not in str(document)


def test_mute_times_are_on_the_routes_of_their_severities(tmp_path: Path) -> None:
    """The root cannot be muted, so what has no severity is always sent."""
    mute = {
        "name": "weekend",
        "severities": ["ticket", "info"],
        "weekdays": ["saturday", "sunday"],
        "times": ["08:00-24:00"],
        "location": "Europe/Berlin",
    }
    target = target_in(tmp_path, alerts={"mute_times": [mute]})
    document = yaml.safe_load(render_alertmanager(target, [], Channels()))
    assert document["time_intervals"] == [
        {
            "name": "weekend",
            "time_intervals": [
                {
                    "location": "Europe/Berlin",
                    "weekdays": ["saturday", "sunday"],
                    "times": [{"start_time": "08:00", "end_time": "24:00"}],
                }
            ],
        }
    ]
    muted = {r["receiver"] for r in document["route"]["routes"] if "mute_time_intervals" in r}
    assert muted == {"ticket", "info"}
    assert "mute_time_intervals" not in document["route"]


def test_who_is_told_of_alerts_is_one_sentence(tmp_path: Path) -> None:
    """Or that nobody is."""
    assert audience(target_in(tmp_path)) == (
        "Alerts reach nobody: no channel is set up. Set [receivers]: docs/alerts.md."
    )
    receivers: dict[str, Any] = {"slack_webhook_file": secret(tmp_path, WEBHOOK)}
    urls = {
        f"{name}_url": "https://a.example.com" for name in ("alertmanager", "grafana", "runbooks")
    }
    assert audience(target_in(tmp_path, receivers=receivers, alerts=urls)) == (
        "Alerts are sent: page to slack, ticket to slack, info to nobody. "
        "Set [receivers]: docs/alerts.md."
    )
    receivers |= EMAIL
    assert audience(target_in(tmp_path, receivers=receivers, alerts=urls)) == (
        "Alerts are sent: page to slack, ticket to slack and email, info to email."
    )
    urls["runbooks_url"] = ""
    assert audience(target_in(tmp_path, receivers=receivers, alerts=urls)) == (
        "Alerts are sent: page to slack, ticket to slack and email, info to email. "
        "Set alerts.runbooks_url: docs/alerts.md."
    )


def test_a_silent_service_inhibits_what_its_records_say(tmp_path: Path) -> None:
    """For the same service; and nothing is inhibited by a rule that is not there."""
    target = target_in(tmp_path)
    rules = load_rules(target.settings)
    document = yaml.safe_load(render_alertmanager(target, rules, Channels()))
    by_source = {rule["source_matchers"][0]: rule for rule in document["inhibit_rules"]}
    silent, late, failing = (
        by_source[f'alertname="{name}"']
        for name in ("ServiceSilent", "RecordsLate", "NotificationsFailing")
    )
    assert "ErrorRatioHigh" in silent["target_matchers"][0]
    assert silent["equal"] == ["environment", "service_name"]
    assert late["target_matchers"] == [
        'alertname=~"ServiceSilent|HostSilent|ArchiveBehind|ArchiveNeverRan"'
    ]
    assert late["equal"] == ["environment"]
    assert failing["target_matchers"] == ['alertname=~"Watchdog"']
