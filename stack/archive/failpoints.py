"""Places at which a test kills the process, as by `kill -9`.

The environment variable LOGSTACK_ARCHIVE_FAILPOINT names one of NAMES; a process that reaches that
place kills itself. Only tests use it.
"""

from __future__ import annotations

import os
import signal

VARIABLE = "LOGSTACK_ARCHIVE_FAILPOINT"
EXPORT = (
    *("export-started", "part-spooled", "part-uploaded", "parts-uploaded"),
    *("manifest-stored", "manifest-uploaded"),  # before it is cached, and after
)
RESTORE = ("restore-started", "batch-inserted", "hour-restored")
ERASE = ("erase-part-uploaded", "erase-manifest-uploaded", "erase-part-deleted")
EXPIRE = ("day-verified", "day-due", "day-detached")
SHORTEN = ("records-due",)
IMPORT = ("import-planned", "import-announced", "import-sent", "import-delivered")
NAMES = frozenset({*EXPORT, *RESTORE, *ERASE, *EXPIRE, *SHORTEN, *IMPORT})


def failpoint(name: str) -> None:
    """Kill the process if the variable has this name. Raises ValueError for an unknown name."""
    if name not in NAMES:
        raise ValueError(f"{name} is not listed in failpoints.NAMES")
    if os.environ.get(VARIABLE) == name:
        os.kill(os.getpid(), signal.SIGKILL)
