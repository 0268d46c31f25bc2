"""Sends a request to an engine, for all its clients."""

from __future__ import annotations

import json
from typing import Any

import requests

from stack.engines import EngineError

MOST_TEXT = 500  # of an answer or a reason, in characters


def send_request(
    session: requests.Session, program: str, method: str, base: str, path: str, **arguments: Any
) -> requests.Response:
    """The answer to a request, if its status is below 300. `arguments` are those of requests.

    Raises EngineError when `program` does not answer at `base` or refuses the request.
    """
    try:
        answer = session.request(method, f"{base}{path}", **arguments)
    except requests.RequestException as error:
        raise EngineError(
            f"cannot reach {program} at {base}: {shorten(error)}. Run: ./logstack status"
        ) from None
    if answer.status_code >= 300:
        text = answer.text.strip()[:MOST_TEXT]
        answer.close()
        raise EngineError(f"{program} refused {base}{path}: HTTP {answer.status_code}: {text}")
    return answer


def from_json(data: bytes) -> Any:
    """An answer, or one line of it, from JSON. Engines return invalid UTF-8 as they received it.

    Raises ValueError.
    """
    return json.loads(data.decode("utf-8", "replace"))


def shorten(error: Exception) -> str:
    """The part that matters of the long texts of requests."""
    text = str(error)
    for known in ("Connection refused", "timed out", "Name or service not known"):
        if known in text:
            return known.lower()
    return text[:MOST_TEXT]
