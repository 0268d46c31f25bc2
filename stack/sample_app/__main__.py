"""`python -m stack.sample_app <command>`: the sample app's manage.py.

Called by the runtimes, by `logstack smoke` and by hand: migrate, seed, nightly_invoicing,
emit_marker.
"""

from __future__ import annotations

import os
import sys

from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line


def main(argv: list[str]) -> int:
    """Run one management command; a configuration error is one line and status 2, no traceback."""
    # Not that of an application which a shell was set up for.
    os.environ["DJANGO_SETTINGS_MODULE"] = "stack.sample_app.settings"
    try:
        execute_from_command_line(["python -m stack.sample_app", *argv])
    except ImproperlyConfigured as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
