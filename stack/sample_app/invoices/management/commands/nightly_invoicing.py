"""`nightly_invoicing`: the sample app's background job, run by hand, by timers and by tests."""

from __future__ import annotations

import logging
from argparse import ArgumentParser

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from django.utils import timezone

import logstack_django
from stack.sample_app.invoices.models import Invoice
from stack.sample_app.organizations.models import Organization

logger = logging.getLogger(__name__)


class InvoicingError(Exception):
    """The run cannot continue."""


class Command(BaseCommand):
    """Number and issue every draft, one organization after the other."""

    help = "Issue every draft invoice. Logs job_started, one event per organization, job_finished."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare --fail."""
        parser.add_argument(
            "--fail", action="store_true", help="fail at the second organization, as a drill"
        )

    def handle(self, *, fail: bool = False, **options: object) -> None:
        """Run the job; a failure has been logged as job_failed when it arrives here."""
        try:
            with logstack_django.background_job("nightly_invoicing"):
                issued = issue_all_drafts(fail=fail)
        except InvoicingError as error:
            raise CommandError(
                f"cannot issue the invoices: {error}. See the event job_failed in the log"
            ) from error
        self.stdout.write(f"issued {issued} invoices")


def issue_all_drafts(*, fail: bool) -> int:
    """Issue the drafts of every organization that has some, and return how many."""
    issued = 0
    for place, organization in enumerate(Organization.objects.order_by("pk")):
        with logstack_django.context(organization_id=organization.pk):
            if fail and place == 1:
                print_invoices(organization)
            count = issue_drafts(organization)
            issued += count
            if not count:
                continue
            logstack_django.log_event(
                logger,
                "invoices_issued",
                "%d invoices of %s issued",
                count,
                organization.name,
                object=organization,
                invoices=count,
            )
    return issued


def issue_drafts(organization: Organization) -> int:
    """Give every draft of one organization its number, all or none."""
    day = timezone.now().strftime("%Y%m%d")
    with transaction.atomic():
        drafts = list(
            Invoice.objects.filter(organization=organization, status=Invoice.Status.DRAFT)
        )
        for invoice in drafts:
            invoice.number = f"{day}-{invoice.pk}"
            invoice.status = Invoice.Status.ISSUED
        Invoice.objects.bulk_update(drafts, ["number", "status"], batch_size=200)
    return len(drafts)


def print_invoices(organization: Organization) -> None:
    """Stand in for a print service that does not answer: a drill that looks like the real thing."""
    try:
        raise TimeoutError("print service did not answer within 30 s")
    except TimeoutError as error:
        raise InvoicingError(f"cannot print the invoices of {organization.name}") from error
