"""Slack, PagerDuty, e-mail and the dead man's switch: their secrets and Alertmanager receivers.

A secret is a file of mode 0600. It is read and checked when the configuration is rendered, so that
a wrong one is noticed before the first alert. A copy without surrounding white space is written
beside Alertmanager's configuration.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from stack.alerting import AlertError
from stack.settings import ROOT, variable_name
from stack.settings.alerts import Receivers

Channel = Literal["slack", "pagerduty", "email", "deadman"]
CHANNELS: tuple[Channel, ...] = ("slack", "pagerduty", "email")
LOOPBACK = ("127.0.0.1", "::1", "localhost")

_TOKEN = re.compile(r"xox[a-z]-[A-Za-z0-9-]{10,}")
_KEY = re.compile(r"[A-Za-z0-9]{32}")


@dataclass(frozen=True)
class Channels:
    """The configured channels: the text of each secret, and the receiver entries of each channel.

    `secrets` maps file names to texts, `receivers` channels to Alertmanager's `*_configs`.
    """

    secrets: Mapping[str, str] = field(default_factory=dict)
    receivers: Mapping[Channel, Mapping[str, list[dict[str, Any]]]] = field(default_factory=dict)


def read_channels(values: Receivers, secrets_dir: Path) -> Channels:
    """Check every channel of the settings. `secrets_dir`: where Alertmanager reads the secrets.

    Raises AlertError with all problems.
    """
    secrets: dict[str, str] = {}
    receivers: dict[Channel, Mapping[str, list[dict[str, Any]]]] = {}
    problems: list[str] = []
    makers: dict[Channel, Callable[[Receivers, dict[str, str], Path], Any]] = {
        "slack": _slack,
        "pagerduty": _pagerduty,
        "email": _email,
        "deadman": _deadman,
    }
    for channel, make in makers.items():
        try:
            if configs := make(values, secrets, secrets_dir):
                receivers[channel] = configs
        except AlertError as error:
            problems.append(str(error))
    if problems:
        raise AlertError("\n".join(problems))
    return Channels(secrets, receivers)


def read_secret(key: str, text: str) -> str:
    """The secret in the file that receivers.<key> names. Raises AlertError, without the secret."""
    where = f"receivers.{key}"
    path = (ROOT / Path(text).expanduser()).absolute()
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise AlertError(
                f"{where}: {path}: expected mode 0600, got {mode:04o}. Run: chmod 600 '{path}'"
            )
        secret = path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        # It may be the secret itself.
        got = str(path) if path.parent.is_dir() else "a path that is not shown here"
        raise AlertError(
            f"{where}: expected a file that holds the secret, got {got}, which does not exist. "
            f"Create it with mode 0600, or set {variable_name('receivers', key)} to ''"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise AlertError(f"{where}: cannot read {path}: {reason}") from None
    if not secret:
        raise AlertError(f"{where}: {path}: expected a secret, got an empty file")
    if re.search(r"\s", secret):
        raise AlertError(
            f"{where}: {path}: expected only the secret, got white space or a newline within it"
        )
    return secret


def check_url(key: str, text: str, hosts: tuple[str, ...] = ()) -> None:
    """Check for https to one of `hosts` (empty: any), or http to loopback. Raises AlertError.

    The path after the host is secret and never shown.
    """
    try:
        parts = urlsplit(text)
        host, scheme, path = parts.hostname or "", parts.scheme, parts.path
    except ValueError:
        host, scheme, path = "", "", ""
    expected = f"https://{' or '.join(hosts) if hosts else '<host>'}/..."
    secure = scheme == "https" or (scheme == "http" and host in LOOPBACK)
    if not secure or not host or (hosts and host not in hosts) or (hosts and len(path) < 2):
        got = f"{scheme or '(no scheme)'}://{host or '(no host)'}"
        raise AlertError(f"receivers.{key}: expected an address {expected}, got {got}/...")


def _slack(values: Receivers, secrets: dict[str, str], folder: Path) -> Any:
    message: dict[str, Any] = {
        "send_resolved": True,
        "title": '{{ template "logstack.slack.title" . }}',
        "title_link": '{{ template "logstack.url" . }}',
        "text": '{{ template "logstack.slack.text" . }}',
        "fallback": '{{ template "logstack.slack.title" . }}',
        "message_text": '{{ template "logstack.slack.message" . }}',  # what notifications show
        "color": '{{ template "logstack.slack.color" . }}',
        "footer": "logstack",
    }
    if values.slack_channel:
        message["channel"] = values.slack_channel
    if values.slack_webhook_file and values.slack_token_file:
        raise AlertError(
            "receivers.slack_webhook_file and receivers.slack_token_file: expected one of them, "
            "got both. Set one to ''"
        )
    if values.slack_webhook_file:
        url = read_secret("slack_webhook_file", values.slack_webhook_file)
        check_url("slack_webhook_file", url, values.slack_hosts)
        secrets["slack_webhook"] = url
        return {"slack_configs": [{**message, "api_url_file": str(folder / "slack_webhook")}]}
    if not values.slack_token_file:
        return None
    token = read_secret("slack_token_file", values.slack_token_file)
    if not _TOKEN.fullmatch(token):
        raise AlertError(
            "receivers.slack_token_file: expected a bot token, xoxb-..., got another form"
        )
    if not values.slack_channel:
        raise AlertError(
            "receivers.slack_channel: expected the id of a channel such as C0123456789, which a "
            "bot token requires, got none"
        )
    check_url("slack_api_url", values.slack_api_url)
    secrets["slack_token"] = token
    return {
        "slack_configs": [
            {
                **message,
                "app_token_file": str(folder / "slack_token"),
                "app_url": values.slack_api_url,
            }
        ]
    }


def _pagerduty(values: Receivers, secrets: dict[str, str], folder: Path) -> Any:
    if not values.pagerduty_key_file:
        return None
    key = read_secret("pagerduty_key_file", values.pagerduty_key_file)
    if not _KEY.fullmatch(key):
        raise AlertError(
            "receivers.pagerduty_key_file: expected an integration key of 32 letters and digits, "
            f"got {len(key)} characters of another form"
        )
    check_url("pagerduty_url", values.pagerduty_url)
    secrets["pagerduty_key"] = key
    details = {
        name: f'{{{{ template "logstack.pagerduty.{name}" . }}}}'
        for name in ("what", "since", "samples", "lines", "runbook")
    }
    return {
        "pagerduty_configs": [
            {
                "send_resolved": True,
                "routing_key_file": str(folder / "pagerduty_key"),
                "url": values.pagerduty_url,
                "description": '{{ template "logstack.title" . }}',
                "severity": '{{ template "logstack.pagerduty.severity" . }}',
                "class": '{{ .GroupLabels.alertname | printf "%.200s" }}',
                "component": '{{ .GroupLabels.service_name | printf "%.200s" }}',
                "group": '{{ .GroupLabels.environment | printf "%.200s" }}',
                "source": '{{ template "logstack.pagerduty.source" . }}',
                "client": "logstack",
                "client_url": '{{ template "logstack.url" . }}',
                "details": details,
            }
        ]
    }


def _email(values: Receivers, secrets: dict[str, str], folder: Path) -> Any:
    if not values.email_to:
        return None
    for key in ("email_from", "smtp_server"):
        if not getattr(values, key):
            raise AlertError(
                f"receivers.{key}: expected a value, because email_to is set, got none"
            )
    config: dict[str, Any] = {
        "send_resolved": True,
        "to": ", ".join(values.email_to),
        "from": values.email_from,
        "smarthost": values.smtp_server,
        "require_tls": values.smtp_tls,
        "headers": {"Subject": '{{ template "logstack.title" . }}'},
        "html": '{{ template "logstack.html" . }}',
        "text": '{{ template "logstack.text" . }}',
    }
    if bool(values.smtp_user) != bool(values.smtp_password_file):
        raise AlertError(
            "receivers.smtp_user and receivers.smtp_password_file: expected both or none, got one"
        )
    if values.smtp_user:
        secrets["smtp_password"] = read_secret("smtp_password_file", values.smtp_password_file)
        config["auth_username"] = values.smtp_user
        config["auth_password_file"] = str(folder / "smtp_password")
    return {"email_configs": [config]}


def _deadman(values: Receivers, secrets: dict[str, str], folder: Path) -> Any:
    if not values.deadman_url_file:
        return None
    url = read_secret("deadman_url_file", values.deadman_url_file)
    check_url("deadman_url_file", url)
    secrets["deadman_url"] = url
    return {"webhook_configs": [{"url_file": str(folder / "deadman_url"), "send_resolved": False}]}
