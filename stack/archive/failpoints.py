"""Places at which a test lets the process die, as by `kill -9`.

The environment variable LOGSTACK_ARCHIVE_FAILPOINT names one of NAMES; nothing else reads it. A
process that reaches that place kills itself there. It has no other use.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "LOGSTACK_ARCHIVE_FAILPOINT"
EXPORT = (
    *("export-started", "part-spooled", "part-uploaded", "parts-uploaded"),
    *("manifest-stored", "manifest-uploaded"),  # before it is remembered, and after
)
RESTORE = ("restore-started", "batch-inserted", "hour-restored")
ERASE = ("erase-part-uploaded", "erase-manifest-uploaded", "erase-part-deleted")
EXPIRE = ("day-verified", "day-due", "day-detached")
SHORTEN = ("records-due",)
NAMES = frozenset({*EXPORT, *RESTORE, *ERASE, *EXPIRE, *SHORTEN})


def failpoint(name: str) -> None:
    """Die here if the variable says so. Raises ValueError for a name that is not listed."""
    if name not in NAMES:
        raise ValueError(f"{name} is not listed in failpoints.NAMES")
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
