"""The form in which a file of this folder says what the records of a framework are."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from logstack_django.contexts import Context
from logstack_django.redaction import Redactor


@dataclass(slots=True)
class Translation:
    """What a record becomes: fields, a message that replaces its own (or None), attributes of the
    record that are no fields, and the context that it belongs to where there is none."""

    fields: dict[str, Any] = field(default_factory=dict)
    message: str | None = None
    hidden: tuple[str, ...] = ()
    context: Context | None = None


Translator = Callable[[logging.LogRecord, Redactor | None], Translation | None]


@dataclass(frozen=True, slots=True)
class Source:
    """`loggers`: their configuration, because a framework may have given them handlers, without
    which its records are written once, as JSON. `translators`: by the name of a logger, or by the
    beginning of names, with a dot at its end. `hidden`: attributes of any record that are no
    fields. `filters`: by name, as in `logging.config`."""

    loggers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    translators: Mapping[str, Translator] = field(default_factory=dict)
    hidden: frozenset[str] = frozenset()
    filters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


INFO: Mapping[str, Any] = {"handlers": [], "propagate": True, "level": "INFO"}
INHERIT: Mapping[str, Any] = {"handlers": [], "propagate": True}
# Logs each request, as the middleware does; see the option `server_access_log`.
ACCESS: Mapping[str, Any] = {**INHERIT, "access": True}
