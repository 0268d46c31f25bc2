"""The keys of the archive, and the hour of a moment. Pure.

v1/tenant=T/dt=YYYY-MM-DD/hr=HH/part-N-<first 12 digits of its SHA-256>.ndjson.zst
v1/tenant=T/manifests/<sequence, 8 digits>.json
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def tenant_prefix(tenant: str) -> str:
    return f"v1/tenant={tenant}/"


def hour_prefix(tenant: str, hour: datetime) -> str:
    return f"{tenant_prefix(tenant)}dt={hour:%Y-%m-%d}/hr={hour:%H}/"


def part_key(tenant: str, hour: datetime, number: int, sha256: str) -> str:
    return f"{hour_prefix(tenant, hour)}part-{number}-{sha256[:12]}.ndjson.zst"


def hour_of_part(key: str) -> datetime | None:
    """The hour of a part by its key; None for another key."""
    found = re.search(r"/dt=(\d{4}-\d\d-\d\d)/hr=(\d\d)/part-", key)
    return datetime.strptime(f"{found[1]} {found[2]}Z", "%Y-%m-%d %H%z") if found else None


def further_part_key(key: str) -> str:
    """The key with the next number, for a part whose key exists."""
    found = re.fullmatch(r"(.*/part-)(\d+)(-[0-9a-f]{12}\.ndjson\.zst)", key)
    if found is None:
        raise ValueError(f"expected the key of a part, got {key!r}")
    return f"{found[1]}{int(found[2]) + 1}{found[3]}"


def manifests_prefix(tenant: str) -> str:
    return f"{tenant_prefix(tenant)}manifests/"


def manifest_key(tenant: str, sequence: int) -> str:
    return f"{manifests_prefix(tenant)}{sequence:08d}.json"


def sequence_of(tenant: str, key: str) -> int | None:
    """The number of a manifest by its key; None for a key that no manifest has."""
    found = re.fullmatch(re.escape(manifests_prefix(tenant)) + r"(\d{8})\.json", key)
    return int(found[1]) if found else None


def hour_of(moment: datetime) -> datetime:
    """The start of the hour of a moment, in UTC."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def day_of(moment: datetime) -> datetime:
    """The start of the UTC day of a moment."""
    return hour_of(moment).replace(hour=0)


def hour_name(moment: datetime) -> str:
    """`2026-01-31 10:00`, as progress is shown."""
    return f"{moment:%Y-%m-%d %H}:00"


def day_name(moment: datetime) -> str:
    """`2026-01-31`, as the state file names days."""
    return f"{moment:%Y-%m-%d}"


def hours(since: datetime, until: datetime) -> Iterator[datetime]:
    """Starts of the hours that overlap [since, until)."""
    hour = hour_of(since)
    while hour < until:
        yield hour
        hour += HOUR


def rfc3339(moment: datetime) -> str:
    """`2026-01-31T10:00:00Z`, with microseconds where there are any."""
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
