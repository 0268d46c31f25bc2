"""`emit_marker`: one record with every field of the contract, for `logstack smoke`."""

from __future__ import annotations

import logging
from argparse import ArgumentParser

from django.core.management.base import BaseCommand

import logstack_django
from stack.sample_app.organizations.models import Organization

logger = logging.getLogger(__name__)

EVENT = "smoke_marker"


class MarkerError(Exception):
    """Raised and logged on purpose, to show that exceptions arrive with type, text, traceback."""


class Command(BaseCommand):
    """Write exactly one ERROR record through the app's own logging; the database is not needed."""

    help = "Write one ERROR record with every field of the log-record contract and the marker."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare --marker."""
        parser.add_argument("--marker", required=True, help="text that identifies this record")

    def handle(self, *, marker: str, **options: object) -> None:
        """Write the record; what a request would bind is bound here by hand."""
        with logstack_django.context(
            request_id=f"smoke-{marker}",
            trace_id="4bf92f3577b34da6a3ce929d0e0e4736",
            user_id=7,
            username="smoke",
            organization_id=3,
            session_id="5f3c0e7a9b1d2468",
            client_ip="203.0.113.7",
        ):
            try:
                raise_chained(marker)
            except MarkerError:
                logstack_django.log_event(
                    logger,
                    EVENT,
                    "Smoke marker %s",
                    marker,
                    level=logging.ERROR,
                    exc_info=True,
                    object=Organization(pk=3, name="Smoke & Söhne"),
                    duration_ms=12.5,
                    method="GET",
                    route="api/organizations/<int:pk>/",
                    path="/api/organizations/3/",
                    status=500,
                    response_bytes=27,
                    marker=marker,
                )


def raise_chained(marker: str) -> None:
    """Raise MarkerError with a cause, as real code does."""
    try:
        {"expected": marker}["found"]
    except KeyError as error:
        raise MarkerError(f"marker {marker} raised on purpose") from error
