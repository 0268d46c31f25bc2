"""The local object store: frees what was deleted in it."""

from __future__ import annotations

import subprocess

from stack import artifacts
from stack.common import last_lines
from stack.components.seaweedfs import VACUUM, vacuum_arguments
from stack.settings.targets import Target

VACUUM_SECONDS = 300  # the shell never ends if it has no valid certificate


def free_erased(target: Target) -> str:
    """Rewrite the store's volumes without deleted bytes; what stays and until when, or nothing."""
    if endpoint := target.settings.archive.endpoint:
        return (
            f"The bytes of deleted objects stay on the disks of {endpoint} until it reuses them. "
            "For a SeaweedFS on a log server see docs/archive.md, Erase."
        )
    program = artifacts.find_in_venv("weed")
    try:
        done = subprocess.run(
            [program, *vacuum_arguments(target)],
            input=VACUUM,
            capture_output=True,
            text=True,
            timeout=VACUUM_SECONDS,
            check=False,
        )
        error = done.stderr if done.returncode else ""
    except (OSError, subprocess.TimeoutExpired) as caught:
        error = str(caught)
    if not error:
        return ""
    return (
        "The bytes of deleted objects stay on the local store's disk until it frees them, which "
        "the next erase and the next expiry of parts ask for. Now it could not:\n"
        f"{last_lines(error, 2)}"
    )
