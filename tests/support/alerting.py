"""A stack whose alerts go to sinks within seconds."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import requests

from stack.alerting.loaded import loaded_rules
from stack.engines.kinds import kind_of
from stack.settings import variable_name
from stack.settings.secrets import write_private
from tests.support.native_stack import StackUnderTest, poll
from tests.support.sinks import HttpSink, MailSink, Request, http_sink, mail_sink

KEY = "0123456789abcdef0123456789abcdef"
# As the shipped ones, except that everything happens within seconds.
RULES = (
    '{CriticalLogged = {window = "8s"}, ErrorRatioHigh = {window = "12s", for = "4s"}, '
    'JobFailed = {window = "8s"}, NewExceptionType = {severity = "info"}}'
)


@dataclass
class AlertingStack:
    """A running stack whose alerts go to the two sinks."""

    stack: StackUnderTest
    http: HttpSink
    mail: MailSink

    def slack(self, alert: str, *, accepted: bool = True) -> list[Request]:
        """The messages about an alert, in the order in which they came."""
        found = self.http.of("/services/", accepted=accepted)
        return [r for r in found if f" {alert}" in r.body["attachments"][0]["title"]]

    def pagerduty(self, alert: str, *, accepted: bool = True) -> list[Request]:
        found = self.http.of("/v2/enqueue", accepted=accepted)
        return [r for r in found if f" {alert} " in r.body["payload"]["summary"]]

    def mails(self, alert: str) -> list[EmailMessage]:
        return [message for message in self.mail.messages if alert in str(message["Subject"])]

    def wait(self, condition: Callable[[], Any], expected: str, timeout: float = 60) -> Any:
        return poll(condition, lambda: f"{expected}\n{self.stack.logs()}", timeout=timeout)

    def state(self, name: str) -> str:
        return next(rule.state for rule in loaded_rules(self.stack.target) if rule.name == name)

    def send_errors(self) -> float:
        """How often vmalert could not reach Alertmanager; Loki does not count."""
        if kind_of(self.stack.settings).evaluator == "loki":
            return math.inf
        text = requests.get(self.stack.target.url("vmalert", "/metrics"), timeout=5).text
        found = re.findall(r"(?m)^vmalert_alerts_send_errors_total\S* (\S+)$", text)
        return sum(map(float, found))


@contextmanager
def alerting_stack(folder: Path, variables: Mapping[str, str]) -> Iterator[AlertingStack]:
    """One that runs; `variables` are further settings."""
    with http_sink() as http, mail_sink() as mail:
        secrets = {
            "slack_webhook_file": f"{http.url}/services/T000/B000/secret\n",
            "pagerduty_key_file": f"{KEY}\n",
            "deadman_url_file": f"{http.url}/ping/secret",
        }
        values = {
            ("timing", "alert_interval"): "1s",
            ("alerts", "delay"): "0s",
            ("alerts", "scan_interval"): "1s",
            ("alerts", "group_wait"): "1s",
            ("alerts", "group_interval"): "3s",
            ("alerts", "page_interval"): "3s",
            ("alerts", "digest"): "2s",
            ("alerts", "deadman_interval"): "1s",
            ("alerts", "rules"): RULES,
            ("alerts", "grafana_url"): "https://grafana.example.com",
            ("receivers", "slack_hosts"): '["127.0.0.1"]',
            ("receivers", "pagerduty_url"): f"{http.url}/v2/enqueue",
            ("receivers", "email_to"): '["oncall@example.com", "erp@example.com"]',
            ("receivers", "email_from"): "logstack@example.com",
            ("receivers", "smtp_server"): mail.address,
            ("receivers", "smtp_tls"): "false",
        }
        for name, text in secrets.items():
            write_private(folder / "secrets" / name, text)
            values["receivers", name] = str(folder / "secrets" / name)
        own = {variable_name(*key): text for key, text in values.items()}
        stack = StackUnderTest(folder, {**own, **variables})
        stack.up()
        yield AlertingStack(stack, http, mail)
        result = stack.run("down")
        assert result.returncode == 0, result.stderr
