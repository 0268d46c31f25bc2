"""Invoices: list, create, show, export as CSV, a slow report, a conversion with a bug."""

from __future__ import annotations

import csv
import logging
import time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from django.db.models import Count, Sum
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import get_object_or_404

import logstack_django
from stack.sample_app.api import (
    BadInputError,
    JsonResponse,
    endpoint,
    read_json,
    read_limit,
    read_number,
)
from stack.sample_app.invoices import exchange
from stack.sample_app.invoices.models import Invoice
from stack.sample_app.organizations.access import get_organization
from stack.sample_app.organizations.models import Membership, Organization

logger = logging.getLogger(__name__)

LONGEST_DELAY_MS = 3_000
MOST_EXPORTED_ROWS = 10_000
LARGEST_AMOUNT = Decimal(1_000_000)


def as_json(invoice: Invoice) -> dict[str, object]:
    """Return what a client sees of an invoice."""
    return {
        "id": invoice.pk,
        "organization_id": invoice.organization_id,
        "number": invoice.number,
        "customer": invoice.customer,
        "amount": invoice.amount,
        "status": invoice.status,
    }


@endpoint("GET", "POST")
def collection(request: HttpRequest, pk: int) -> HttpResponseBase:
    """List the newest invoices of the organization, or create a draft."""
    organization = get_organization(request, pk)
    if request.method == "POST":
        return create(request, organization)
    newest = Invoice.objects.filter(organization=organization).order_by("-pk")
    return JsonResponse({"invoices": [as_json(found) for found in newest[: read_limit(request)]]})


def create(request: HttpRequest, organization: Organization) -> HttpResponseBase:
    """Create a draft; the nightly job issues it."""
    body = read_json(request, "customer", "amount")
    invoice = Invoice.objects.create(
        organization=organization,
        customer=body["customer"][:100],
        amount=read_amount(body["amount"]),
    )
    logstack_django.log_event(
        logger,
        "invoice_created",
        "Invoice over %s EUR created for %s",
        invoice.amount,
        organization.name,
        object=invoice,
    )
    return JsonResponse(as_json(invoice), status=201)


def read_amount(text: str) -> Decimal:
    """Return the amount in euros, rounded to cents; raises BadInputError."""
    try:
        amount = Decimal(text)
    except InvalidOperation as error:
        raise BadInputError(f"amount: expected a number, got {text[:40]!r}") from error
    if not (amount.is_finite() and 0 < amount <= LARGEST_AMOUNT):
        logger.warning("Refused an invoice amount of %s", text[:40])
        raise BadInputError(f"amount: expected more than 0 and at most {LARGEST_AMOUNT}")
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


@endpoint("GET")
def detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show one invoice."""
    invoice = get_object_or_404(Invoice, pk=pk)
    get_organization(request, invoice.organization_id)
    return JsonResponse(as_json(invoice))


@endpoint("GET")
def converted(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show the amount in another currency (`?currency=`); XAG raises, see exchange.py."""
    invoice = get_object_or_404(Invoice, pk=pk)
    get_organization(request, invoice.organization_id)
    currency = request.GET.get("currency", "USD")
    if currency not in exchange.FEED:
        raise BadInputError(f"currency: expected one of {', '.join(exchange.FEED)}")
    amount = (invoice.amount * exchange.rate_for(currency)).quantize(Decimal("0.01"))
    return JsonResponse({"id": invoice.pk, "amount": amount, "currency": currency})


@endpoint("GET")
def export(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Send the organization's invoices as CSV; for admins and accountants."""
    organization = get_organization(
        request, pk, roles=(Membership.Role.ADMIN, Membership.Role.ACCOUNTANT)
    )
    invoices = Invoice.objects.filter(organization=organization).order_by("pk")
    response = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="invoices-{pk}.csv"'},
    )
    writer = csv.writer(response)
    writer.writerow(["id", "number", "customer", "amount", "status"])
    rows = 0
    for invoice in invoices[:MOST_EXPORTED_ROWS].iterator():
        writer.writerow(
            [invoice.pk, invoice.number, invoice.customer, invoice.amount, invoice.status]
        )
        rows += 1
    logstack_django.log_event(
        logger,
        "data_exported",
        "%d invoices of %s exported",
        rows,
        organization.name,
        object=organization,
        rows=rows,
        export_format="csv",
    )
    return response


@endpoint("GET")
def revenue(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Sum up the invoices by status; `?delay_ms=` makes it as slow as an old ledger would."""
    organization = get_organization(request, pk)
    delay_ms = read_number(request, "delay_ms", default=0, largest=LONGEST_DELAY_MS)
    with logstack_django.timed("revenue_report"):
        time.sleep(delay_ms / 1000)
        totals = (
            Invoice.objects.filter(organization=organization)
            .values("status")
            .annotate(invoices=Count("pk"), amount=Sum("amount"))
            .order_by("status")
        )
        answer = {"organization_id": organization.pk, "totals": list(totals)}
    return JsonResponse(answer)
