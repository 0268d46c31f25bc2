"""Values that are of the right kind and with which nothing could work."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stack.components.victorialogs import common_arguments
from stack.settings import Settings, SettingsError, load, setting_keys
from stack.settings.targets import native
from stack.settings.units import parse_bytes

SIZE, DURATION = "a size ", "a duration "
# The setting, the value, and what is expected.
REFUSED = [
    ("limits.line", "10B", SIZE + "between 4KiB and 1536KiB"),
    ("limits.line", "10MiB", SIZE + "between 4KiB and 1536KiB"),
    ("limits.queue", "0B", "at least 384 MiB, 256 times limits.line = 1536KiB"),
    ("limits.queue", "1KiB", "at least 384 MiB, 256 times limits.line = 1536KiB"),
    ("limits.free_disk", "0B", SIZE + "of at least 32MiB"),
    ("limits.query", "0s", DURATION + "between 1s and 1d"),
    ("limits.ingestion_rate", "1MiB", SIZE + "between 8MiB and 64GiB"),
    ("limits.streams", "1", "a number of at least 100"),
    ("agent.poll_interval", "0s", DURATION + "between 10ms and 1m"),
    ("agent.poll_interval", "1d", DURATION + "between 10ms and 1m"),
    ("agent.fingerprint", "0B", SIZE + "between 1000B and 1MiB"),
    ("agent.flush_interval", "0s", DURATION + "between 10ms and 1m"),
    ("agent.line_flush", "0s", DURATION + "between 100ms and 5m"),
    ("agent.text_flush", "1d", DURATION + "between 100ms and 5m"),
    ("images.memory", "1MiB", SIZE + "of at least 64MiB"),
    ("images.loki", "grafana/loki:{verison}", "the name of an image, in which {version} is the"),
    ("archive.interval", "0s", DURATION + "between 1s and 1d"),
    ("archive.lateness", "0s", DURATION + "between 1h and 3650d"),
    ("archive.part", "0B", SIZE + "between 64KiB and 4GiB"),
    ("archive.part", "1TiB", SIZE + "between 64KiB and 4GiB"),
    ("timing.start_timeout", "0s", DURATION + "between 1s and 1h"),
    ("timing.alert_interval", "0s", DURATION + "between 1s and 1d"),
    ("alerts.group_interval", "0s", DURATION + "between 1s and 1d"),
    ("alerts.repeat_page", "0s", DURATION + "between 1m and 30d"),
    ("alerts.deadman_interval", "0s", DURATION + "between 1s and 1d"),
    ("alerts.scan_interval", "0s", DURATION + "between 1s and 1d"),
    ("alerts.rules", "{X = {window = '0s'}}", DURATION + "between 1s and 30d"),
    ("thresholds.error_ratio", "5", "a number below 1.0"),
    ("thresholds.volume_factor", "inf", "a number that is neither infinite nor nan"),
    ("thresholds.volume_factor", "nan", "a number that is neither infinite nor nan"),
    ("thresholds.silent", "0s", DURATION + "between 1m and 7d"),
    ("thresholds.archive_behind", "0s", DURATION + "between 1m and 30d"),
    ("paths.run", "~/run", "a path in one line that does not begin with `~`"),
    ("paths.data", ".run", "a folder neither in paths.run nor around it, got .run with paths.run"),
    ("paths.data", ".run/x/../y", "a folder neither in paths.run nor around it"),
    ("paths.run", ".data/run", "a folder neither in paths.run nor around it"),
    ("gateway.request_limit", "1MiB", SIZE + "of at least 16MiB"),
    ("app_hosts.rotate_size", "0B", SIZE + "of at least 64KiB"),
    ("app_hosts.journal_limit", "0B", SIZE + "of at least 16MiB"),
    ("receivers.email_from", "me", "an address such as oncall@example.com"),
    ("receivers.smtp_server", "smtp.example.com", "host:port, such as smtp.example.com:587, or"),
]


@pytest.mark.parametrize(("key", "value", "expected"), REFUSED)
def test_a_value_with_which_nothing_works_is_refused_by_name(
    key: str, value: str, expected: str
) -> None:
    """Before anything starts: `<key>: expected ..., got ...`."""
    message = refusal({variable(key): value})
    assert f"{key.partition('.')[0]}." in message
    assert f": expected {expected}" in message
    assert " got " in message
    assert " (from " in message


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("log/x.log", "an absolute path"),
        ("~/x.log", "an absolute path"),
        ("/var/log/billing/", "the path of a file or a pattern of files, not a folder"),
        ("/var/log/[a.log", "a pattern whose brackets are closed; write \\[ for one in a name"),
        ("/var/log/a].log", "a pattern whose brackets are closed; write \\[ for one in a name"),
        ("/var/log/{a,b.log", "a pattern whose brackets are closed; write \\[ for one in a name"),
        ("/var/log/[].log", "a pattern whose brackets are closed; write \\[ for one in a name"),
    ],
)
def test_a_pattern_that_matches_nothing_is_refused(path: str, expected: str) -> None:
    """The collector would not start, or read nothing."""
    message = refusal({variable("agent.files"): files(path)})
    assert message.startswith(f"agent.files.0.path: expected {expected}, got {path!r} (from")


@pytest.mark.parametrize(
    "path", ["/a.log", "/a/**/[!x-z]?.log", "/{a,b{c,d}}*.log", r"/a\[1\].log", "/a\n.log"]
)
def test_a_pattern_that_can_match_is_accepted(path: str) -> None:
    """Literal brackets with a backslash before them, as in all patterns of the agents."""
    text = json.dumps([{"service": "a", "path": path}]).replace('"service":', "service =")
    values = load({variable("agent.files"): text.replace('"path":', "path =")})
    assert values.agent.files[0].path == path


def test_a_path_for_two_services_is_refused() -> None:
    """The second service would have no record."""
    message = refusal({variable("agent.files"): files("/a.log", "/b.log", "/a.log")})
    assert message.startswith(
        "agent.files: expected each path once, got /a.log for s0 and for s2; the first would have "
    )


SECRETS = (
    "https://hooks.slack.com/services/T000/B000/XXXXXXXX",
    "xoxb-1234567890-abcdefghij",
    "0123456789abcdef0123456789abcdef",
    "hunter2",
)
FILES = [key for key in setting_keys() if key.startswith("receivers.") and key.endswith("_file")]


@pytest.mark.parametrize("key", FILES)
@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_in_place_of_its_file_is_refused_and_not_shown(key: str, secret: str) -> None:
    """Messages end up in logs of builds."""
    message = refusal({variable(key): secret})
    assert message.startswith(f"{key}: expected the path of a file that holds the secret, with a")
    assert secret not in message
    assert "hooks.slack" not in message


@pytest.mark.parametrize(
    "key", ["slack_channel", "smtp_server", "email_to", "slack_hosts", "telegram_chat_id"]
)
def test_a_secret_in_another_place_is_not_shown(key: str) -> None:
    """A line too high or too low in the file."""
    message = refusal({variable(f"receivers.{key}"): f"[{SECRETS[0]!r}]"})
    assert message.startswith(f"receivers.{key}")
    assert "services/T000" not in message
    assert "services/T000" not in refusal({variable(f"receivers.{key}"): SECRETS[0]})


def test_the_longest_line_is_one_that_the_engine_takes() -> None:
    """With what the agent adds to it."""
    values = load({variable("limits.line"): "1536KiB"})
    (taken,) = (
        argument.partition("=")[2]
        for argument in common_arguments(native(values), "victorialogs")
        if argument.startswith("-insert.maxLineSizeBytes=")
    )
    assert parse_bytes(values.limits.line) <= 0.75 * parse_bytes(taken)


def test_every_size_and_every_duration_has_a_range() -> None:
    """But for these, of which every value means something."""
    free = {
        "limits.queue",  # its range depends on limits.line
        "limits.hot_disk",
        "archive.copies",
        "timing.flush_interval",  # depends on timing.stop_timeout
    }
    open_ended = set()
    for key in setting_keys():
        section, _, name = key.partition(".")
        field = Settings.model_fields[section].annotation
        assert field is not None
        metadata: list[Any] = field.model_fields[name].metadata
        kinds = [getattr(item, "func", None) for item in metadata]
        named = [kind.__qualname__ for kind in kinds if kind]
        if named in (["_check_bytes"], ["_check_duration"]):
            open_ended.add(key)
    assert open_ended == free


def variable(key: str) -> str:
    return f"LOGSTACK_{key.replace('.', '__')}".upper()


def files(*paths: str) -> str:
    """The setting agent.files as a variable, one service for each path."""
    entries = (f"{{service = 's{n}', path = '{path}'}}" for n, path in enumerate(paths))
    return f"[{', '.join(entries)}]"


def refusal(environ: dict[str, str]) -> str:
    with pytest.raises(SettingsError) as caught:
        load(environ, Path(__file__).parents[3])
    return str(caught.value)
