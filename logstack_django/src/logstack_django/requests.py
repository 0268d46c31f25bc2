"""The fields of a request: its id, trace, client, user, organization and session.

Reads only what is loaded: no query, and no access to the session that would add a `Vary` header.
"""

from __future__ import annotations

import functools
import ipaddress
import re
from operator import is_not
from typing import Any

from django.http import HttpRequest

from logstack_django.contexts import new_request_id
from logstack_django.describe import resolved
from logstack_django.options import Options
from logstack_django.paths import secret_parts
from logstack_django.redaction import Redactor
from logstack_django.session_hash import hash_session

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}", re.ASCII)
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_MAX_HOPS = 32

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class RequestState:
    """The fields of one request, read again only when the request has changed."""

    def __init__(
        self, request: HttpRequest, options: Options, redactor: Redactor | None = None
    ) -> None:
        meta = request.META
        peer = str(meta.get("REMOTE_ADDR") or "")
        trusted = is_trusted(peer, options.trusted_proxies)
        self.request_id = read_request_id(request, options.request_id_header, trusted)
        self._fixed: dict[str, Any] = {}
        trace_id = read_trace_id(str(meta.get("HTTP_TRACEPARENT") or ""))
        if trace_id:
            self._fixed["trace_id"] = trace_id
        self._fixed["request_id"] = self.request_id
        address = client_ip(peer, str(meta.get("HTTP_X_FORWARDED_FOR") or ""), options)
        self._client_ip = {"client_ip": address} if address else {}
        self._options = options
        self._request: HttpRequest | None = request
        self._organization_paths, self._watched = _watched_names(options.organization_fields)
        self._redactor = redactor
        # Secret parts of the path, which records of this request do not show.
        self.secrets: tuple[str, ...] = ()
        self.failed = False  # whether an exception was logged that the response does not carry
        self._seen: list[Any] = []
        self._count = -1
        self._fields: dict[str, Any] | None = None

    def fields(self) -> dict[str, Any]:
        """The fields so far; the same dict as long as nothing changed."""
        request = self._request
        if request is None:
            return self._fields or {}
        attributes = request.__dict__
        # Identity only: comparing a user, or asking for its class, would load it.
        seen = list(map(attributes.get, self._watched))
        count = len(attributes)
        if self._fields is None or count != self._count or any(map(is_not, seen, self._seen)):
            self._seen = seen
            self._count = count
            self._fields = self._read(request)
        return self._fields

    def freeze(self) -> None:
        """Keep the current fields and release the request."""
        if self._request is not None:
            self._fields = self.fields()
            self._request = None
            self._seen = []

    def _read(self, request: HttpRequest) -> dict[str, Any]:
        fields = dict(self._fixed)
        if request.__dict__.get("resolver_match") is not None:
            self.secrets = secret_parts(request, self._redactor)
        try:
            fields.update(user_fields(request, self._options))
            organization = self._organization(request)
            if organization is not None:
                fields["organization_id"] = organization
            session_id = hashed_session(request)
            if session_id:
                fields["session_id"] = session_id
        except Exception:  # noqa: S110 (a user or session class of the application)
            pass
        fields.update(self._client_ip)
        return fields

    def _organization(self, request: HttpRequest) -> Any:
        for path in self._organization_paths:
            found: Any = request
            for place, name in enumerate(path):
                if place == 0:
                    given = request.__dict__.get(name)
                    found = loaded_user(request) if name == "user" else resolved(given)
                elif place == 1 and path[0] == "user":
                    found = user_attribute(found, name)
                else:
                    found = loaded_attribute(found, name)
                if found is None:
                    break
            if isinstance(found, int | str) and not isinstance(found, bool) and found != "":
                return found
            if found is not None and not isinstance(found, bool):
                # An organization, or a key of another type such as UUID.
                key = loaded_attribute(found, "pk") if hasattr(type(found), "_meta") else found
                if key is not None:
                    return key
        return None


@functools.lru_cache(maxsize=8)
def _watched_names(
    organization_fields: tuple[str, ...],
) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    """The options' paths to the organization, and the attributes of a request that matter."""
    paths = tuple(tuple(path.split(".")) for path in organization_fields)
    names = dict.fromkeys(("resolver_match", "user", *(path[0] for path in paths)))
    return paths, tuple(names)


def read_request_id(request: HttpRequest, header: str, trusted: bool) -> str:
    """The valid id that a trusted proxy sent, or a new one."""
    if header and trusted:
        given = str(request.META.get("HTTP_" + header.upper().replace("-", "_")) or "")
        if valid_request_id(given):
            return given
    return new_request_id()


def valid_request_id(given: str) -> bool:
    """Whether `given` has the form of a request id."""
    return _REQUEST_ID.fullmatch(given) is not None


def read_trace_id(traceparent: str) -> str | None:
    """Trace id of a W3C traceparent header, or None if the header is not valid."""
    match = _TRACEPARENT.fullmatch(traceparent) if len(traceparent) < 512 else None
    if match is None or set(match[1]) == {"0"} or set(match[2]) == {"0"}:
        return None
    if match[3] is not None and traceparent.startswith("00"):
        return None  # version 00 ends with the flags
    return match[1]


@functools.lru_cache(maxsize=8)
def _networks(proxies: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(proxy, strict=False) for proxy in proxies if proxy != "unix")


def parse_address(text: str) -> Address | None:
    """The address in `text`, which may carry a port, brackets or an IPv6 zone."""
    text = text.strip()
    if len(text) > 64 or not text.isascii():  # no client can fill the cache with long texts
        return None
    return _parse_address(text)


@functools.lru_cache(maxsize=1024)
def _parse_address(text: str) -> Address | None:
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    text = text.partition("%")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


@functools.lru_cache(maxsize=1024)
def _address_text(peer: str) -> str | None:
    address = parse_address(peer) if peer else None
    return str(address) if address is not None else None


def is_trusted(peer: str, proxies: tuple[str, ...]) -> bool:
    """Whether `peer` is one of the proxies; "unix" stands for a peer without an address."""
    if not proxies:
        return False
    if not peer:
        return "unix" in proxies
    address = parse_address(peer)
    return address is not None and any(address in network for network in _networks(proxies))


def client_ip(peer: str, forwarded_for: str, options: Options) -> str | None:
    """Address of the client: the first one from the right that is not a trusted proxy."""
    proxies = options.trusted_proxies
    if not proxies or not forwarded_for or not is_trusted(peer, proxies):
        return _address_text(peer)
    address = parse_address(peer) if peer else None
    for hop in reversed(forwarded_for.rsplit(",", _MAX_HOPS)[-_MAX_HOPS:]):
        found = parse_address(hop)
        if found is None:
            break  # addresses further left cannot be trusted
        address = found
        if not any(address in network for network in _networks(proxies)):
            break
    return str(address) if address is not None else None


def loaded_user(request: HttpRequest) -> Any:
    """The user, if something has loaded it; else None."""
    attributes = request.__dict__
    user = resolved(attributes.get("user"))
    if user is None:
        user = attributes.get("_acached_user") or attributes.get("_cached_user")
    return user


def user_fields(request: HttpRequest, options: Options) -> dict[str, Any]:
    """user_id and username of the authenticated user, if they are loaded."""
    user = loaded_user(request)
    if user is None:
        # The session may have the id, even if the user was never loaded.
        cached = getattr(request.__dict__.get("session"), "__dict__", {}).get("_session_cache")
        found = cached.get("_auth_user_id") if isinstance(cached, dict) else None
        return {"user_id": found} if found is not None else {}
    if not getattr(user, "is_authenticated", False):
        return {}
    return describe_user(user, options)


def describe_user(user: Any, options: Options) -> dict[str, Any]:
    """user_id and username of a user, without a query."""
    fields: dict[str, Any] = {}
    user_id = user_attribute(user, options.user_id_field)
    if user_id is not None:
        fields["user_id"] = user_id
    name = options.username_field or getattr(type(user), "USERNAME_FIELD", "username")
    username = user_attribute(user, name) if name else None
    if username is not None:
        fields["username"] = username
    return fields


def user_attribute(user: Any, name: str) -> Any:
    """An attribute of a user; any one of a user that is no model, which needs no query."""
    user = resolved(user)
    if hasattr(type(user), "_meta"):
        return loaded_attribute(user, name)
    try:
        return getattr(user, name, None)
    except Exception:
        return None


def loaded_attribute(value: Any, name: str) -> Any:
    """An attribute that is loaded: not deferred, no relation to load, no property."""
    value = resolved(value)
    meta = getattr(type(value), "_meta", None)
    if name == "pk" and meta is not None and getattr(meta, "pk", None) is not None:
        name = meta.pk.attname
    attributes = getattr(value, "__dict__", None) or {}
    if name in attributes:
        return resolved(attributes[name])
    state = attributes.get("_state")
    cache = getattr(state, "fields_cache", None)
    return resolved(cache.get(name)) if isinstance(cache, dict) else None


def hashed_session(request: HttpRequest) -> str | None:
    """The hash of the session key, if there is a session."""
    session = request.__dict__.get("session")
    key = getattr(session, "session_key", None) if session is not None else None
    return hash_session(key) if isinstance(key, str) and key else None
