"""`seed`: store the demo users, organizations and invoices; `make up` runs it at every start."""

from __future__ import annotations

import os
from decimal import Decimal

from django.contrib.auth.models import User
from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, transaction

from stack.common.counted import counted
from stack.sample_app.demo_data import (
    CUSTOMERS,
    INVOICES_PER_ORGANIZATION,
    ORGANIZATIONS,
    USERNAMES,
    DemoOrganization,
)
from stack.sample_app.environment import read_password
from stack.sample_app.invoices.models import Invoice
from stack.sample_app.organizations.models import Membership, Organization


class Command(BaseCommand):
    """Store what is missing; a second run changes nothing and reports that."""

    help = "Store the demo data. The users' password comes from LOGSTACK_SAMPLE_PASSWORD."

    def handle(self, *, verbosity: int = 1, **options: object) -> None:
        """Store everything, or nothing."""
        password = read_password(os.environ)
        try:
            with transaction.atomic():
                changed = sum(store_user(username, password) for username in USERNAMES)
                changed += sum(store_organization(demo) for demo in ORGANIZATIONS)
        except OperationalError as error:
            raise CommandError(
                f"cannot store the demo data: {error}. Run: python -m stack.sample_app migrate"
            ) from error
        if verbosity:
            self.stdout.write(
                f"demo data: {counted(changed, 'change')}"
                if changed
                else "demo data: nothing to do"
            )


def store_user(username: str, password: str) -> bool:
    """Create the user, or set a password that has changed; return whether anything changed."""
    user, created = User.objects.get_or_create(username=username)
    if not created and user.check_password(password):
        return False
    user.set_password(password)
    user.save(update_fields=["password"])
    return True


def store_organization(demo: DemoOrganization) -> bool:
    """Create the organization with its members and invoices; return False if it was there."""
    if Organization.objects.filter(name=demo.name).exists():
        return False
    organization = Organization.objects.create(name=demo.name, country=demo.country)
    for username, role in demo.roles.items():
        Membership.objects.create(
            user=User.objects.get(username=username), organization=organization, role=role
        )
    place = ORGANIZATIONS.index(demo)
    Invoice.objects.bulk_create(
        demo_invoice(organization, place, number) for number in range(INVOICES_PER_ORGANIZATION)
    )
    return True


def demo_invoice(organization: Organization, place: int, number: int) -> Invoice:
    """Return one of the drafts, issued and paid invoices of the organization at `place`."""
    status = (Invoice.Status.PAID, Invoice.Status.ISSUED, Invoice.Status.DRAFT)[number % 3]
    return Invoice(
        organization=organization,
        number="" if status == Invoice.Status.DRAFT else f"DEMO-{place + 1}-{number + 1:03d}",
        customer=CUSTOMERS[(place + number) % len(CUSTOMERS)],
        amount=Decimal(1999 + 731 * number + 127 * place) / 100,
        status=status,
    )
