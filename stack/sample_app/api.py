"""Shared by the JSON endpoints: check method, login and input, and return errors as JSON.

Views use the `endpoint` decorator and `read_json`; urls.py names the error handlers.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import wraps
from typing import cast

from django.contrib.auth.models import User
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseNotAllowed
from django.http import JsonResponse as JsonResponse

View = Callable[..., HttpResponseBase]
LONGEST_PAGE = 100


class BadInputError(Exception):
    """The client sent something that the endpoint cannot use; answered with 400."""


def endpoint(*methods: str, login: bool = True) -> Callable[[View], View]:
    """Decorate a view: other methods get 405, anonymous clients 401, BadInputError becomes 400."""

    def decorate(view: View) -> View:
        @wraps(view)
        def wrapper(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
            if request.method not in methods:
                return HttpResponseNotAllowed(methods)
            if login and not request.user.is_authenticated:
                return problem(401, "log in first: POST api/login/")
            try:
                return view(request, *args, **kwargs)
            except BadInputError as error:
                return problem(400, str(error))

        return wrapper

    return decorate


def current_user(request: HttpRequest) -> User:
    """Return the logged-in user; only for views behind `endpoint` with login."""
    return cast(User, request.user)


def read_json(request: HttpRequest, *fields: str) -> dict[str, str]:
    """Return the named fields of the JSON body; each must be a non-empty string."""
    if request.content_type != "application/json":
        raise BadInputError(
            f"Content-Type: expected application/json, got {request.content_type!r}"
        )
    try:
        body = json.loads(request.body)
    except (ValueError, RecursionError) as error:
        raise BadInputError(f"cannot parse the body as JSON: {error}") from error
    if not isinstance(body, dict):
        raise BadInputError("body: expected a JSON object")
    for field in fields:
        value = body.get(field)
        if not isinstance(value, str) or not value.strip() or not value.isprintable():
            raise BadInputError(f"{field}: expected a non-empty string of printable characters")
    return {field: body[field].strip() for field in fields}


def read_number(request: HttpRequest, name: str, *, default: int, largest: int) -> int:
    """Return the integer query parameter `name`, between 0 and `largest`."""
    text = request.GET.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text) <= largest):
        raise BadInputError(f"{name}: expected an integer from 0 to {largest}, got {text[:40]!r}")
    return int(text)


def read_limit(request: HttpRequest) -> int:
    """Return how many rows the client wants to see at most (`?limit=`)."""
    return read_number(request, "limit", default=50, largest=LONGEST_PAGE)


def problem(status: int, message: str) -> JsonResponse:
    """Return an error answer."""
    return JsonResponse({"error": message}, status=status)


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer requests that Django rejects, for example an unknown Host header."""
    return problem(400, "bad request")


def forbidden(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer PermissionDenied."""
    return problem(403, str(exception) or "forbidden")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer Http404 and unknown addresses."""
    return problem(404, "not found")


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer an exception that no view caught; the traceback is in the log only."""
    return problem(500, "internal error")
