"""One request to an engine: every client of one asks like this. Errors are EngineError."""

from __future__ import annotations

import json
from typing import Any

import requests

from stack.engines import EngineError

MOST_TEXT = 500  # of an answer or a reason, in characters


def ask(
    session: requests.Session, program: str, method: str, base: str, path: str, **arguments: Any
) -> requests.Response:
    """The answer, if it is a good one. `arguments` are those of requests.

    Raises EngineError when `program` does not answer at `base`, or answers with a refusal.
    """
    try:
        answer = session.request(method, f"{base}{path}", **arguments)
    except requests.RequestException as error:
        raise EngineError(
            f"{base}: wanted {program} to answer, found: {_short(error)}. Type: ./logstack status"
        ) from None
    if answer.status_code >= 300:
        text = answer.text.strip()[:MOST_TEXT]
        answer.close()
        raise EngineError(f"{base}{path}: HTTP {answer.status_code}: {text}")
    return answer


def from_json(data: bytes) -> Any:
    """An answer, or one line of it. Engines give back bytes as they got them, also broken UTF-8.

    Raises ValueError for what is no JSON.
    """
    return json.loads(data.decode("utf-8", "replace"))


def _short(error: Exception) -> str:
    """What people recognise of requests' long texts."""
    text = str(error)
    for known in ("Connection refused", "timed out", "Name or service not known"):
        if known in text:
            return known.lower()
    return text[:MOST_TEXT]
