"""Login, logout and who am I; logstack_django itself logs logins, logouts and failed logins."""

from __future__ import annotations

from django.contrib.auth import authenticate, login, logout
from django.http import HttpRequest, HttpResponseBase
from django.middleware.csrf import get_token
from django.views.decorators.csrf import csrf_exempt

from stack.sample_app.api import JsonResponse, current_user, endpoint, problem, read_json
from stack.sample_app.organizations.models import Membership

LONGEST_MEMBERSHIP_LIST = 100


# Exempt, because a client without a session has no token yet. No other site can make a browser send
# this request: a form cannot send application/json, and a script is stopped by the preflight.
@csrf_exempt
@endpoint("POST", login=False)
def log_in(request: HttpRequest) -> HttpResponseBase:
    """Start a session; the answer carries the token to send back as X-CSRFToken."""
    credentials = read_json(request, "username", "password")
    user = authenticate(request, **credentials)
    if user is None:
        return problem(401, "unknown user or wrong password")
    login(request, user)
    return JsonResponse({"username": credentials["username"], "csrf_token": get_token(request)})


@endpoint("POST")
def log_out(request: HttpRequest) -> HttpResponseBase:
    """End the session."""
    logout(request)
    return JsonResponse({"logged_out": True})


@endpoint("GET")
def me(request: HttpRequest) -> HttpResponseBase:
    """Show the user and the oldest of the organizations they belong to."""
    user = current_user(request)
    memberships = Membership.objects.filter(user=user).select_related("organization")
    return JsonResponse(
        {
            "id": user.pk,
            "username": user.username,
            "memberships": [
                {
                    "organization_id": membership.organization_id,
                    "organization": membership.organization.name,
                    "role": membership.role,
                }
                for membership in memberships.order_by("pk")[:LONGEST_MEMBERSHIP_LIST]
            ],
        }
    )
