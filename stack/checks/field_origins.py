"""Says of each field of a record what it was read from, by comparing the record with its line.

The agent's rules are not repeated here: what the comparison does not show is not said.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from stack.components.agent_expressions import MOST_NESTED
from stack.engines import Record
from stack.records.contract import ASIDE, LEVELS, fields, reserved_names, texts_of

TEXT_FORMAT = "text"
# Fields of the agent that hold what it did not use, and what each says of the field beside it.
KEPT_BESIDE = {
    "timestamp_original": "the engine does not accept this time",
    "timestamp_invalid": "it cannot be read as a time",
}


@dataclass(frozen=True)
class Line:
    """What was read: one line, or several that became one record. `arrived`: it has no time."""

    text: str
    service: str
    arrived: bool

    @property
    def values(self) -> dict[str, Any] | None:
        """Its fields; None if it is not one JSON object."""
        try:
            value = json.loads(self.text.strip("\ufeff \t\r"))
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict) else None


@dataclass(frozen=True)
class Origins:
    """Where each field comes from, what was moved aside or left out, and what may be set."""

    fields: dict[str, str]
    aside: list[str]
    advice: list[str]


def explain_fields(line: Line, record: Record) -> Origins:
    """How a line became a record."""
    values = line.values if record.get("format") != TEXT_FORMAT else None
    origins = {name: _origin(line, values, record, name) for name in record}
    return Origins(
        origins,
        [*_moved(values or {}, record), *_left_out(values or {}, record)],
        list(_advice(line, values, record, origins)),
    )


def _origin(line: Line, values: Mapping[str, Any] | None, record: Record, name: str) -> str:
    text = texts_of({name: record[name]})[name]
    if fixed := _set_by_agent(line, record, name):
        return fixed
    if values is None:
        if name == "message":
            return "the whole line" if text == line.text else "the line, in part"
        return "the shape of the text"
    written = [(what, _at(values, path)) for path, what in _written_as(name, record)]
    read = [(what, value) for what, value in written if value is not None]
    if read:
        # Of several levels, the agent keeps the one that it does not know.
        kept = record.get("level_original") if name == "level" else None
        what, value = next((item for item in read if _text(item[1]) != kept), read[0])
        return what + _difference(name, text, value)
    if name.startswith(ASIDE) and name.removeprefix(ASIDE) in values:
        return f"moved aside from `{name.removeprefix(ASIDE)}`"
    if name == "message":
        return "the whole line, which has no message"
    found = next((path for path, value in _paths(values) if _text(value) == text), "")
    if not found and text in str(record.get("stack_trace", "")):
        return "the stack trace"
    return f"`{found}`" if found else "made by the agent"


def _set_by_agent(line: Line, record: Record, name: str) -> str:
    """Where a field comes from that no line can set; empty for others."""
    values = line.values or {}
    known = fields().get(name)
    if name == "timestamp" and (line.arrived or any(kept in record for kept in KEPT_BESIDE)):
        return "time of arrival"
    if name == "host":
        return "the agent: stack.host, or the name of this machine"
    if name == "log.file.path":
        return "the agent: the file that was read"
    if name == "format":
        return "the agent: the line is not one JSON object that it can take apart"
    if name in KEPT_BESIDE:
        return f"moved aside from `timestamp`: {KEPT_BESIDE[name]}"
    if known and known.set_by == "agent":
        return f"the agent: {known.description}"
    is_text = record.get("format") == TEXT_FORMAT
    has_own = not is_text and any(_at(values, path) for path, _ in _written_as(name, record))
    if name == "service_name" and record[name] == line.service and not has_own:
        return "the file's entry in agent.files, or --service"
    if name == "environment" and not has_own:
        return "the setting stack.environment"
    return ""


def _written_as(name: str, record: Record) -> Iterator[tuple[str, str]]:
    """The names under which a field may be in a line, and what to call it then."""
    known = fields().get(name)
    for path in (name, *(known.aliases if known else ())):
        if f"{ASIDE}{path}" not in record:
            yield path, "its own field" if path == name else f"alias `{path}`"


def _difference(name: str, text: str, written: Any) -> str:
    if _text(written) == text or (name == "timestamp" and _same_time(text, written)):
        return ", as JSON text" if isinstance(written, dict | list) else ""
    return f", read from {_text(written)!r}"


def _same_time(text: str, written: Any) -> bool:
    try:
        return datetime.fromisoformat(text) == datetime.fromisoformat(str(written))
    except (ValueError, TypeError):
        return False


def _moved(values: Mapping[str, Any], record: Record) -> Iterator[str]:
    """What is kept under another name."""
    for name in values:
        if f"{ASIDE}{name}" in record:
            reserved = name in reserved_names()
            reason = "the agent or the engine sets that name" if reserved else "it has to be text"
            yield f"`{name}` is {ASIDE}{name}: {reason}"
    for name, reason in KEPT_BESIDE.items():
        if name in record:
            yield f"`timestamp` is {name}: {reason}"


def _left_out(values: Mapping[str, Any], record: Record) -> Iterator[str]:
    """What is not in the record: empty values."""
    for name, value in values.items():
        if value in (None, "") and name not in record and f"{ASIDE}{name}" not in record:
            yield f"`{name}` is left out: it has no value"


def _advice(
    line: Line, values: Mapping[str, Any] | None, record: Record, origins: Mapping[str, str]
) -> Iterator[str]:
    """What to set where the record is not what was meant."""
    if values is None and line.text.lstrip("\ufeff \t").startswith("{"):
        yield f"{_why_text(line)}. Write one JSON object per line, and nothing else on it"
    if origins.get("timestamp") == "time of arrival":
        if "timestamp_original" in record:
            yield (
                "the time is too old or too far ahead: archive.lateness says how old a record may "
                "be. ./logstack import brings older files"
            )
        else:
            yield "no time was read: write `timestamp` in ISO 8601 with an offset, such as Z"
    if values is not None and "level" not in record:
        yield f"no level was read: write `level` as one of {', '.join(LEVELS)}"
    if str(record.get("level", LEVELS[0])) not in LEVELS:
        yield f"rules and --level know {', '.join(LEVELS)}: write `level` as one of these"
    if origins.get("message", "").startswith("the whole line, "):
        yield "no message was read: write it as `message`"
    if origins.get("service_name", "").startswith("the file's entry"):
        yield (
            "the service is that of the file: write `service_name`, or set `service` in "
            "[[agent.files]]"
        )
    if any(
        name.startswith(ASIDE) and name.removeprefix(ASIDE) in (values or {}) for name in record
    ):
        yield f"search for a field that was moved aside by its new name, {ASIDE}..."


def _why_text(line: Line) -> str:
    """Why a line that begins like a record of JSON is stored as text."""
    try:
        value = json.loads(line.text.strip("\ufeff \t\r"))
    except ValueError as error:
        return f"the line is not JSON: {error}"
    except RecursionError:
        value = None
    if _depth(value) > MOST_NESTED:
        return f"the line is nested more than {MOST_NESTED} levels deep"
    return "the line is JSON that the agent does not take apart"


def _depth(value: Any) -> int:
    """How many levels of objects and lists; a large number where there are too many to count."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [x for item in level for x in (item.values() if isinstance(item, dict) else item)]
    return depth if value is not None else MOST_NESTED + 1


def _at(values: Mapping[str, Any], path: str) -> Any:
    """The value at a path with dots, or of a name that has dots itself; None if there is none."""
    if path in values:
        return values[path]
    head, dot, rest = path.partition(".")
    inner = values.get(head)
    return _at(inner, rest) if dot and isinstance(inner, Mapping) else None


def _paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        yield f"{prefix}{name}", value
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{name}.")


def _text(value: Any) -> str:
    return texts_of({"": value})[""]
