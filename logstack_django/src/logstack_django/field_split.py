"""Sanitizes the fields of a record and separates those of the contract from the others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from logstack_django.encoding import Encoder
from logstack_django.fields import (
    COERCE,
    COERCED_FIELDS,
    FIELD_ORDER,
    ID,
    OWNED_FIELDS,
    UnfitError,
)
from logstack_django.sanitize import CUT, MAX_KEY, Sanitizer
from logstack_django.text import safe_text

MAX_FIELDS = 64  # beside those of the contract


def split_fields(
    fields: Mapping[Any, Any], sanitizer: Sanitizer, encode: Encoder
) -> tuple[dict[str, Any], dict[str, Any]]:
    """`fields` sanitized: (those of the contract, in its types; the others).

    A field whose name or value the contract does not allow is among the others as extra_<name>.
    """
    known: dict[str, Any] = {}
    others: dict[str, Any] = {}
    left_out = 0
    for key, value in fields.items():
        if value is None:
            continue
        name = key if type(key) is str else safe_text(key)
        kind = COERCED_FIELDS.get(name)
        if kind is None and len(others) >= MAX_FIELDS:
            left_out += type(value) is not str or value != ""
            continue
        # A contract field's own name is no reason to mask it (session_id is a hash).
        if kind is None:
            sanitizer.make_room()
            clean = sanitizer.member(name, value)
        elif kind == ID and type(value) is int:
            clean = value  # an id may look like a card number
        else:
            clean = sanitizer.contract_value(value)
        if clean is None or clean == "":
            continue
        if kind is not None:
            try:
                known[name] = COERCE[kind](clean)
                continue
            except UnfitError:
                name = f"extra_{name}"
        elif name in OWNED_FIELDS or not name:
            name = f"extra_{name}"
        if len(others) >= MAX_FIELDS:
            left_out += 1
            continue
        others[sanitizer.name(name)] = clean
    if left_out:
        sanitizer.truncated = True
        others[CUT] = f"{left_out} more fields"
    return known, _shorten_names(others, encode) or others


def _shorten_names(
    fields: Mapping[str, Any], encode: Encoder, room: int = MAX_KEY
) -> dict[str, Any] | None:
    """`fields` with every dict as JSON text whose names, joined with dots, need more than `room`
    bytes; None where one of its own names does."""
    out: dict[str, Any] = {}
    for name, value in fields.items():
        left = room - len(name.encode())
        if left < 0:
            return None
        if type(value) is dict and value:
            value = _shorten_names(value, encode, left - 1) or encode(value).decode()
        out[name] = value
    return out


def in_order(fields: dict[str, Any]) -> dict[str, Any]:
    """Those of the contract first, in its order."""
    known = {name: fields[name] for name in FIELD_ORDER if name in fields}
    return {**known, **fields}
