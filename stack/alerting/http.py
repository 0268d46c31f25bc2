"""Requests to the programs that handle alerts, with errors that say what to run."""

from __future__ import annotations

from typing import Any

import requests

from stack.alerting import AlertError
from stack.engines.http import Session

TIMEOUT = 10  # seconds


def ask(
    method: str, url: str, program: str, session: Session | None = None, **options: Any
) -> requests.Response:
    """The response of a program that runs on this machine, or for which there is a session.

    Raises AlertError.
    """
    send = session.request if session else requests.request
    try:
        response = send(method, url, timeout=TIMEOUT, **options)
    except requests.ConnectionError:
        cause = "no connection"
    except requests.RequestException as error:
        cause = str(error)
    else:
        if response.ok:
            return response
        cause = f"HTTP {response.status_code}: {response.text.strip()[:500]}"
    advice = session.advice if session else "make up"
    raise AlertError(f"cannot reach {program} at {url}: {cause}. Run: {advice}")
