"""The channels of notifications: their secrets and Alertmanager receivers.

CHANNELS is the list of them. A secret is a file of mode 0600. It is read and checked when the
configuration is rendered, so that a wrong one is noticed before the first alert. A copy without
surrounding white space is written beside Alertmanager's configuration.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from stack.alerting import AlertError
from stack.settings import ROOT, variable_name
from stack.settings.alerts import Receivers, Severity

LOOPBACK = ("127.0.0.1", "::1", "localhost")


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

    `severities`: which alerts it gets. `values`, `urls`, `required`: Alertmanager's keys and the
    settings that they come from; a required one comes with what is expected. `text`: the rest of
    the entry. Entries of one name are variants, of which one may be set up.
    """

    name: str
    kind: str
    severities: tuple[Severity, ...]
    secret: Secret | None = None
    text: Mapping[str, Any] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    urls: Mapping[str, str] = field(default_factory=dict)
    required: Mapping[str, tuple[str, str]] = field(default_factory=dict)


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


def channels_of(severity: Severity) -> tuple[str, ...]:
    """The names of the channels that alerts of a severity are sent to."""
    chosen = (channel.name for channel in CHANNELS if severity in channel.severities)
    return tuple(dict.fromkeys(chosen))


def settings_of(name: str) -> str:
    """The settings of which one sets a channel up, for messages."""
    secrets = [channel.secret for channel in CHANNELS if channel.name == name]
    found = [secret.setting if secret else "email_to" for secret in secrets]
    return " or ".join(f"receivers.{setting}" for setting in found)


@dataclass(frozen=True)
class Channels:
    """The configured channels: the text of each secret, and the receiver entries of each channel.

    `secrets` maps file names to texts, `receivers` channels to Alertmanager's `*_configs`.
    """

    secrets: Mapping[str, str] = field(default_factory=dict)
    receivers: Mapping[str, Mapping[str, list[dict[str, Any]]]] = field(default_factory=dict)


def read_channels(values: Receivers, secrets_dir: Path) -> Channels:
    """Check every channel of the settings. `secrets_dir`: where Alertmanager reads the secrets.

    Raises AlertError with all problems.
    """
    secrets: dict[str, str] = {}
    receivers: dict[str, Mapping[str, list[dict[str, Any]]]] = {}
    problems: list[str] = []
    for channel in (*CHANNELS, DEADMAN):
        try:
            is_set = channel.secret and getattr(values, channel.secret.setting)
            if is_set and channel.name in receivers:
                raise AlertError(
                    f"{settings_of(channel.name).replace(' or ', ' and ')}: expected one of them, "
                    "got both. Set one to ''"
                )
            entry = _entry(channel, values, secrets, secrets_dir)
        except AlertError as error:
            problems.append(str(error))
        else:
            if entry:
                receivers[channel.name] = {channel.kind: [{"send_resolved": True, **entry}]}
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


def _entry(
    channel: Channel, values: Receivers, secrets: dict[str, str], folder: Path
) -> dict[str, Any]:
    """The entry of a channel, {} if it is not set up; adds its secrets. Raises AlertError."""
    secret = channel.secret
    if secret is None:
        return _email(values, secrets, folder)
    path = getattr(values, secret.setting)
    if not path:
        return {}
    text = read_secret(secret.setting, path)
    if not secret.form:
        check_url(secret.setting, text, getattr(values, secret.hosts) if secret.hosts else ())
    elif not re.fullmatch(secret.form, text):
        raise AlertError(
            f"receivers.{secret.setting}: expected {secret.expected}, got {len(text)} characters "
            "of another form"
        )
    for setting, expected in channel.required.values():
        if not getattr(values, setting):
            raise AlertError(f"receivers.{setting}: expected {expected}, got none")
    for setting in channel.urls.values():
        check_url(setting, getattr(values, setting))
    name = secret.setting.removesuffix("_file")
    secrets[name] = text
    required = {key: setting for key, (setting, _) in channel.required.items()}
    from_settings = {
        key: getattr(values, setting)
        for key, setting in {**channel.values, **channel.urls, **required}.items()
    }
    present = {key: value for key, value in from_settings.items() if value}
    return {**channel.text, **present, secret.key: str(folder / name)}


def _email(values: Receivers, secrets: dict[str, str], folder: Path) -> dict[str, Any]:
    if not values.email_to:
        return {}
    for key in ("email_from", "smtp_server"):
        if not getattr(values, key):
            raise AlertError(
                f"receivers.{key}: expected a value, because email_to is set, got none"
            )
    config: dict[str, Any] = {
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
    return config
