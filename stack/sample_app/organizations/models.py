"""Organization and Membership."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from django.contrib.auth.models import User
from django.db import models


class Organization(models.Model):
    """A tenant: every invoice belongs to one, and users see only those that they belong to."""

    name: models.CharField[str, str] = models.CharField(max_length=100)
    country: models.CharField[str, str] = models.CharField(max_length=2)
    created_at: models.DateTimeField[datetime, datetime] = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Membership(models.Model):
    """One user's role in one organization."""

    class Role(models.TextChoices):
        """What a member may do: only admins change roles, only admins and accountants export."""

        ADMIN = "admin"
        ACCOUNTANT = "accountant"
        MEMBER = "member"

    user: models.ForeignKey[User, User] = models.ForeignKey(User, on_delete=models.CASCADE)
    organization: models.ForeignKey[Organization, Organization] = models.ForeignKey(
        Organization, on_delete=models.CASCADE
    )
    role: models.CharField[str, str] = models.CharField(
        max_length=20, choices=Role.choices, default=Role.MEMBER
    )

    user_id: int
    organization_id: int

    class Meta:
        """A user is in an organization once."""

        constraints: ClassVar[list[models.BaseConstraint]] = [
            models.UniqueConstraint(fields=["user", "organization"], name="one_membership")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.organization_id}: {self.role}"
