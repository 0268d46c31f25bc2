"""A request's path with its secret parts masked."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from logstack_django.redaction import MASK, Redactor
from logstack_django.text import safe_text

_SHORTEST = 8  # characters of a part that is masked wherever its request logs it
_MAX_PARTS = 8


def safe_path(request: Any, redactor: Redactor | None) -> str:
    """The path, without the query string and without secret parts such as a reset token."""
    return mask_values(request.path, _captured(request, redactor), redactor)


def mask_values(path: str, captured: Mapping[str, Any], redactor: Redactor | None) -> str:
    """The path without what its route captured under a secret name."""
    for text, value in _secret_values(captured, redactor).items():
        if text and value is not None:
            path = _mask_part(path, text, isinstance(value, int))
    return path


def secret_parts(request: Any, redactor: Redactor | None) -> tuple[str, ...]:
    """Secret parts of the path that are long enough to be recognized in other text."""
    return secret_texts(_captured(request, redactor), redactor)


def secret_texts(captured: Mapping[str, Any], redactor: Redactor | None) -> tuple[str, ...]:
    """Of what a route captured."""
    return tuple(text for text in _secret_values(captured, redactor) if len(text) >= _SHORTEST)


def _secret_values(captured: Mapping[str, Any], redactor: Redactor | None) -> dict[str, Any]:
    """Each value once, by its text: a path may hold the same text twice."""
    if redactor is None:
        return {}
    names = redactor.is_secret_key
    return {safe_text(value): value for name, value in captured.items() if names(name)}


def _captured(request: Any, redactor: Redactor | None) -> Mapping[str, Any]:
    if redactor is None:
        return {}
    match = getattr(request, "resolver_match", None)
    if match is None:
        return _closest_captured(request)
    return getattr(match, "captured_kwargs", None) or {}


_ATTRIBUTE = "_logstack_captured"


def _closest_captured(request: Any) -> dict[str, Any]:
    """What the route would have captured whose path is nearest: with a slash at the end, with one
    slash for two, or without what is behind it. A mail client may have cut a link."""
    attributes = request.__dict__
    if _ATTRIBUTE not in attributes:
        attributes[_ATTRIBUTE] = {}  # resolving may log
        attributes[_ATTRIBUTE] = _resolve_closest(request)
    found: dict[str, Any] = attributes[_ATTRIBUTE]
    return found


def _resolve_closest(request: Any) -> dict[str, Any]:
    from django.urls import Resolver404, get_resolver  # too early while settings are loaded

    resolver = get_resolver(getattr(request, "urlconf", None))
    parts = [part for part in request.path_info.split("/") if part][:_MAX_PARTS]
    for count in range(len(parts), 0, -1):
        path = "/" + "/".join(parts[:count])
        for tried in (path + "/", path):
            try:
                return dict(getattr(resolver.resolve(tried), "captured_kwargs", None) or {})
            except Resolver404:
                continue
            except Exception:  # a converter of the application
                return {}
    return {}


def _mask_part(path: str, text: str, number: bool) -> str:
    """`path` with a captured value masked, or all of it where the value is not in the path."""
    # The path may write what a converter returned in another way: 7 as 007, a UUID in capitals.
    # A run of zeros is matched from its first one only, else each of them would be a start.
    pattern = (r"(?:(?<!0)0+)?" if number else "") + re.escape(text)
    masked = re.sub(rf"(?i)(?<![^/]){pattern}(?![^/])", MASK, path)
    if len(text) > 3 or masked == path:  # only a part of a segment
        masked = re.sub(rf"(?i){pattern}", MASK, masked)
    return masked if masked != path else f"/{MASK}"
