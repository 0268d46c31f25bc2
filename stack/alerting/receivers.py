"""The channels that are set up: their secrets and Alertmanager's receivers.

A secret is a file of mode 0600. It is read and checked when the configuration is rendered, so that
a wrong one is noticed before the first alert. A copy without surrounding white space is written
beside Alertmanager's configuration.
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
from stack.alerting.channels import CHANNELS, DEADMAN, Channel, settings_of
from stack.settings import ROOT, variable_name
from stack.settings.alerts import Receivers

LOOPBACK = ("127.0.0.1", "::1", "localhost")


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
