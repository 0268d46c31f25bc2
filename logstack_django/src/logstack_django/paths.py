"""A request's path with its secret parts masked."""

from __future__ import annotations

import re

from django.http import HttpRequest

from logstack_django.config import current_redactor
from logstack_django.redaction import MASK
from logstack_django.text import safe_text


def safe_path(request: HttpRequest) -> str:
    """The path, without the query string and without secret parts such as a reset token."""
    path = request.path
    captured = getattr(getattr(request, "resolver_match", None), "captured_kwargs", None)
    redactor = current_redactor() if captured else None
    if captured and redactor is not None:
        secrets = [value for name, value in captured.items() if redactor.is_secret_key(name)]
        # A dict, because a path may hold the same text twice.
        for text, value in {safe_text(value): value for value in secrets}.items():
            if text and value is not None:
                path = _mask_part(path, text, isinstance(value, int))
    return path


def _mask_part(path: str, text: str, number: bool) -> str:
    """`path` with a captured value masked, or all of it where the value is not in the path."""
    # The path may write what a converter returned in another way: 7 as 007, a UUID in capitals.
    # A run of zeros is matched from its first one only, else each of them would be a start.
    pattern = (r"(?:(?<!0)0+)?" if number else "") + re.escape(text)
    masked = re.sub(rf"(?i)(?<![^/]){pattern}(?![^/])", MASK, path)
    if len(text) > 3 or masked == path:  # only a part of a segment
        masked = re.sub(rf"(?i){pattern}", MASK, masked)
    return masked if masked != path else f"/{MASK}"
