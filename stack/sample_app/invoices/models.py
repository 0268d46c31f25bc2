"""Invoice."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import ClassVar

from django.db import models

from stack.sample_app.organizations.models import Organization


class Invoice(models.Model):
    """What a customer of an organization owes it, in euros."""

    class Status(models.TextChoices):
        """A draft is issued by the nightly job, and paid some time after."""

        DRAFT = "draft"
        ISSUED = "issued"
        PAID = "paid"

    organization: models.ForeignKey[Organization, Organization] = models.ForeignKey(
        Organization, on_delete=models.CASCADE
    )
    number: models.CharField[str, str] = models.CharField(max_length=32, blank=True)
    customer: models.CharField[str, str] = models.CharField(max_length=100)
    amount: models.DecimalField[Decimal, Decimal] = models.DecimalField(
        max_digits=12, decimal_places=2
    )
    status: models.CharField[str, str] = models.CharField(
        max_length=10, choices=Status.choices, default=Status.DRAFT
    )
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)

    organization_id: int

    class Meta:
        """Every question starts with the organization; the nightly job asks for its drafts."""

        indexes: ClassVar[list[models.Index]] = [
            models.Index(fields=["organization", "status"], name="invoices_by_status")
        ]

    def __str__(self) -> str:
        return self.number or f"draft {self.pk}"
