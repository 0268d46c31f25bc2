"""How the control machine reads an environment: through a gateway, as one of its readers.

The target that `connect` returns reaches that gateway, so every client of an engine works on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import requests

from stack.engines.http import MOST_TEXT, open_session, shorten
from stack.engines.kinds import kind_of
from stack.hosts import HostsError
from stack.hosts.roles import gateway_url, hosts_with_role, is_archived
from stack.hosts.secrets import CA_CERTIFICATE, reader_secret, variable_of
from stack.settings import Settings
from stack.settings.targets import Access, Target
from stack.settings.targets import host as host_target

TIMEOUT = (3.05, 15)
NOT_TRUSTED = "certificate verify failed: "


class _NoAnswerError(Exception):
    """A gateway, or the program behind it, does not answer; the text says why."""


def connect(
    settings: Settings,
    secrets: Mapping[str, str],
    reader: str = "",
    *,
    rules: bool = False,
    report: Callable[[str], None] = lambda text: None,
) -> Target:
    """The first log server that answers a query, with `rules` one that reports its rules.

    `reader` is one of gateway.readers; by default the first whose password is in `secrets`.
    `report` gets the name of the log server. Raises HostsError, and EngineError for the CA.
    """
    environment = settings.stack.environment
    user, password = _credentials(settings, secrets, reader)
    own_ca = settings.gateway.tls == "own_ca"
    ca = _required(settings, secrets, CA_CERTIFICATE) if own_ca else ""
    silent = []
    for server, url in _gateways(settings, rules=rules):
        access = Access(environment, url, user, password, ca)
        archived = is_archived(settings, server)
        target = replace(host_target(settings, server, archived=archived), access=access)
        try:
            _probe(target, access, rules=rules)
        except _NoAnswerError as cause:
            silent.append(f"{server} at {url}: {cause}")
            continue
        for text in silent:
            report(f"No answer from {text}")
        report(f"Reading {environment}: {server} at {url}, as {user}")
        return target
    raise HostsError(
        f"cannot reach the gateway of {environment}: {'; '.join(silent)}. "
        f"Run: ./logstack doctor --env {environment}"
    )


def _gateways(settings: Settings, *, rules: bool) -> Iterator[tuple[str, str]]:
    """Log servers and the addresses of their gateways, in the order in which they are tried.

    gateway.name leads to any log server, which need not be one that evaluates the rules.
    """
    if settings.gateway.name and not rules:
        yield settings.gateway.name, gateway_url(settings, settings.gateway.name)
    for server in hosts_with_role(settings, "alerting" if rules else "log_server"):
        yield server, gateway_url(settings, settings.hosts[server].address)


def _credentials(settings: Settings, secrets: Mapping[str, str], reader: str) -> tuple[str, str]:
    """A reader and the password. Raises HostsError."""
    readers = settings.gateway.readers
    environment = settings.stack.environment
    if not readers:
        raise HostsError(
            f"cannot read {environment}: gateway.readers names no user. Add one to it in "
            f"settings.{environment}.local.toml. {_install(environment)}"
        )
    if reader and reader not in readers:
        raise HostsError(
            f"reader: expected one of gateway.readers ({', '.join(readers)}), got {reader!r}"
        )
    known = [user for user in readers if secrets.get(reader_secret(user))]
    user = reader or next(iter(known), readers[0])
    return user, _required(settings, secrets, reader_secret(user))


def _required(settings: Settings, secrets: Mapping[str, str], name: str) -> str:
    if not secrets.get(name):
        environment = settings.stack.environment
        raise HostsError(
            f"cannot read {environment}: the secret {name} is missing, in the file of its secrets "
            f"and as {variable_of(name)}. {_install(environment)}"
        )
    return secrets[name]


def _install(environment: str) -> str:
    return f"Run: ./logstack secrets init {environment} && make deploy ENV={environment}"


def _probe(target: Target, access: Access, *, rules: bool) -> None:
    """One small query, or the request for the rules. Raises _NoAnswerError and HostsError."""
    engine = kind_of(target.settings)
    with open_session(access) as session:

        def fetch(path: str) -> str:
            try:
                answer = session.get(f"{access.url}{path}", timeout=TIMEOUT)
            except requests.RequestException as error:
                raise _failure(access, error) from None
            _check(answer, access)
            return answer.text

        try:
            if rules:
                fetch(engine.rules)
            else:
                engine.find(fetch, "-", "1s")
        except (ValueError, KeyError):
            raise _NoAnswerError("expected an answer of the engine, got another one") from None


def _check(answer: requests.Response, access: Access) -> None:
    """Raises _NoAnswerError and HostsError unless the gateway let the request through."""
    status, environment = answer.status_code, access.environment
    if status >= 500:
        raise _NoAnswerError(f"HTTP {status}")
    if status < 300:
        return
    causes = {
        401: f"{access.url} rejected the password of {access.user} (HTTP 401)",
        404: f"{access.url} does not serve this to readers yet (HTTP 404)",
    }
    text = f"{access.url} refused the request: HTTP {status}: {answer.text.strip()[:MOST_TEXT]}"
    raise HostsError(
        f"cannot read {environment}: {causes.get(status, text)}. Run: make deploy ENV={environment}"
    )


def _failure(access: Access, error: Exception) -> Exception:
    """An untrusted certificate is not skipped as a silent server is."""
    reason = shorten(error)
    if not reason.startswith(NOT_TRUSTED):
        return _NoAnswerError(reason)
    reason = reason.removeprefix(NOT_TRUSTED)
    cause = f"cannot read {access.environment}: the certificate of {access.url} is not trusted"
    if access.ca:
        return HostsError(
            f"{cause} by the CA of its secrets: {reason}. Run: make plan ENV={access.environment}"
        )
    return HostsError(
        f"{cause} by the CAs of this system: {reason}. Install its CA, or name it. "
        f"Run: SSL_CERT_FILE=ca.pem ./logstack logs --env {access.environment}"
    )
