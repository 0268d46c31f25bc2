"""A Selection as LogQL. Used by loki.py and by the tests of queries."""

from __future__ import annotations

import re
from collections.abc import Mapping

from stack.common import quote
from stack.engines import Selection
from stack.records.contract import (
    SEARCHED_FIELDS,
    TEXT_FIELDS,
    agent_fields,
    fields,
    levels_from,
)
from stack.settings.tables import ShorterRetention

# Text that JSON does not escape: a line with such a value contains it literally.
LITERAL = re.compile(r"[A-Za-z0-9_.:@ -]+")
# Text that is also a regular expression for itself.
PLAIN_PATTERN = re.compile(r"[A-Za-z0-9_:@-]+")
# The message of a record; the line where it has none (text, and JSON of another shape).
MESSAGE = (
    '{{ if or (eq .format "text") (eq .format "access") }}{{ __line__ }}{{ else if .m0 }}{{ .m0 }}'
    '{{ else if contains "\\"message\\":" __line__ }}{{ else }}{{ __line__ }}{{ end }}'
)
# Metadata that has another name in Loki.
RENAMED = {"log.file.path": "log_file_path"}


def to_logql(selection: Selection) -> str:
    """The selection as a LogQL query of lines; its times are parameters of the request.

    Labels select streams, metadata is compared, and only fields in the line are parsed.
    """
    labels, beside, inside = _split_by_place(selection.matches)
    paths = _paths(inside, bool(selection.grep))
    return " ".join(
        [
            _streams(labels, selection.level),
            *(f"| {name}={quote(value)}" for name, value in beside.items()),
            *(f"|= {quote(value)}" for value in inside.values() if LITERAL.fullmatch(value)),
            *_grep_line(selection.grep),
            *_parse(paths),
            *(_compare(number, name, value) for number, (name, value) in enumerate(inside.items())),
            *_grep_fields(selection.grep),
            # Loki would return them with every line, and it cannot return U+FFFD in them.
            *([f"| drop {', '.join(paths)}"] if paths else []),
        ]
    )


def selector_of(kind: ShorterRetention) -> str:
    """The streams of a kind of records; service and level are labels in Loki."""
    labels = {"service_name": kind.service, "level": kind.level}
    matchers = [f"{name}={quote(text)}" for name, text in labels.items() if text]
    return "{" + ", ".join(matchers) + "}"


def _split_by_place(
    matches: Mapping[str, str],
) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """Fields that are labels, metadata beside the line, and fields in the line."""
    labels, beside, inside = {}, {}, {}
    for name, value in matches.items():
        field = fields().get(name)
        if field and field.placement == "label":
            labels[name] = value
        elif name in RENAMED or name in agent_fields() or (field and field.placement == "metadata"):
            beside[RENAMED.get(name, name)] = value
        else:
            inside[name] = value
    return labels, beside, inside


def _streams(labels: dict[str, str], level: str) -> str:
    matchers = [f"{name}={quote(value)}" for name, value in labels.items()]
    if level:
        matchers.append(f"level=~{quote('|'.join(levels_from(level)))}")
    return "{" + ", ".join(matchers or ['service_name=~".+"']) + "}"


def _paths(inside: Mapping[str, str], grep: bool) -> dict[str, list[str]]:
    """The paths in the line that the query needs, by their names in the query."""
    paths = {}
    for number, name in enumerate(inside):
        paths[f"f{number}"] = [name]
        if "." in name:  # a nested value, or a name with a dot in it
            paths[f"n{number}"] = name.split(".")
    if grep or "message" in inside:
        paths |= {f"m{number}": [name] for number, name in enumerate(SEARCHED_FIELDS)}
    return paths


def _parse(paths: Mapping[str, list[str]]) -> list[str]:
    """One parser for all paths. A line that is not JSON lacks the fields and is not an error."""
    if not paths:
        return []
    fields = (f"{name}={quote(_join(keys))}" for name, keys in paths.items())
    return [f"| json {', '.join(fields)} | drop __error__, __error_details__"]


def _join(keys: list[str]) -> str:
    return "".join(f"[{quote(key)}]" for key in keys)


def _compare(number: int, name: str, value: str) -> str:
    if name == "message":
        return f"| label_format m0=`{MESSAGE}` | m0={quote(value)}"
    places = [f"f{number}", *([f"n{number}"] if "." in name else [])]
    if name in TEXT_FIELDS:  # metadata of lines of text
        places.append(name)
    return f"| {' or '.join(f'{place}={quote(value)}' for place in places)}"


def _grep_line(pattern: str) -> list[str]:
    """A fast filter that keeps every line of which a field can match."""
    return [f"|= {quote(pattern)}"] if PLAIN_PATTERN.fullmatch(pattern) else []


def _grep_fields(pattern: str) -> list[str]:
    if not pattern:
        return []
    anywhere = quote(f"(?s:.*)(?:{pattern})(?s:.*)")
    tests = " or ".join(f"m{number}=~{anywhere}" for number in range(len(SEARCHED_FIELDS)))
    return [f"| label_format m0=`{MESSAGE}`", f"| {tests}"]
