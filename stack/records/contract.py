"""The log-record contract, read from log_record.schema.json: names, types and placements of fields.

Engines type records with it, and the agents' templates place fields.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

SCHEMA_FILE = Path(__file__).parents[1] / "log_record.schema.json"

Placement = Literal["label", "metadata", "line"]
Value = str | int | float | bool


@dataclass(frozen=True)
class Color:
    """One colour in the words of each display: Grafana's name for it, the web's code in charts and
    for text on white, and a style of Rich for terminals."""

    grafana: str
    chart: str
    text: str
    terminal: str


# Grafana's own colours of levels, so that every display shows a level alike.
LEVEL_COLORS = {
    "DEBUG": Color("blue", "#3274d9", "#3274d9", "dim"),
    "INFO": Color("green", "#56a64b", "#2f7d32", "green"),
    "WARNING": Color("yellow", "#e0b400", "#9a6700", "yellow"),
    "ERROR": Color("red", "#e02f44", "#cf222e", "red"),
    "CRITICAL": Color("purple", "#8f3bb8", "#8f3bb8", "bold white on red"),
}
LEVELS = tuple(LEVEL_COLORS)
# Numbers as JSON writes them.
INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
# The fields that a search for text looks at.
SEARCHED_FIELDS = ("message", "exception_message", "stack_trace")
# Values of `format`: the line is text, kept as it came.
TEXT_FORMATS = ("text", "access")
# The fields that an agent reads from such a line, which Loki stores beside it.
TEXT_FIELDS = (
    *("method", "path", "status", "response_bytes", "duration_ms"),
    "exception_message",
)
# The prefix of a line's field whose name is reserved for the agent or the engine.
ASIDE = "extra_"
# Where the agent stores the file name of a line that is not a record of the contract.
LOG_FILE = "log.file.path"
# Fields that VictoriaLogs adds, and fields that OTLP adds to every record.
ENGINE_FIELDS = ("", "_msg", "_time", "_stream", "_stream_id")
OTLP_FIELDS = ("severity_number", "severity_text", "scope.name", "scope.version")


@dataclass(frozen=True)
class Field:
    """One field of the contract. `aliases` are names under which others write it, nested ones with
    dots."""

    name: str
    types: tuple[str, ...]
    placement: Placement
    set_by: str
    description: str
    aliases: tuple[str, ...] = ()

    def parse(self, text: str) -> Value:
        """The typed value of an engine's text; text that does not fit the type stays text."""
        if "integer" in self.types:
            # `007` and ` 7` are not integers in the contract, and the library writes what exceeds
            # 64 bits as text.
            fits = INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63
            return int(text) if fits else text
        if "number" in self.types:
            number = float(text) if NUMBER.fullmatch(text) else math.inf
            return number if math.isfinite(number) else text
        if "boolean" in self.types:
            return {"true": True, "false": False}.get(text, text)
        return text


@cache
def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a record."""
    document: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return document


@cache
def fields() -> dict[str, Field]:
    """All fields by name, in the contract's order."""
    return {
        name: Field(
            name=name,
            types=tuple(_as_list(definition["type"])),
            placement=definition["x-placement"],
            set_by=definition["x-set-by"],
            description=definition["description"],
            aliases=tuple(definition.get("x-aliases", ())),
        )
        for name, definition in schema()["properties"].items()
    }


def names(placement: Placement) -> list[str]:
    """The names of the fields with a placement, in the contract's order."""
    return [field.name for field in fields().values() if field.placement == placement]


def agent_fields() -> list[str]:
    """The fields that an agent adds to a record, without labels."""
    return [f.name for f in fields().values() if f.set_by == "agent" and f.placement == "line"]


def level_spellings() -> dict[str, str]:
    """The contract's level for each spelling in lower case, also for numbers as text."""
    spellings: dict[str, list[str]] = schema()["properties"]["level"]["x-spellings"]
    return {text: level for level, texts in spellings.items() for text in texts}


def syslog_levels() -> dict[str, str]:
    """The contract's level for each severity of syslog, 0 to 7, as text."""
    levels: list[str] = schema()["properties"]["level"]["x-syslog"]
    return {str(number): level for number, level in enumerate(levels)}


def duration_factors() -> dict[str, float]:
    """Aliases of duration_ms in another unit, with the milliseconds of one."""
    found: dict[str, float] = schema()["properties"]["duration_ms"]["x-factors"]
    return found


def reserved_names() -> list[str]:
    """Names that the agent or the engine sets: a line's own fields with them are renamed."""
    labels = [f.name for f in fields().values() if f.set_by == "agent" and f.placement == "label"]
    return [*labels, *agent_fields(), LOG_FILE, *ENGINE_FIELDS, *OTLP_FIELDS]


def rename_reserved(line: Mapping[str, Any]) -> dict[str, Any]:
    """A line's fields with reserved names renamed as the agent does: `host` is `extra_host`."""
    reserved, labels = set(reserved_names()), set(names("label"))
    return {
        f"{ASIDE}{name}"
        if name in reserved or (name in labels and isinstance(value, Mapping | list))
        else name: value
        for name, value in line.items()
    }


def texts_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Each value as text, as engines store it; objects and lists as compact JSON."""
    return {name: _as_text(value) for name, value in values.items()}


def parse_record(values: Mapping[str, str]) -> dict[str, Value]:
    """A record from texts of an engine: fields of the contract first and typed, others as text."""
    record: dict[str, Value] = {}
    rest = set(values)
    for name, parse in _parsers():  # each record of a search comes here
        if name in rest:
            rest.remove(name)
            record[name] = parse(values[name]) if parse else values[name]
    for name in sorted(rest):
        record[name] = values[name]
    return record


@cache
def _parsers() -> list[tuple[str, Callable[[str], Value] | None]]:
    """Every field with its parser; None for text."""
    return [
        (name, None if field.types == ("string",) else field.parse)
        for name, field in fields().items()
    ]


def normalise(line: Mapping[str, Any]) -> dict[str, Value]:
    """A record of the application in the form in which an engine returns it."""
    texts = texts_of(line)
    return parse_record(
        {name: text for name, text in texts.items() if text != "" or name == "message"}
    )


def levels_from(level: str) -> list[str]:
    """`level` and all above it. Raises ValueError for one that is not in the contract."""
    if level not in LEVELS:
        raise ValueError(f"expected one of {', '.join(LEVELS)}, got {level!r}")
    return list(LEVELS[LEVELS.index(level) :])


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _as_text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if value is None:
        return ""
    # Engines that flatten objects do not keep the order of their names.
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


# The service_name of the archiver's and of the monitor's records; alert rules use them.
OWN_SERVICES = "logstack-"  # begins the names of the stack's services, and of their units
ARCHIVER_SERVICE = "logstack-archiver"
MONITOR_SERVICE = "logstack-monitor"
