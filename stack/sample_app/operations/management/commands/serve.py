"""`serve --bind ADDRESS`: run gunicorn with this app; every runtime starts it with this command."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser

from django.core.management import call_command
from django.core.management.base import BaseCommand


class Command(BaseCommand):
    """Replace this process by gunicorn once the settings are validated.

    Validated here, because gunicorn would restart workers that fail on a bad setting repeatedly.
    """

    help = "Serve the sample app with gunicorn."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what differs between machines; the rest is in gunicorn_conf.py."""
        parser.add_argument("--bind", required=True, help="address, for example 127.0.0.1:PORT")
        parser.add_argument("--workers", type=int, default=1, help="processes")
        parser.add_argument("--threads", type=int, default=1, help="threads of each process")
        parser.add_argument(
            "--prepare",
            action="store_true",
            help="first bring the database and demo data up to date",
        )

    def handle(
        self, *, bind: str, workers: int, threads: int, prepare: bool, **options: object
    ) -> None:
        """Start gunicorn in place of this process, so that signals reach it."""
        if prepare:
            call_command("migrate", interactive=False, verbosity=0)
            call_command("seed", verbosity=0)
        argv = [
            *(sys.executable, "-P", "-m", "gunicorn"),
            *("--config", "python:stack.sample_app.gunicorn_conf"),
            *("--bind", bind, "--workers", str(workers), "--threads", str(threads)),
        ]
        sys.stdout.flush()
        os.execv(argv[0], argv)  # noqa: S606 -- the list is built above
