"""Every setting of the library, with its default, its type, and its environment variable.

`logging_config` creates them from its arguments; formatter, handlers, middleware and checks use
them.
"""

from __future__ import annotations

import dataclasses
import difflib
import ipaddress
import json
import logging
import math
import os
import re
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import ImproperlyConfigured

from logstack_django.key_names import key_words
from logstack_django.secret_tokens import PERSONAL

ENV_PREFIX = "LOGSTACK_DJANGO_"
# A record including its newline is shorter: container engines split longer lines.
MAX_RECORD_BYTES = 16_384
_MOST_BYTES = 1_048_576


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """The settings.

    service             name of the application, the field service_name; required
    environment         dev, staging, prod, ...
    sink                "stdout" (containers), "stderr", or "file" (servers)
    path                the log file for sink="file"; reopened after a rename, shared by workers
    levels              level per logger; "" is the root logger, INFO by default
    user_id_field       attribute of the user for user_id; "pk" by default
    username_field      attribute for username; by default the user model's USERNAME_FIELD
    organization_fields attribute paths on the request for organization_id, the first match is
                        used; only loaded values are read, never by a query
    trusted_proxies     addresses or networks whose X-Forwarded-For and request id are trusted;
                        "unix" for a peer without an address (a Unix socket)
    request_id_header   header of the request id, in requests and responses
    access_log          whether the middleware logs one record per request
    server_access_log   whether gunicorn and uvicorn write their access logs as well
    quiet_paths         paths (or prefixes ending in *) whose successful requests are not logged
    slow_request_ms     requests that take longer are logged as WARNING; 0: never
    redaction           whether secrets are masked
    redact_keys         additional keys whose values are secret; keep_keys: those that are not
    redact_patterns     regular expressions whose matches are masked everywhere
    redact_personal     "email", "phone", "iban": mask these in text, too
    max_record_bytes    limit of each line including its newline, which stays below it
    flood_rate          records per second for each logger and message below ERROR; 0: no limit;
                        flood_burst of them may arrive at once
    write_timeout_ms    how long a log call waits for a stalled reader of a pipe, socket or
                        terminal
    capture_uncaught    whether uncaught exceptions (also of threads) and warnings are logged
    """

    service: str = ""
    environment: str = "dev"
    sink: str = "stdout"
    path: str = ""
    levels: dict[str, str] = dataclasses.field(default_factory=dict)
    user_id_field: str = "pk"
    username_field: str = ""
    organization_fields: tuple[str, ...] = ("organization_id", "user.organization_id")
    trusted_proxies: tuple[str, ...] = ()
    request_id_header: str = "X-Request-ID"
    access_log: bool = True
    server_access_log: bool = False
    quiet_paths: tuple[str, ...] = ()
    slow_request_ms: float = 1000.0
    redaction: bool = True
    redact_keys: tuple[str, ...] = ()
    keep_keys: tuple[str, ...] = ()
    redact_patterns: tuple[str, ...] = ()
    redact_personal: tuple[str, ...] = ()
    max_record_bytes: int = MAX_RECORD_BYTES
    flood_rate: float = 0.0
    flood_burst: int = 0
    write_timeout_ms: float = 1000.0
    capture_uncaught: bool = True

    def as_mapping(self) -> dict[str, Any]:
        """The settings as plain values, so that LOGGING can be written as JSON."""
        return {
            field.name: list(value) if isinstance(value, tuple) else value
            for field in dataclasses.fields(self)
            for value in [getattr(self, field.name)]
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Options:
        """Options from plain values. Raises ImproperlyConfigured with the invalid argument."""
        known = {field.name: field for field in dataclasses.fields(cls)}
        for name in values:
            if name not in known:
                raise ImproperlyConfigured(
                    f"logstack_django: unknown argument {name!r}{_suggest(name, known)}"
                )
        # Copied, because dictConfig passes its own container types.
        plain = {name: _convert(name, known[name].type, value) for name, value in values.items()}
        options = cls(**plain)
        options._check()
        return options

    def _check(self) -> None:
        if self.sink not in ("stdout", "stderr", "file"):
            raise _wrong("sink", "stdout, stderr or file", self.sink)
        if self.sink == "file" and not self.path:
            raise _wrong("path", "the path of the log file (sink is file)", self.path)
        if not 2048 <= self.max_record_bytes <= _MOST_BYTES:
            raise _wrong("max_record_bytes", f"2048 to {_MOST_BYTES}", self.max_record_bytes)
        for option in ("service", "environment"):
            given = getattr(self, option)
            if given != given.strip() or (option == "environment" and not given):
                raise _wrong(option, "a name", given)
        for option in ("slow_request_ms", "flood_rate", "write_timeout_ms"):
            if not 0 <= getattr(self, option) < math.inf:  # also false for "nan"
                raise _wrong(option, "a number from 0 on", getattr(self, option))
        for option in ("redact_keys", "keep_keys"):
            for key in getattr(self, option):
                if not key_words(key):
                    raise _wrong(option, "a key with letters or digits", key)
        for pattern in self.redact_patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                expected = f"a regular expression ({error})"
                raise _wrong("redact_patterns", expected, pattern) from None
        for kind in self.redact_personal:
            if kind not in PERSONAL:
                raise _wrong("redact_personal", f"some of {', '.join(PERSONAL)}", kind)
        for proxy in self.trusted_proxies:
            try:
                if proxy != "unix":
                    ipaddress.ip_network(proxy, strict=False)
            except ValueError:
                expected = "an address, a network or unix"
                raise _wrong("trusted_proxies", expected, proxy) from None
        for name, level in self.levels.items():
            if level not in logging.getLevelNamesMapping():
                raise _wrong("levels", f"the name of a level for logger {name!r}", level)


def to_options(given: Options | Mapping[str, Any] | None) -> Options:
    """`given` as Options; the defaults for None."""
    return given if isinstance(given, Options) else Options.from_mapping(given or {})


def resolve_options(
    arguments: Mapping[str, Any], environ: Mapping[str, str] | None = None
) -> Options:
    """Options from arguments and LOGSTACK_DJANGO_… variables; variables take precedence."""
    environ = os.environ if environ is None else environ
    values = {name: value for name, value in arguments.items() if value is not None}
    for field in dataclasses.fields(Options):
        text = environ.get(ENV_PREFIX + field.name.upper())
        if text is not None:
            values[field.name] = text
    return Options.from_mapping(values)


def unknown_variables(environ: Mapping[str, str]) -> list[tuple[str, str]]:
    """Variables with the prefix that match no argument, each with a suggestion."""
    known = {field.name for field in dataclasses.fields(Options)}
    return [
        (name, _suggest(argument, known))
        for name in sorted(environ)
        if name.startswith(ENV_PREFIX)
        for argument in [name.removeprefix(ENV_PREFIX).lower()]
        if argument not in known
    ]


def _suggest(name: str, known: Any) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" (did you mean {close[0]!r}?)" if close else ""


def _wrong(name: str, expected: str, got: object) -> ImproperlyConfigured:
    return ImproperlyConfigured(
        f"logstack_django: {name} (or {ENV_PREFIX}{name.upper()}): expected {expected}, got {got!r}"
    )


def _convert(name: str, kind: Any, value: Any) -> Any:
    """`value` converted to the type of the field; strings from the environment are parsed."""
    if kind == "bool":
        return _to_bool(name, value)
    if kind in ("float", "int"):
        number = float if kind == "float" else int
        try:
            if isinstance(value, bool):
                raise ValueError
            return number(value)
        except (TypeError, ValueError):
            raise _wrong(name, "a number", value) from None
    if kind == "str":
        return _to_str(name, value)
    if kind == "tuple[str, ...]":
        if isinstance(value, str):
            return tuple(_parse_list(name, value))
        try:
            return tuple(_to_str(name, item) for item in value)
        except TypeError:
            raise _wrong(name, "a list of strings", value) from None
    return _to_levels(name, value)


def _to_str(name: str, value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str):
        raise _wrong(name, "a string", value)
    return str(value)


def _to_bool(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("1", "true", "yes", "on"):
        return True
    if isinstance(value, str) and value.strip().lower() in ("0", "false", "no", "off", ""):
        return False
    raise _wrong(name, "true or false", value)


def _parse_list(name: str, text: str) -> list[str]:
    """A JSON list of text (for values that hold a comma), or values between commas."""
    if text.lstrip().startswith("["):
        try:
            return [_to_str(name, item) for item in json.loads(text)]
        except ValueError:
            raise _wrong(name, "a JSON list of strings or a comma-separated list", text) from None
    return [item.strip() for item in text.split(",") if item.strip()]


def _to_levels(name: str, value: Any) -> dict[str, str]:
    """{"": "INFO", "some.logger": "DEBUG"}, or the text INFO,some.logger=DEBUG."""
    if isinstance(value, str):
        if value.lstrip().startswith("{"):
            try:
                value = json.loads(value)
            except ValueError:
                raise _wrong(name, "a JSON object of levels", value) from None
        else:
            pairs = [item.rpartition("=") for item in _parse_list(name, value)]
            value = {logger.strip(): level.strip() for logger, _, level in pairs}
    if not isinstance(value, Mapping):
        raise _wrong(name, "a mapping of logger names to levels", value)
    return {
        str(logger): logging.getLevelName(level) if isinstance(level, int) else str(level).upper()
        for logger, level in value.items()
    }
