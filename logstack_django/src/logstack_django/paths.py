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
    """`path` without a captured value; all of it masked if the value cannot be found there."""
    # What a converter returns may be written otherwise in the path: 7 as 007, a UUID in capitals.
    wanted = ("0*" if number else "") + re.escape(text)
    masked = re.sub(rf"(?i)(?<![^/]){wanted}(?![^/])", MASK, path)
    if len(text) > 3 or masked == path:  # not a whole segment
        masked = re.sub(rf"(?i){wanted}", MASK, masked)
    return masked if masked != path else f"/{MASK}"
