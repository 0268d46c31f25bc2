"""Organizations: list, create, show, list members, change a member's role."""

from __future__ import annotations

import logging

from django.db import transaction
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import get_object_or_404

import logstack_django
from stack.sample_app.api import (
    BadInputError,
    JsonResponse,
    current_user,
    endpoint,
    read_json,
    read_limit,
)
from stack.sample_app.organizations.access import get_organization
from stack.sample_app.organizations.models import Membership, Organization

logger = logging.getLogger(__name__)


def as_json(organization: Organization) -> dict[str, object]:
    """Return what a client sees of an organization."""
    return {
        "id": organization.pk,
        "name": organization.name,
        "country": organization.country,
        "created_at": organization.created_at,
    }


@endpoint("GET", "POST")
def collection(request: HttpRequest) -> HttpResponseBase:
    """List the user's organizations, or create one."""
    if request.method == "POST":
        return create(request)
    mine = Organization.objects.filter(membership__user=current_user(request)).order_by("pk")
    found = [as_json(organization) for organization in mine[: read_limit(request)]]
    logger.debug("Listed %d organizations", len(found))
    return JsonResponse({"organizations": found})


def create(request: HttpRequest) -> HttpResponseBase:
    """Create an organization whose first admin is the user."""
    body = read_json(request, "name", "country")
    if len(body["name"]) > 100 or len(body["country"]) != 2:
        raise BadInputError(
            "expected a name of at most 100 characters and a country code of 2 letters"
        )
    with transaction.atomic():
        organization = Organization.objects.create(
            name=body["name"], country=body["country"].upper()
        )
        Membership.objects.create(
            user=current_user(request), organization=organization, role=Membership.Role.ADMIN
        )
    logstack_django.bind(organization_id=organization.pk)
    logstack_django.log_event(
        logger,
        "organization_created",
        "Organization %s created",
        organization.name,
        object=organization,
    )
    return JsonResponse(as_json(organization), status=201)


@endpoint("GET")
def detail(request: HttpRequest, pk: int) -> HttpResponseBase:
    """Show one organization."""
    return JsonResponse(as_json(get_organization(request, pk)))


@endpoint("GET")
def members(request: HttpRequest, pk: int) -> HttpResponseBase:
    """List who belongs to the organization."""
    organization = get_organization(request, pk)
    found = Membership.objects.filter(organization=organization).select_related("user")
    return JsonResponse(
        {
            "members": [
                {"user_id": member.user_id, "username": member.user.username, "role": member.role}
                for member in found.order_by("pk")[: read_limit(request)]
            ]
        }
    )


@endpoint("POST")
def change_role(request: HttpRequest, pk: int, user_pk: int) -> HttpResponseBase:
    """Give another member a new role; for admins only."""
    organization = get_organization(request, pk, roles=(Membership.Role.ADMIN,))
    role = read_json(request, "role")["role"]
    if role not in Membership.Role.values:
        raise BadInputError(
            f"role: expected one of {', '.join(Membership.Role.values)}, got {role!r}"
        )
    if user_pk == current_user(request).pk:
        raise BadInputError("admins cannot change their own role")
    with transaction.atomic():
        membership = get_object_or_404(Membership, organization=organization, user_id=user_pk)
        old_role, membership.role = membership.role, role
        membership.save(update_fields=["role"])
    if old_role == role:
        return JsonResponse({"user_id": user_pk, "role": role})
    logstack_django.log_event(
        logger,
        "role_changed",
        "Role of user %d in organization %s changed from %s to %s",
        user_pk,
        organization.name,
        old_role,
        role,
        object=membership,
        member_id=user_pk,
        old_role=old_role,
        new_role=role,
    )
    return JsonResponse({"user_id": user_pk, "role": role})
