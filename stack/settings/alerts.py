"""The tables [alerts], [thresholds] and [receivers] of the settings."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stack.settings.base import SecretFile, Section, ServiceName, TimeZone, match
from stack.settings.units import Duration, between

Severity = Literal["page", "ticket", "info"]
SEVERITIES: tuple[Severity, ...] = ("page", "ticket", "info")
Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

_TIMES = re.compile(r"([01][0-9]|2[0-4]):([0-5][0-9])-([01][0-9]|2[0-4]):([0-5][0-9])")


def _check_times(text: str) -> str:
    start, _, end = text.partition("-")
    if not _TIMES.fullmatch(text) or start >= end or end > "24:00":
        raise ValueError(
            "times such as 08:00-18:00 of one day; write 22:00-24:00 and 00:00-06:00 for a night"
        )
    return text


Times = Annotated[str, AfterValidator(_check_times)]
BaseUrl = Annotated[
    str,
    match(
        r"(https?://[^\s/?#@\"'<>]+(/[^\s\"'<>?#]*)?)?",
        "an address such as https://grafana.example.com, or ''",
    ),
]
MailAddress = Annotated[
    str, match(r"[^\s@,;<>\"']+@[^\s@,;<>\"']+", "an address such as oncall@example.com")
]
Server = Annotated[
    str,
    match(r"([A-Za-z0-9_.-]+:[0-9]{1,5})?", "host:port, such as smtp.example.com:587, or ''"),
]
HostName = Annotated[str, match(r"[A-Za-z0-9.-]+", "a host's name such as hooks.slack.com")]
MuteName = Annotated[
    str,
    match(
        r"[a-z0-9][a-z0-9-]{0,62}",
        "a name of lower-case letters, digits and `-`, at most 63 characters",
    ),
]
Channel = Annotated[
    str,
    match(r"[^\s\"'<>/:]{0,100}", "a channel such as #alerts, at most 100 characters, or ''"),
]


class MuteTime(Section):
    """When alerts of some severities are recorded and not sent."""

    name: MuteName
    severities: tuple[Severity, ...] = Field(strict=False, min_length=1)
    weekdays: tuple[Weekday, ...] = Field(default=(), strict=False)
    times: tuple[Times, ...] = Field(default=(), strict=False)
    location: TimeZone = "UTC"


class RuleOverride(Section):
    """What an environment changes about one rule."""

    enabled: bool | None = None
    hold: Annotated[Duration, between("0s", "7d")] | None = Field(default=None, alias="for")
    window: Annotated[Duration, between("1s", "30d")] | None = None
    severity: Severity | None = None


class AlertSettings(Section):
    """When alerts are evaluated, grouped and repeated."""

    delay: Annotated[Duration, between("0s", "10m")]
    group_wait: Annotated[Duration, between("0s", "1h")]
    group_interval: Annotated[Duration, between("1s", "1d")]
    page_interval: Annotated[Duration, between("1s", "1d")]
    repeat_page: Annotated[Duration, between("1m", "30d")]
    repeat_ticket: Annotated[Duration, between("1m", "30d")]
    digest: Annotated[Duration, between("1s", "30d")]
    deadman_interval: Annotated[Duration, between("1s", "1d")]
    scan_interval: Annotated[Duration, between("1s", "1d")]
    runbooks_url: BaseUrl
    grafana_url: BaseUrl
    alertmanager_url: BaseUrl
    retired: tuple[ServiceName, ...] = Field(strict=False)
    silent_after: dict[ServiceName, Annotated[Duration, between("1m", "32d")]]
    mute_times: tuple[MuteTime, ...] = Field(default=(), strict=False)
    rules: dict[str, RuleOverride] = Field(default={})


class Thresholds(Section):
    """The numbers that alert rules compare with."""

    error_ratio: float = Field(gt=0, lt=1)
    error_ratio_records: int = Field(ge=1)
    failing_share: float = Field(gt=0, lt=1)
    failing_records: int = Field(ge=1)
    failing_requests: int = Field(ge=1)
    exception_factor: float = Field(gt=1, strict=False)
    exception_records: int = Field(ge=1)
    deploy_factor: float = Field(gt=1, strict=False)
    deploy_errors: int = Field(ge=1)
    organization_errors: int = Field(ge=1)
    error_budget: float = Field(gt=0, lt=1)
    burn_requests: int = Field(ge=1)
    server_errors: int = Field(ge=1)
    slow_ms: int = Field(ge=1)
    slow_requests: int = Field(ge=1)
    login_failures_address: int = Field(ge=1)
    login_failures_user: int = Field(ge=1)
    gateway_refusals: int = Field(ge=1)
    exports: int = Field(ge=1)
    permission_denials: int = Field(ge=1)
    silent: Annotated[Duration, between("1m", "7d")]
    late: Annotated[Duration, between("1s", "7d")]
    volume_factor: float = Field(gt=1, strict=False)
    volume_records: int = Field(ge=1)
    unparsed_share: float = Field(gt=0, lt=1)
    unparsed_records: int = Field(ge=1)
    archive_behind: Annotated[Duration, between("1m", "30d")]


class Receivers(Section):
    """Where notifications are sent; secrets are paths of files."""

    slack_webhook_file: SecretFile
    slack_token_file: SecretFile
    slack_channel: Channel
    slack_hosts: tuple[HostName, ...] = Field(strict=False, min_length=1)
    slack_api_url: BaseUrl
    pagerduty_key_file: SecretFile
    pagerduty_url: BaseUrl
    opsgenie_key_file: SecretFile
    opsgenie_url: BaseUrl
    teams_webhook_file: SecretFile
    discord_webhook_file: SecretFile
    telegram_token_file: SecretFile
    telegram_chat_id: int
    telegram_url: BaseUrl
    webhook_url_file: SecretFile
    email_to: tuple[MailAddress, ...] = Field(strict=False)
    email_from: MailAddress | Literal[""]
    smtp_server: Server
    smtp_user: str
    smtp_password_file: SecretFile
    smtp_tls: bool
    deadman_url_file: SecretFile
