"""Turns any Python value into bounded, redacted, plain JSON data without side effects.

Runs no SQL (QuerySets, deferred fields and unresolved lazy objects are named, not read), consumes
no iterator, and handles objects whose methods fail. The formatter uses it for records with
anything but short plain values.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import math
import os
import uuid
from collections.abc import ItemsView, Mapping
from typing import Any
from urllib.parse import (
    DefragResult,
    DefragResultBytes,
    ParseResult,
    ParseResultBytes,
    SplitResult,
    SplitResultBytes,
)

from logstack_django.describe import describe
from logstack_django.fields import INT_MAX, INT_MIN
from logstack_django.redaction import MASK, Redactor
from logstack_django.secret_tokens import CARD_INT_MAX, CARD_INT_MIN, is_card_number
from logstack_django.text import encodable, iso_text, safe_text, type_name

MAX_STRING = 8192
# Bytes of a field's name. VictoriaLogs drops a record with a longer one, and writes nested names
# with dots (its FAQ, "What is the maximum supported field name length").
MAX_KEY = 128
MAX_DEPTH = 6
MAX_ITEMS = 64
MAX_NODES = 1024
# Text is redacted with this much beyond the cut, so that a secret lying across it is still seen.
_MARGIN = 2048
# Reading text costs time, although only what fits in the line is kept: this is read of the fields
# of a record and of an exception. The message, and the contract's fields together, have room for
# one long text.
MAX_TEXT = 14_336
# Text of this length is always shown: short fields are kept next to a large one.
_SHORT = 256
CUT = "…[cut]"

_URLS = (SplitResult, ParseResult, DefragResult)
_URLS_OF_BYTES = (SplitResultBytes, ParseResultBytes, DefragResultBytes)
_TO_TEXT = (decimal.Decimal, uuid.UUID, datetime.timedelta, os.PathLike)


class Sanitizer:
    """One pass over the values of one record; `truncated` is True once something was cut.

    `room` is the number of characters of text that it reads; later text is shown as cut. `secrets`
    are texts that are masked wherever they are.
    """

    def __init__(
        self, redactor: Redactor | None, room: int = MAX_TEXT, secrets: tuple[str, ...] = ()
    ) -> None:
        self.redactor = redactor
        self._secrets = secrets
        self.truncated = False
        self._nodes = MAX_NODES
        self._room = room
        self._contract_room = MAX_STRING + _MARGIN
        self._open: set[int] = set()

    def text(self, text: str, limit: int = MAX_STRING) -> str:
        """`text` redacted, cut to `limit` characters, and encodable as UTF-8."""
        cost = min(len(text), limit + _MARGIN)
        if cost > self._room:
            # Not a part of it: a secret across the end of that part would not be seen.
            return self._cut_text("")
        self._room -= cost
        over = len(text) > limit
        if over:
            self.truncated = True
            text = text[: limit + _MARGIN]
        text = encodable(text)
        if self.redactor is not None:
            for secret in self._secrets:
                text = text.replace(secret, MASK)
            text = redact(self.redactor, text)
        if len(text) > limit:
            self.truncated = True
            over = True
            text = text[:limit]
        return text + CUT if over else text

    @property
    def full(self) -> bool:
        """Whether there is no room for more text."""
        return self._room < _SHORT

    def spend(self, count: int) -> None:
        """Subtract text that was read elsewhere from the room."""
        self._room = max(0, self._room - count)

    def make_room(self) -> None:
        """Let the next field be shown if it is short."""
        self._room = max(self._room, _SHORT)

    def message(self, text: str) -> str:
        """The message, which has separate room."""
        room, self._room = self._room, MAX_STRING + _MARGIN
        clean = self.text(text)
        self._room = room
        return clean

    def name(self, text: str) -> str:
        """A name of at most MAX_KEY bytes."""
        self._room = max(self._room, MAX_KEY)
        name = self.text(text, MAX_KEY)
        if len(name) <= MAX_KEY // 4:
            return name
        data = name.encode()
        if len(data) <= MAX_KEY:
            return name
        self.truncated = True
        return data[: MAX_KEY - len(CUT.encode())].decode(errors="ignore") + CUT

    def member(self, key: object, value: object, depth: int = 0) -> Any:
        """The value that may be shown under `key`."""
        if value is None or value is True or value is False:
            return value
        name = key if type(key) is str else safe_text(key)
        if self.redactor is not None and self.redactor.is_secret_key(name):
            return MASK
        return self.value(value, depth)

    def contract_value(self, value: object) -> Any:
        """The value of a contract field; these have separate room."""
        self._nodes = max(self._nodes, 2)  # an enum needs two
        room, self._room = self._room, max(self._contract_room, _SHORT)
        clean = self.value(value)
        self._contract_room, self._room = self._room, room
        return clean

    def value(self, value: object, depth: int = 0) -> Any:
        """`value` as str, int, float, bool, None, list or dict."""
        self._nodes -= 1
        if self._nodes < 0:
            self.truncated = True
            return CUT
        kind = type(value)
        if kind is str:
            return self.text(value)  # type: ignore[arg-type]
        if value is None or kind is bool:
            return value
        # issubclass and not isinstance, which asks a lazy object for its class and so loads it.
        if issubclass(kind, int):
            return self._integer(int.__index__(value))  # type: ignore[arg-type]
        if issubclass(kind, float):
            number = float.__float__(value)  # type: ignore[arg-type]
            return number if math.isfinite(number) else float.__repr__(number)
        if issubclass(kind, str):
            return self.text(str.__str__(value))
        return self._other(value, kind, depth)

    def _integer(self, number: int) -> int | str:
        if CARD_INT_MIN <= number < CARD_INT_MAX and self.redactor is not None:
            digits = str(number)
            if is_card_number(digits):
                return MASK
        if INT_MIN <= number <= INT_MAX:
            return number
        # The conversion of a huge integer to decimal is quadratic, and Python may refuse it.
        return str(number) if number.bit_length() <= 4096 else self._cut_text(hex(number)[:64])

    def _cut_text(self, text: str) -> str:
        self.truncated = True
        return text + CUT

    def _other(self, value: Any, kind: type, depth: int) -> Any:
        if issubclass(kind, bytes | bytearray | memoryview):
            return self.text(_take_head(value).decode("utf-8", "backslashreplace"))
        if issubclass(kind, datetime.datetime | datetime.date | datetime.time):
            return iso_text(value)
        if issubclass(kind, enum.Enum):
            return self.value(value.value, depth + 1) if depth < MAX_DEPTH else CUT
        if issubclass(kind, _TO_TEXT):
            return self.text(safe_text(value))
        if issubclass(
            kind, _URLS + _URLS_OF_BYTES
        ):  # as one text, in which user and password are masked
            return self.value(value.geturl(), depth)
        if issubclass(kind, Mapping | list | tuple | set | frozenset | ItemsView):
            return self._container(value, kind, depth)
        return self.text(describe(value, self.redactor))

    def _container(self, value: Any, kind: type, depth: int) -> Any:
        if id(value) in self._open:
            return "[circular]"
        if depth >= MAX_DEPTH:
            self.truncated = True
            return CUT
        self._open.add(id(value))
        try:
            if issubclass(kind, Mapping):
                return self._mapping(value, depth)
            if self.redactor is not None and issubclass(kind, tuple | list):
                names = getattr(kind, "_fields", ())
                if any(map(self._is_secret_name, names)):  # a named tuple
                    return self._mapping(dict(zip(names, value, strict=False)), depth)
                if len(value) == 2 and self._is_secret_name(value[0]):  # a header, an item
                    shown = value[1] if type(value[1]) in (bool, type(None)) else MASK
                    return [self.value(value[0], depth + 1), shown]
            return self._sequence(value, depth)
        except Exception:
            # A container class of the application that fails while it is read.
            return f"<unreadable {type_name(kind)}>"
        finally:
            self._open.discard(id(value))

    def _is_secret_name(self, name: object) -> bool:
        """Whether `name` is one word of text or bytes, and the key of a secret."""
        if type(name) is bytes:
            name = name[:200].decode("latin-1")
        if type(name) is not str or self.redactor is None or len(name.split(None, 1)) != 1:
            return False
        return self.redactor.is_secret_key(name)

    def _mapping(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for count, (key, item) in enumerate(value.items()):
            if count >= MAX_ITEMS or self.full:
                self.truncated = True
                out[CUT] = f"{len(value) - count} more"
                break
            name = key if type(key) is str else safe_text(key)
            shown = self.name(name)
            if shown in out:  # 1 and "1"
                shown = self.name(f"{name} ({count + 1})")
            out[shown] = self.member(name, item, depth + 1)
        return out

    def _sequence(self, value: Any, depth: int) -> list[Any]:
        out = []
        for count, item in enumerate(value):
            if count >= MAX_ITEMS or self.full:
                self.truncated = True
                out.append(f"{CUT} {len(value) - count} more")
                break
            out.append(self.value(item, depth + 1))
        return out


def redact(redactor: Redactor, text: str) -> str:
    """`text` without secrets; when the rules themselves fail, nothing of the text is shown."""
    try:
        return redactor.text(text) if redactor.may_hold_secret(text) else text
    except Exception:
        return MASK


def _take_head(value: bytes | bytearray | memoryview) -> bytes:
    if isinstance(value, memoryview):
        value = value.cast("B") if value.contiguous else b"<memoryview>"
    return bytes(value[: MAX_STRING + _MARGIN])
