"""Which records are deleted in the hot engine before their day: retention.shorter.

They are deleted only from days that the archive has verified (expire.py). The state file says which
were, so that their absence does not count as a loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from stack.archive.context import Archive
from stack.archive.format.layout import DAY, day_name
from stack.settings.tables import ShorterRetention

ASKED, GONE = "asked", "gone"


def due(archive: Archive, day: datetime) -> list[ShorterRetention]:
    """The kinds of records of a day that exceeded their retention and may still be there."""
    known = _states(archive).get(day_name(day), {})
    return [
        kind
        for kind in archive.settings.retention.shorter
        if day + DAY + timedelta(days=kind.days) <= archive.now()
        and known.get(_key(kind.service, kind.level)) != GONE
    ]


def save_state(
    archive: Archive, day: datetime, kinds: Sequence[ShorterRetention], state: str
) -> None:
    """Save that kinds of records of a day are being deleted (ASKED) or deleted (GONE)."""
    known = _states(archive)
    values = {_key(kind.service, kind.level): state for kind in kinds}
    name = day_name(day)
    archive.save_state(shortened={**known, name: {**known.get(name, {}), **values}})


def may_lack(archive: Archive, hour: datetime, stream: str) -> bool:
    """Whether records of a stream, which is labels as JSON, may have been deleted early."""
    labels = json.loads(stream)
    for key in _states(archive).get(day_name(hour), {}):
        service, _, level = key.partition("/")
        of_service = not service or labels.get("service_name") == service
        if of_service and (not level or labels.get("level", level) == level):
            return True
    return False


def shortened_days(archive: Archive) -> list[str]:
    """The days of which records were deleted early, oldest first."""
    return sorted(_states(archive))


def _key(service: str, level: str) -> str:
    return f"{service}/{level}"


def _states(archive: Archive) -> dict[str, dict[str, str]]:
    return dict(archive.state().get("shortened", {}))
