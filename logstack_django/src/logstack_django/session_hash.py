"""A keyed hash of a session key: identifies the session, and cannot be used to log in."""

from __future__ import annotations

import functools
import re

from logstack_django.secret_rules import MASK

# Django's session keys have letters beyond f, so that none of them looks like its hash.
_HASHED = re.compile(r"[0-9a-f]{32}")


@functools.lru_cache(maxsize=1024)
def hash_session(key: str) -> str:
    """The hash, of 32 hexadecimal digits; what is one already stays as it is."""
    if not key or _HASHED.fullmatch(key):
        return key
    try:
        from django.utils.crypto import salted_hmac  # too early while settings are loaded

        hashed = salted_hmac("logstack_django.session", key, algorithm="sha256")
    except Exception:  # no SECRET_KEY yet
        return MASK
    return hashed.hexdigest()[:32]
