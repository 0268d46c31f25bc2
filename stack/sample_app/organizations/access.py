"""Who may see an organization; the views of organizations and invoices call it first."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.shortcuts import get_object_or_404

import logstack_django
from stack.sample_app.api import current_user
from stack.sample_app.organizations.models import Membership, Organization

EVERY_ROLE = (Membership.Role.ADMIN, Membership.Role.ACCOUNTANT, Membership.Role.MEMBER)


def get_organization(
    request: HttpRequest, pk: int, *, roles: tuple[str, ...] = EVERY_ROLE
) -> Organization:
    """Return the organization and put its id on every record of this request.

    Raises Http404 when there is none, PermissionDenied when the user has none of the `roles` in it.
    """
    organization = get_object_or_404(Organization, pk=pk)
    # Bound before the check: a denied request must be found under the organization it was aimed at.
    logstack_django.bind(organization_id=organization.pk)
    user = current_user(request)
    membership = Membership.objects.filter(user=user, organization=organization).first()
    if membership is None:
        raise PermissionDenied(f"{user.username} does not belong to organization {pk}")
    if membership.role not in roles:
        raise PermissionDenied(f"{membership.role} of organization {pk} may not do this")
    return organization
