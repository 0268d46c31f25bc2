"""Message templates, routes and configuration, checked with Alertmanager's own tool."""

from __future__ import annotations

import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from stack import artifacts, settings
from stack.alerting.alertmanager import TEMPLATES, message_templates
from stack.alerting.files import alert_files
from stack.alerting.lint import check_files
from stack.settings.secrets import write_private
from tests.support.example import target_in
from tests.support.require import unavailable

pytestmark = pytest.mark.native

SINCE = "2026-01-31T10:30:00Z"
HOSTILE = {
    "markup": "<b>bold</b> <script>alert(1)</script> <!channel> <@U123> &amp; </pre>",
    "quotes": "\"double\" 'single' `back` ```code``` \\ {{ .Labels }} %s %q",
    "long": "x" * 10_000,
    "emoji": "😀👩‍👩‍👧 naïve Ω \u202eright-to-left\u202c",
    "newlines": "one\r\nBcc: victim@example.com\r\n\r\ntwo",
    "url": 'javascript:alert(1)//https://example.com/"><script>',
}
TEXTS = (
    *("logstack.title", "logstack.text"),
    *(f"logstack.slack.{name}" for name in ("title", "text", "message")),
)
PAGERDUTY = tuple(
    f"logstack.pagerduty.{name}" for name in ("severity", "source", "what", "since", "samples")
)


@pytest.fixture(scope="module")
def amtool() -> Path:
    try:
        return artifacts.ensure_all(settings.load({}), lambda n, t: None)["alertmanager"] / "amtool"
    except artifacts.ArtifactError as error:
        unavailable("native", str(error))


def alert(status: str = "firing", number: int = 1, **values: str) -> dict[str, Any]:
    text = {name: value for name, value in values.items() if name != "service_name"}
    return {
        "status": status,
        "labels": {
            "alertname": "ErrorRatioHigh",
            "severity": "page",
            "environment": "prod",
            "service_name": values.get("service_name", f"service-{number}"),
        },
        "annotations": {
            "summary": "12% of the records are errors",
            "description": "ERROR and CRITICAL records.",
            "value": "0.12",
            "samples": "no connection\nno connection\nno answer\n",
            "lines": "https://logs.example.com/?query=level%3AERROR",
            "runbook": "https://docs.example.com/runbooks.md#errorratiohigh",
            "dashboard": "https://grafana.example.com/d/logstack-errors-loki",
            **text,
        },
        "startsAt": SINCE,
        "endsAt": "2026-01-31T11:00:00Z" if status == "resolved" else "0001-01-01T00:00:00Z",
    }


def message(*alerts: dict[str, Any]) -> dict[str, Any]:
    """The data that Alertmanager passes to a template."""

    def common(key: str) -> dict[str, str]:
        first = alerts[0][key].items()
        return {k: v for k, v in first if all(item[key].get(k) == v for item in alerts)}

    firing = any(item["status"] == "firing" for item in alerts)
    return {
        "receiver": "page",
        "status": "firing" if firing else "resolved",
        "alerts": list(alerts),
        "groupLabels": {
            name: value for name, value in common("labels").items() if name == "alertname"
        },
        "commonLabels": common("labels"),
        "commonAnnotations": common("annotations"),
        "externalURL": "https://alertmanager.example.com",
    }


MESSAGES = {
    "firing": message(alert()),
    "resolved": message(alert("resolved")),
    "fifty": message(*(alert(number=number) for number in range(50))),
    "some resolved": message(alert(), alert("resolved", 2)),
    "missing labels": message({"status": "firing", "labels": {}, "annotations": {},
                               "startsAt": SINCE, "endsAt": SINCE}),
    **{
        f"hostile {name}": message(
            alert(service_name=value, summary=value, description=value, samples=value,
                  lines=value, runbook=value, dashboard=value, value=value)
        )
        for name, value in HOSTILE.items()
    },
}  # fmt: skip


def render(amtool: Path, folder: Path, name: str, data: dict[str, Any], kind: str = "text") -> str:
    path = folder / "data.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    result = subprocess.run(
        [
            *(str(amtool), "template", "render"),
            f"--template.glob={TEMPLATES}/*.tmpl",
            f'--template.text={{{{ template "{name}" . }}}}',
            f"--template.type={kind}",
            f"--template.data={path}",
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.removesuffix("\n")


@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
@pytest.mark.parametrize("name", [*TEXTS, *PAGERDUTY])
def test_every_text_is_complete_and_bounded(
    amtool: Path, tmp_path: Path, name: str, data: dict[str, Any]
) -> None:
    """For any labels the message is not empty, has no `<no value>`, and is not too long."""
    text = render(amtool, tmp_path, name, data)
    assert "<no value>" not in text
    assert "ZgotmplZ" not in text
    assert len(text) < (1024 if name.endswith(".title") else 40_000)
    if name not in ("logstack.pagerduty.samples", "logstack.pagerduty.what"):
        assert text.strip()
    if name.endswith((".title", ".severity", ".since")):
        assert "\n" not in text
        assert "\r" not in text


@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
def test_slack_sees_no_markup_but_ours(amtool: Path, tmp_path: Path, data: dict[str, Any]) -> None:
    """No mentions, no links of others, and code blocks are closed."""
    text = render(amtool, tmp_path, "logstack.slack.text", data)
    links = re.findall(r"<([^<>]*)>", text)
    assert all(re.fullmatch(r"https?://[^|\s]+\|[A-Z][a-z]+", link) for link in links), links
    assert "<" not in re.sub(r"<[^<>]*>", "", text)
    assert text.count("```") % 2 == 0
    title = render(amtool, tmp_path, "logstack.slack.title", data)
    assert "<" not in title


class Document(HTMLParser):
    """The tags, link addresses and text that a mail program sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src")]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
def test_html_has_no_elements_but_ours(amtool: Path, tmp_path: Path, data: dict[str, Any]) -> None:
    """Values are text, and no link runs a script."""
    html = render(amtool, tmp_path, "logstack.html", data, "html")
    document = Document(html)
    assert document.tags <= {
        *("html", "head", "meta", "title", "body", "h2", "div", "p", "b", "br", "pre", "a")
    }
    assert all(link.startswith("https://") for link in document.links)
    assert "<no value>" not in document.text
    assert len(html) < 60_000


def test_a_message_says_what_since_when_how_many_where_and_shows_lines(
    amtool: Path, tmp_path: Path
) -> None:
    """In Slack, by e-mail in both forms, and in PagerDuty."""
    data = MESSAGES["firing"]
    expected = (
        "12% of the records are errors",
        "since 2026-01-31 10:30:00 UTC",
        "0.12",
        "service_name=service-1",
        "no connection\nno connection\nno answer",
        "https://logs.example.com/?query=level%3AERROR",
        "https://docs.example.com/runbooks.md#errorratiohigh",
        "https://grafana.example.com/d/logstack-errors-loki",
    )
    for name, kind in (("slack.text", "text"), ("text", "text"), ("html", "html")):
        text = render(amtool, tmp_path, f"logstack.{name}", data, kind)
        assert not [part for part in expected if part not in text], name
    what = render(amtool, tmp_path, "logstack.pagerduty.what", data)
    assert "12% of the records are errors" in what
    assert "service_name=service-1" in what


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("firing", "[PAGE] ErrorRatioHigh service-1 (prod): 12% of the records are errors"),
        (
            "resolved",
            "[RESOLVED] ErrorRatioHigh service-1 (prod): over. "
            "Before: 12% of the records are errors",
        ),
        ("fifty", "[PAGE x50] ErrorRatioHigh (prod): 12% of the records are errors"),
        ("some resolved", "[PAGE] ErrorRatioHigh (prod): 12% of the records are errors"),
        ("missing labels", "[FIRING] several alerts"),
    ],
)
def test_a_title_names_alert_service_and_cause(
    amtool: Path, tmp_path: Path, name: str, expected: str
) -> None:
    """With severity, number of alerts, environment and summary."""
    assert render(amtool, tmp_path, "logstack.title", MESSAGES[name]) == expected


def test_of_fifty_alerts_five_are_shown(amtool: Path, tmp_path: Path) -> None:
    """The message contains their number."""
    for name in ("logstack.text", "logstack.slack.text"):
        text = render(amtool, tmp_path, name, MESSAGES["fifty"])
        assert len(set(re.findall(r"service-\d+", text))) == 5
        assert "50 firing, 0 resolved" in text


@pytest.mark.parametrize("data", MESSAGES.values(), ids=MESSAGES)
def test_slack_cuts_nothing_off(amtool: Path, tmp_path: Path, data: dict[str, Any]) -> None:
    """At most 3,000 characters (8,000 of escaped markup), and the links come first."""
    text = render(amtool, tmp_path, "logstack.slack.text", data)
    assert len(text) <= (3000 if "&amp;" not in text and "&lt;" not in text else 8000)
    if "|Runbook>" in text:
        assert "|Runbook>" in text.splitlines()[0]


def test_the_link_silences_this_service_alone(amtool: Path, tmp_path: Path) -> None:
    """By all labels of the group, which Alertmanager reads as one filter."""
    data = {**MESSAGES["firing"]}
    data["commonLabels"] = {**data["commonLabels"], "service_name": 'a"b, c'}
    text = render(amtool, tmp_path, "logstack.slack.text", data)
    [link] = re.findall(r"<([^<>|]*)\|Silence>", text)
    assert unquote_plus(link.partition("filter=")[2]) == (
        '{alertname="ErrorRatioHigh",environment="prod",service_name="a\\"b, c"}'
    )


def test_a_push_notification_says_what_happened(amtool: Path, tmp_path: Path) -> None:
    """It shows the text of the message, not that of its attachments."""
    text = render(amtool, tmp_path, "logstack.slack.message", MESSAGES["firing"])
    assert text == "[PAGE] ErrorRatioHigh service-1 (prod): 12% of the records are errors"


def test_a_resolved_message_has_its_end(amtool: Path, tmp_path: Path) -> None:
    """And its start."""
    text = render(amtool, tmp_path, "logstack.slack.text", MESSAGES["resolved"])
    assert "*Over after 30m0s. Before: 12% of the records are errors*" in text
    assert "until 2026-01-31 11:00:00 UTC" in text


@pytest.fixture(scope="module")
def configuration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alertmanager's configuration with every channel and a mute window."""
    folder = tmp_path_factory.mktemp("a configuration [1]")
    secrets = {
        "slack_webhook_file": "https://hooks.slack.com/services/T0/B0/x",
        "pagerduty_key_file": "0123456789abcdef0123456789abcdef",
        "opsgenie_key_file": "0123456789abcdef0123456789abcdef",
        "teams_webhook_file": "https://teams.example.com/x",
        "discord_webhook_file": "https://discord.example.com/x",
        "telegram_token_file": "123456789:0123456789abcdef0123456789abcdef",
        "webhook_url_file": "https://hook.example.com/x",
        "deadman_url_file": "https://hc.example.com/x",
        "smtp_password_file": "hunter2",
    }
    receivers: dict[str, Any] = {
        "email_to": ["oncall@example.com"],
        "email_from": "logstack@example.com",
        "smtp_server": "smtp.example.com:587",
        "smtp_user": "logstack",
        "telegram_chat_id": -100123,
    }
    for name, text in secrets.items():
        write_private(folder / name, text)
        receivers[name] = str(folder / name)
    mute = {"name": "night", "severities": ["ticket"], "times": ["22:00-24:00"]}
    target = target_in(folder, receivers=receivers, alerts={"mute_times": [mute]})
    for path, text in alert_files(target).items():
        write_private(target.run_dir / path, text)
    return target.config_dir("alertmanager") / "alertmanager.yml"


def test_amtool_accepts_the_configuration(amtool: Path, configuration: Path) -> None:
    """And finds our templates in a folder whose name is a glob pattern."""
    result = subprocess.run(
        [str(amtool), "check-config", str(configuration)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert f"{len(message_templates())} templates" in result.stdout
    assert "14 receivers" in result.stdout


@pytest.mark.parametrize(
    ("labels", "receiver"),
    [
        ({"alertname": "CriticalLogged", "severity": "page"}, "page,page-chat"),
        ({"alertname": "JobFailed", "severity": "ticket"}, "ticket"),
        ({"alertname": "Something", "severity": "info"}, "info"),
        ({"alertname": "Something", "severity": "unheard of"}, "ticket"),
        ({"alertname": "Something"}, "ticket"),
        ({"alertname": "Watchdog", "severity": "info"}, "deadman"),
        ({"alertname": "Watchdog", "severity": "page"}, "deadman"),
        ({"alertname": "X", "severity": "info", "test_channel": "slack"}, "test-slack"),
        ({"alertname": "X", "severity": "info", "test_channel": "pagerduty"}, "test-pagerduty"),
        ({"alertname": "X", "severity": "info", "test_channel": "email"}, "test-email"),
    ],
)
def test_alerts_are_routed(
    amtool: Path, configuration: Path, labels: dict[str, str], receiver: str
) -> None:
    """By severity; an alert without a severity is routed too."""
    result = subprocess.run(
        [
            *(str(amtool), "config", "routes", "test", f"--config.file={configuration}"),
            f"--verify.receivers={receiver}",
            *(f"{name}={value}" for name, value in labels.items()),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"


def test_vmalert_and_amtool_accept_what_is_shipped(tmp_path: Path) -> None:
    """Every rule, as `logstack alerts lint` checks it."""
    assert check_files(target_in(tmp_path)) == 47
