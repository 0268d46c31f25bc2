"""Requests to the programs that handle alerts, with errors that say what to type."""

from __future__ import annotations

from typing import Any

import requests

from stack.alerting import AlertError

TIMEOUT = 10  # seconds


def ask(method: str, url: str, program: str, **options: Any) -> requests.Response:
    """The answer of a program that runs on this machine. Raises AlertError."""
    try:
        answer = requests.request(method, url, timeout=TIMEOUT, **options)
    except requests.ConnectionError:
        found = "no connection"
    except requests.RequestException as error:
        found = str(error)
    else:
        if answer.ok:
            return answer
        found = f"HTTP {answer.status_code}: {answer.text.strip()[:500]}"
    raise AlertError(f"{url}: wanted {program} to answer, found: {found}. Type: make up")
