"""Every channel by HTTP: the real Alertmanager, and what arrives where the services would be."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from stack import artifacts, settings
from stack.alerting.channels import NAMES
from stack.alerting.files import alert_files
from stack.alerting.send import send
from stack.alerting.throwaway import running
from stack.components.catalogue import by_name, command
from stack.monitor import metrics
from stack.runtimes.native import read_tail
from stack.settings.secrets import write_private
from stack.settings.targets import Target
from tests.support import message_formats as formats
from tests.support.example import PORTS, target_in
from tests.support.native_stack import poll
from tests.support.ports import free_ports
from tests.support.sinks import HttpSink, Request, http_sink

pytestmark = [pytest.mark.native, pytest.mark.own_stack]

SECRET = "0123456789abcdef0123456789abcdef"
PATHS = {
    "pagerduty": "/v2/enqueue",
    "opsgenie": "/v2/alerts",
    "slack": "/services/",
    "teams": "/workflows/",
    "discord": "/api/webhooks/",
    "telegram": "/bot",
    "webhook": "/hook/",
}
CHECKS: dict[str, Callable[[Any], None]] = {
    name: getattr(formats, f"check_{name}") for name in PATHS
}
# What people type, and what programs print.
HOSTILE = {
    "mentions": "@everyone @here @channel @erpbot <@123456789012345678> <!channel> <at>Ann</at>",
    "markup": "*bold* _it_ ~~gone~~ `code` ```b``` [x](https://evil.example) # head\n> q\n- item",
    "html": "<b>bold</b> <script>alert(1)</script> &lt;i&gt; </b> <a href='https://evil.example'>x</a>",
    "traceback": 'Traceback (most recent call last):\n  File "<stdin>", line 1, in <x>\n' * 400,
    "emoji": "😀" * 10_000,
    "escapes": "*_`[<@" * 3_000,
    "quotes": "\"d\" 's' \\ {{ .Labels }} {{DATE(2026-01-01T00:00:00Z)}} ${x} %s %q \x01 \u2028",
}  # fmt: skip


@dataclass
class Running:
    """Alertmanager with every channel that is reached by HTTP, and its log."""

    target: Target
    http: HttpSink
    log: Path

    def post(self, name: str, *, ended: bool = False, **texts: str) -> None:
        self.post_all([self.alert(name, ended, **texts)])

    def post_all(self, alerts: list[dict[str, Any]]) -> None:
        url = self.target.url("alertmanager", "/api/v2/alerts")
        requests.post(url, json=alerts, timeout=10).raise_for_status()

    def alert(self, name: str, ended: bool = False, **texts: str) -> dict[str, Any]:
        now = datetime.now(UTC)
        return {
            "labels": {
                "alertname": name,
                "severity": texts.get("severity", "page"),
                "environment": "prod",
                "service_name": texts.get("service_name", "erp"),
                **{key: texts[key] for key in ("username",) if key in texts},
            },
            "annotations": {
                "summary": texts.get("summary", "12% of the records are errors"),
                "description": texts.get("description", "ERROR and CRITICAL records."),
                "value": "0.12",
                "samples": texts.get("samples", "no connection\nno answer\n"),
                "lines": texts.get("lines", "https://logs.example.com/?query=level%3AERROR"),
                "runbook": "https://docs.example.com/runbooks.md#errorratiohigh",
            },
            "startsAt": (now - timedelta(minutes=5)).isoformat(),
            "endsAt": (now + timedelta(minutes=-1 if ended else 5)).isoformat(),
        }

    def of(self, channel: str, mark: str) -> list[Request]:
        """The accepted requests of a channel that contain `mark`."""
        return [r for r in self.http.of(PATHS[channel]) if mark in json.dumps(r.body)]

    def wait(self, channel: str, mark: str) -> Request:
        found: list[Request] = poll(
            lambda: self.of(channel, mark),
            lambda: f"{channel}: {mark}\n{self.log.read_text('utf-8')[-3000:]}",
            timeout=60,
        )
        return found[-1]


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory, binaries: None) -> Iterator[Running]:
    folders = artifacts.ensure_all(settings.load({}), lambda name, text: None)
    folder = tmp_path_factory.mktemp("channels")
    [port] = free_ports(1)
    with http_sink() as http:
        secrets = {
            "pagerduty_key_file": SECRET,
            "opsgenie_key_file": SECRET,
            "slack_webhook_file": f"{http.url}/services/T0/B0/{SECRET}",
            "teams_webhook_file": f"{http.url}/workflows/{SECRET}/triggers/manual?sig=x",
            "discord_webhook_file": f"{http.url}/api/webhooks/1/{SECRET}",
            "telegram_token_file": f"123456789:{SECRET}",
            "webhook_url_file": f"{http.url}/hook/{SECRET}",
        }
        for name, text in secrets.items():
            write_private(folder / name, f"{text}\n")
        target = target_in(
            folder,
            ports={**PORTS, "alertmanager": port},
            alerts={"group_wait": "0s", "group_interval": "1s", "page_interval": "1s"},
            receivers={
                **{name: str(folder / name) for name in secrets},
                "slack_hosts": ["127.0.0.1"],
                "pagerduty_url": f"{http.url}/v2/enqueue",
                "opsgenie_url": http.url,
                "telegram_url": http.url,
                "telegram_chat_id": -1001234567890,
            },
        )
        for path, text in alert_files(target).items():
            write_private(target.run_dir / path, text)
        component = by_name("alertmanager")
        program = str(folders["alertmanager"] / "alertmanager")
        argv = command(component, target, {"alertmanager": program})
        with running(argv, target.url("alertmanager"), component.health, folder / "process"):
            yield Running(target, http, folder / "process" / "output.log")


def test_every_channel_but_mail_is_tested_here() -> None:
    """A channel that is added to the list has to be."""
    assert set(NAMES) - {"email"} == set(PATHS)


@pytest.mark.parametrize("kind", HOSTILE)
def test_whatever_a_record_holds_a_channel_takes_its_message(
    alertmanager: Running, kind: str
) -> None:
    """In the form and within the lengths that each service documents."""
    text = HOSTILE[kind]
    name = f"Hostile{kind.title()}"
    alertmanager.post(name, summary=text, description=text, samples=text, username=text)
    for channel, check in CHECKS.items():
        check(alertmanager.wait(channel, name).body)


def test_a_group_of_many_fits_as_well(alertmanager: Running) -> None:
    """With the longest names and links."""
    long = "x" * 400
    for number in range(60):
        alertmanager.post(
            "ManyAlerts",
            username=f"{number}{HOSTILE['escapes']}",
            summary=HOSTILE["escapes"],
            lines=f"https://logs.example.com/{long}",
        )
    expected = "at most five are named"
    for channel in ("teams", "discord", "telegram"):
        CHECKS[channel](alertmanager.wait(channel, expected).body)
    hook = alertmanager.wait("webhook", "ManyAlerts")
    CHECKS["webhook"](hook.body)


class Telegram(HTMLParser):
    """The text and the tags that Telegram sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text, self.tags, self.links = "", set[str](), list[str]()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("kind", HOSTILE)
def test_nothing_in_a_record_is_markup_or_calls_anybody(alertmanager: Running, kind: str) -> None:
    """Neither tags nor links of others, nor a mention."""
    text = HOSTILE[kind]
    name = f"Markup{kind.title()}"
    alertmanager.post(name, summary=text, description=text, samples=text, service_name=text)
    seen = Telegram(alertmanager.wait("telegram", name).body["text"])
    assert seen.tags <= {"a", "b"}
    assert "evil.example" not in {urlsplit(link).hostname for link in seen.links}
    assert formats.utf16(seen.text) <= formats.TELEGRAM_TEXT
    [embed] = alertmanager.wait("discord", name).body["embeds"]
    card = alertmanager.wait("teams", name).body["attachments"][0]["content"]
    marked = [embed["title"], embed["description"], *(block["text"] for block in card["body"])]
    for piece in marked:
        links = r"\[(Records|Dashboard|Runbook|Silence)\]\(https?://[^)\s]+\) "
        text = re.sub(rf"^\[PAGE\]|{links}", "", piece)
        assert not re.search(r"(?<!\\)(\\\\)*[*_~`<>\[\]|{}]", text), text
        assert not re.search(r"(?m)^\s*[-+#]", text), text
    issue = alertmanager.wait("opsgenie", name).body
    for piece in (*marked, seen.text):
        assert not re.search(r"(?<![\w.])@\w", piece), piece
    assert not re.search("[<>]", issue["message"] + issue["description"])


def test_a_message_says_what_since_when_and_where_and_links_first(alertmanager: Running) -> None:
    """In every channel."""
    alertmanager.post("Plain")
    texts = {
        "discord": alertmanager.wait("discord", "Plain").body["embeds"][0]["description"],
        "telegram": alertmanager.wait("telegram", "Plain").body["text"],
        "opsgenie": alertmanager.wait("opsgenie", "Plain").body["description"],
        "teams": alertmanager.wait("teams", "Plain").body["attachments"][0]["content"]["body"][1][
            "text"
        ],
    }
    expected = ("12% of the records are errors", "since 20", "0.12", "erp", "no connection")
    for channel, text in texts.items():
        plain = text.replace("\\", "")
        assert not [part for part in expected if part not in plain], channel
        place = text.index("https://logs.example.com/?query=level%3AERROR")
        assert place < text.index("12% of"), channel
    assert alertmanager.wait("opsgenie", "Plain").body["message"].startswith("[PAGE] Plain erp")
    assert alertmanager.wait("opsgenie", "Plain").body["priority"] == "P1"


def test_what_is_over_is_said_to_be_over(alertmanager: Running) -> None:
    """Opsgenie's alert is closed; chats get a message of another colour."""
    alertmanager.post("Ends")
    for channel in PATHS:
        alertmanager.wait(channel, "Ends")
    alias = alertmanager.wait("opsgenie", "Ends").body["alias"]
    alertmanager.post("Ends", ended=True)
    for channel in ("teams", "discord", "telegram"):
        alertmanager.wait(channel, "[RESOLVED] Ends")
    poll(
        lambda: alertmanager.http.of(f"/v2/alerts/{alias}/close"),
        lambda: f"{alertmanager.http.requests}",
        timeout=60,
    )
    [close] = alertmanager.http.of(f"/v2/alerts/{alias}/close")
    CHECKS["opsgenie"](close.body)
    assert alertmanager.wait("webhook", '"status": "resolved"').body["status"] == "resolved"


def test_each_severity_reaches_its_channels(alertmanager: Running) -> None:
    """A ticket wakes nobody up; a program of one's own gets everything."""
    alertmanager.post("ATicket", severity="ticket")
    for channel in ("slack", "teams", "discord", "telegram", "webhook"):
        alertmanager.wait(channel, "ATicket")
    assert not alertmanager.of("pagerduty", "ATicket")
    assert not alertmanager.of("opsgenie", "ATicket")


def test_a_storm_is_one_message_in_a_chat_and_an_incident_per_service(
    alertmanager: Running,
) -> None:
    """Of three hundred services; the chat's message says how many, and the pager's are resolved."""
    services = [f"storm-{number}" for number in range(300)]

    def enough(count: int) -> bool:
        return len(alertmanager.of("pagerduty", "Storm")) >= count

    for ended in (False, True):
        alertmanager.post_all(
            [alertmanager.alert("Storm", ended, service_name=name) for name in services]
        )
        poll(
            partial(enough, (ended + 1) * len(services)),
            lambda: f"{len(alertmanager.of('pagerduty', 'Storm'))} incidents",
            timeout=60,
        )
        alertmanager.wait("slack", "[RESOLVED] Storm" if ended else "Storm")
    assert len({r.body["dedup_key"] for r in alertmanager.of("pagerduty", "Storm")}) == 300
    assert "300 firing" in json.dumps([r.body for r in alertmanager.of("slack", "Storm")])
    for channel in ("slack", "teams", "discord", "telegram", "webhook"):
        # Alerts that Alertmanager takes one after the other may be in a second one.
        assert len(alertmanager.of(channel, "Storm")) <= 4, channel


@pytest.mark.parametrize("channel", PATHS)
def test_send_delivers_a_marked_message(alertmanager: Running, channel: str) -> None:
    """To that channel alone."""
    result = send(alertmanager.target, channel, lambda: read_tail(alertmanager.log, 10_000))
    assert result.delivered, result
    found = {name: len(alertmanager.of(name, result.mark)) for name in PATHS}
    assert found == {name: int(name == channel) for name in PATHS}


@pytest.mark.parametrize("channel", PATHS)
def test_why_a_channel_refuses_is_said_without_its_secret(
    alertmanager: Running, channel: str
) -> None:
    """Neither Alertmanager's log nor the command has it."""
    alertmanager.http.failing[PATHS[channel]] = [403] * 3
    result = send(alertmanager.target, channel, lambda: read_tail(alertmanager.log, 10_000))
    alertmanager.http.failing.clear()
    assert not result.delivered
    assert re.search("403|not now|invalid character", result.answer), result
    assert SECRET not in result.answer
    assert SECRET not in alertmanager.log.read_text("utf-8")


def test_secrets_are_sent_where_the_services_expect_them(alertmanager: Running) -> None:
    """In a header, or in the address, and in files that only their owner reads."""
    alertmanager.post("Secrets")
    issue = alertmanager.wait("opsgenie", "Secrets")
    assert issue.headers["Authorization"] == f"GenieKey {SECRET}"
    message = alertmanager.wait("telegram", "Secrets")
    assert message.path == f"/bot123456789:{SECRET}/sendMessage"
    assert message.body["chat_id"] == "-1001234567890"
    run = alertmanager.target.run_dir
    holders = [path for path in run.rglob("*") if path.is_file() and SECRET in path.read_text()]
    assert len(holders) == len(PATHS)
    assert {path.parent.name for path in holders} == {"secrets"}
    assert {oct(path.stat().st_mode & 0o777) for path in holders} == {"0o600"}


def test_the_monitor_sees_each_channel_fail(alertmanager: Running) -> None:
    """In the counters that NotificationsFailing is about."""
    for path in PATHS.values():
        alertmanager.http.failing[path] = [500]
    alertmanager.post("Fails")
    url = alertmanager.target.url("alertmanager", "/metrics")

    def failed() -> set[str]:
        found = metrics.parse(metrics.fetch(url), metrics.METRICS["alertmanager"])
        counts = found["notifications_failed"]
        return {name for name, count in counts.items() if name.startswith("page") and count}

    chats = {
        f"page-chat/{name}" for name in ("slack", "msteamsv2", "discord", "telegram", "webhook")
    }
    poll(
        lambda: failed() == {"page/pagerduty", "page/opsgenie", *chats},
        lambda: f"{failed()}",
        timeout=60,
    )
    for channel in PATHS:  # and each is asked again
        alertmanager.wait(channel, "Fails")
