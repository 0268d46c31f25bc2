"""Which records leave the hot engine before their day does: retention.shorter.

They are deleted only from days that the archive has verified (expire.py). This machine remembers
what it had deleted, so that nobody takes their absence for a loss.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta

from stack.archive.context import Archive
from stack.archive.format.layout import DAY
from stack.settings.tables import ShorterRetention

ASKED, GONE = "asked", "gone"


def due(archive: Archive, day: datetime) -> list[ShorterRetention]:
    """The kinds of records that are over their time on a day and have not been seen to be gone."""
    known = _remembered(archive).get(f"{day:%Y-%m-%d}", {})
    return [
        kind
        for kind in archive.settings.retention.shorter
        if day + DAY + timedelta(days=kind.days) <= archive.now()
        and known.get(_key(kind.service, kind.level)) != GONE
    ]


def remember(archive: Archive, day: datetime, kinds: Sequence[ShorterRetention], what: str) -> None:
    """Note that kinds of records of a day are being deleted (ASKED) or are no longer there."""
    known = _remembered(archive)
    values = {_key(kind.service, kind.level): what for kind in kinds}
    name = f"{day:%Y-%m-%d}"
    archive.remember(shortened={**known, name: {**known.get(name, {}), **values}})


def may_lack(archive: Archive, hour: datetime, stream: str) -> bool:
    """Whether records of a stream, which is labels as JSON, may have left the engine early."""
    labels = json.loads(stream)
    for key in _remembered(archive).get(f"{hour:%Y-%m-%d}", {}):
        service, _, level = key.partition("/")
        of_service = not service or labels.get("service_name") == service
        if of_service and (not level or labels.get("level", level) == level):
            return True
    return False


def shortened_days(archive: Archive) -> list[str]:
    """The days that records have left early, oldest first."""
    return sorted(_remembered(archive))


def _key(service: str, level: str) -> str:
    return f"{service}/{level}"


def _remembered(archive: Archive) -> dict[str, dict[str, str]]:
    return dict(archive.state().get("shortened", {}))
