"""Sends a request to an engine, for all its clients: directly, or through a gateway."""

from __future__ import annotations

import json
import re
import ssl
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth

from stack.engines import EngineError
from stack.settings.targets import Access

MOST_TEXT = 500  # of an answer or a reason, in characters
KNOWN_REASONS = (
    *("Connection refused", "timed out", "Name or service not known", "Connection reset by peer"),
    *("Network is unreachable", "No route to host", "Temporary failure in name resolution"),
)
TLS_REASON = re.compile(r"\[SSL: \w+\] (.*?) \(_ssl")


class Session(requests.Session):
    """A session whose errors name `advice`, the command that shows what does not run."""

    advice = "./logstack status"


class _GatewayAdapter(HTTPAdapter):
    """Trusts what `context` trusts; not certifi's CAs nor those of REQUESTS_CA_BUNDLE."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: Any, cert: Any = None
    ) -> Any:
        place, _ = super().build_connection_pool_key_attributes(request, True, cert)
        return place, {}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The context verifies; the inherited method would add certifi's CAs to it."""


def open_session(access: Access | None = None) -> Session:
    """A session for requests to this machine, or through a gateway.

    Raises EngineError for a CA that is not a certificate.
    """
    session = Session()
    if access:
        try:
            context = ssl.create_default_context(cadata=access.ca or None)
        except ssl.SSLError as error:
            raise EngineError(
                f"cannot read the CA of {access.environment}: expected a certificate as PEM, got "
                f"something else: {error}. Run: ./logstack secrets show-ca {access.environment}"
            ) from None
        session.mount("https://", _GatewayAdapter(context))
        session.auth = HTTPBasicAuth(access.user, access.password.encode())
        session.advice = f"./logstack doctor --env {access.environment}"
    return session


def send_request(
    session: Session, program: str, method: str, base: str, path: str, **arguments: Any
) -> requests.Response:
    """The answer to a request, if its status is below 300. `arguments` are those of requests.

    Raises EngineError when `program` does not answer at `base` or refuses the request.
    """
    try:
        answer = session.request(method, f"{base}{path}", **arguments)
    except requests.RequestException as error:
        raise EngineError(
            f"cannot reach {program} at {base}: {shorten(error)}. Run: {session.advice}"
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
    for known in KNOWN_REASONS:
        if known in text:
            return known.lower()
    if found := TLS_REASON.search(text):
        return found[1]
    return text[:MOST_TEXT]
