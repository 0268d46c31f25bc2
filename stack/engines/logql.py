"""A Selection as LogQL. Used by loki.py and by the tests of queries."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from stack.engines import Selection
from stack.records.contract import agent_fields, fields, levels_from
from stack.settings.tables import ShorterRetention

GREP_FIELDS = ("message", "exception_message", "stack_trace")
# Text that JSON writes as it is: a line that has such a value contains it literally.
LITERAL = re.compile(r"[A-Za-z0-9_.:@ -]+")
# Text that a regular expression matches literally, too.
PLAIN_PATTERN = re.compile(r"[A-Za-z0-9_:@-]+")
# The message of a record, or the line where it has none: text, and JSON of another shape.
MESSAGE = (
    '{{ if eq .format "text" }}{{ __line__ }}{{ else if .m0 }}{{ .m0 }}'
    '{{ else if contains "\\"message\\":" __line__ }}{{ else }}{{ __line__ }}{{ end }}'
)
# Metadata whose name is no field of the contract.
RENAMED = {"log.file.path": "log_file_path"}


def to_logql(selection: Selection) -> str:
    """The selection as a LogQL query of lines; its times are parameters of the request.

    Labels select streams, metadata is compared, and only what stands in the line is parsed.
    """
    labels, beside, inside = _by_place(selection.matches)
    wanted = _wanted(inside, bool(selection.grep))
    return " ".join(
        [
            _streams(labels, selection.level),
            *(f"| {name}={quote(value)}" for name, value in beside.items()),
            *(f"|= {quote(value)}" for value in inside.values() if LITERAL.fullmatch(value)),
            *_grep_line(selection.grep),
            *_parse(wanted),
            *(_equal(number, name, value) for number, (name, value) in enumerate(inside.items())),
            *_grep_fields(selection.grep),
            # They would be sent back with every line, and Loki cannot send U+FFFD in them.
            *([f"| drop {', '.join(wanted)}"] if wanted else []),
        ]
    )


def selector_of(kind: ShorterRetention) -> str:
    """The streams of a kind of records; both of its words are labels in Loki."""
    labels = {"service_name": kind.service, "level": kind.level}
    matchers = [f"{name}={quote(text)}" for name, text in labels.items() if text]
    return "{" + ", ".join(matchers) + "}"


def quote(text: str) -> str:
    """Text as a LogQL string."""
    return json.dumps(text, ensure_ascii=False)


def _by_place(matches: Mapping[str, str]) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """What is a label, what stands beside the line and what stands in it."""
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


def _wanted(inside: Mapping[str, str], grep: bool) -> dict[str, list[str]]:
    """The paths of everything that is looked at in the line, by the name it gets in the query."""
    wanted = {}
    for number, name in enumerate(inside):
        wanted[f"f{number}"] = [name]
        if "." in name:  # a nested value, or a name with a dot in it
            wanted[f"n{number}"] = name.split(".")
    if grep or "message" in inside:
        wanted |= {f"m{number}": [name] for number, name in enumerate(GREP_FIELDS)}
    return wanted


def _parse(wanted: Mapping[str, list[str]]) -> list[str]:
    """One parser for all of it. A line that is no JSON has no such fields; that is no error."""
    if not wanted:
        return []
    paths = (f"{name}={quote(_path(keys))}" for name, keys in wanted.items())
    return [f"| json {', '.join(paths)} | drop __error__, __error_details__"]


def _path(keys: list[str]) -> str:
    return "".join(f"[{json.dumps(key, ensure_ascii=False)}]" for key in keys)


def _equal(number: int, name: str, value: str) -> str:
    if name == "message":
        return f"| label_format m0=`{MESSAGE}` | m0={quote(value)}"
    either = f" or n{number}={quote(value)}" if "." in name else ""
    return f"| f{number}={quote(value)}{either}"


def _grep_line(pattern: str) -> list[str]:
    """What a line must contain so that a field of it can match: quick, and never too strict."""
    return [f"|= {quote(pattern)}"] if PLAIN_PATTERN.fullmatch(pattern) else []


def _grep_fields(pattern: str) -> list[str]:
    if not pattern:
        return []
    anywhere = quote(f"(?s:.*)(?:{pattern})(?s:.*)")
    tests = " or ".join(f"m{number}=~{anywhere}" for number in range(len(GREP_FIELDS)))
    return [f"| label_format m0=`{MESSAGE}`", f"| {tests}"]
