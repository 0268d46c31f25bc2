"""The cases of tests/corpus/cases: what is written, how it is read, what must come back.

One file for a library or a kind of line; README.md describes the format. The tests use it, and the
tables of docs/corpus.md.
"""

from __future__ import annotations

import base64
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any, Literal

FOLDER = Path(__file__).parent / "cases"
CANNOT = Path(__file__).parent / "cannot.toml"

Read = Literal["file", "docker", "journal"]
READS = ("file", "docker", "journal")
# Where a record's time comes from. `source` is Docker's or the journal's time of the line.
TIMES = ("own", "arrival", "source")
# An expected value that any value fits, or none.
ANY = "{any}"
# At the end of lines: the file ends there, without a newline.
END = "{end}"
OF_FILE = {"about", "case", "source", "read"}
OF_CASE = {
    *("name", "source", "read", "lines", "base64", "entries", "fields"),
    *("time", "records", "absent", "hidden", "somewhere"),
}

NOW = re.compile(
    r"\{now(?: (?P<offset>[+-]\d+[smhd]))?(?: @(?P<zone>[+-]\d\d:\d\d))?:(?P<format>[^}]+)\}"
)
REPEAT = re.compile(r"\{repeat:(\d+)\|(.+?)\|\}", re.DOTALL)
QUOTED = re.compile(r"\{line (\d+)(?:-(\d+))?\}|\{field (?:(\d+) )?([^}]+)\}")
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
# What is no directive of strftime: parts of a second, epochs, an offset with a colon.
FINER: Mapping[str, Callable[[Moment], str]] = {
    "%3f": lambda now: f"{now.ns // 10**6 % 1000:03}",
    "%6f": lambda now: f"{now.ns // 1000 % 10**6:06}",
    "%9f": lambda now: f"{now.ns % 10**9:09}",
    "%s": lambda now: str(now.ns // 10**9),
    "%Q": lambda now: str(now.ns // 10**6),
    "%K": lambda now: str(now.ns // 1000),
    "%N": lambda now: str(now.ns),
    "%:z": lambda now: f"{now.local():%z}"[:3] + ":" + f"{now.local():%z}"[3:],
}
# How many nanoseconds a text with such a directive leaves out.
PRECISION = {"%9f": 1, "%N": 1, "%6f": 1000, "%K": 1000, "%3f": 10**6, "%Q": 10**6}


class CaseError(Exception):
    """A file of cases that cannot be read: which file, which case, what is expected."""


@dataclass(frozen=True)
class Moment:
    """An instant in nanoseconds since the epoch, with the offset in which it is written."""

    ns: int
    zone: timezone = timezone.utc  # noqa: UP017

    def local(self) -> datetime:
        return datetime.fromtimestamp(self.ns // 10**9, self.zone)

    def format(self, text: str) -> str:
        for name, write in FINER.items():
            text = text.replace(name, write(self))
        return self.local().strftime(text)

    def as_contract(self) -> str:
        """In UTC with microseconds, as `timestamp` has it."""
        utc = Moment(self.ns)
        return utc.format("%Y-%m-%dT%H:%M:%S.%6fZ")


@dataclass(frozen=True)
class Case:
    """One case. `lines` and `base64` are its bytes, `entries` raw entries of Docker or the journal.

    `records` are what must come back, in any order: the named fields with exactly these values. No
    record has a field of `absent`, no value a text of `hidden`, some value each of `somewhere`.
    """

    file: str
    name: str
    source: str
    records: tuple[Mapping[str, Any], ...]
    read: Read = "file"
    lines: str = ""
    base64: str = ""
    entries: tuple[Any, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    time: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    somewhere: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        return f"{self.file}/{self.name}"

    def written(self, now: int) -> list[bytes]:
        """The bytes, each part after a pause; `now` is the case's time in nanoseconds."""
        if self.base64:
            return [base64.b64decode(self.base64)]
        text = expand(self.lines, now)
        whole = text.endswith("\n") or self.read != "file"
        text = text.removesuffix(END) if text.endswith(END) or whole else f"{text}\n"
        parts = text.split("{pause}")
        return [part.encode("utf-8", "surrogatepass") for part in parts]

    def text_lines(self, now: int) -> list[str]:
        return expand(self.lines, now).replace("{pause}", "").removesuffix(END).split("\n")

    def times(self) -> tuple[str, ...]:
        """Where the time of each record comes from."""
        default = "own" if NOW.search(self.lines) else self.other_time
        given = self.time or (default,)
        return given if len(given) == len(self.records) else given * len(self.records)

    @property
    def other_time(self) -> str:
        """Where a line's time comes from that has none itself."""
        return "arrival" if self.read == "file" else "source"

    def own_times(self, now: int) -> list[str]:
        """The first time of each line that has one, as the contract writes it."""
        found = [NOW.search(line) for line in self.lines.split("\n")]
        return [truncated(match, now).as_contract() for match in found if match]

    def expected(self, now: int) -> list[dict[str, Any]]:
        """The records, with what is quoted from the lines."""
        lines = self.text_lines(now)
        if self.read == "file":  # agents leave out blank lines of files, also inside a trace
            lines = [line for line in lines if line.strip()]
        return [
            {name: quote(value, lines, now) for name, value in record.items()}
            for record in self.records
        ]


def moment_of(match: re.Match[str], now: int) -> Moment:
    offset = match["offset"]
    delta = timedelta(**{UNITS[offset[-1]]: int(offset[:-1])}) if offset else timedelta()
    zone = datetime.fromisoformat(f"2000-01-01T00:00:00{match['zone'] or '+00:00'}").utcoffset()
    assert zone is not None
    return Moment(now + int(delta.total_seconds()) * 10**9, timezone(zone))


def truncated(match: re.Match[str], now: int) -> Moment:
    """The moment as exactly as its text says it."""
    exact = moment_of(match, now)
    step = min((PRECISION[name] for name in PRECISION if name in match["format"]), default=10**9)
    return Moment(exact.ns - exact.ns % step, exact.zone)


def expand(text: str, now: int) -> str:
    text = REPEAT.sub(lambda match: match[2] * int(match[1]), text)
    return NOW.sub(lambda match: moment_of(match, now).format(match["format"]), text)


def quote(value: Any, lines: list[str], now: int) -> Any:
    """A value with `{line 2}`, `{line 2-5}`, `{field err.stack}` of the first line, or a time."""
    if not isinstance(value, str):
        return value

    def quoted(match: re.Match[str]) -> str:
        if match[1]:
            return "\n".join(lines[int(match[1]) - 1 : int(match[2] or match[1])])
        return field_of(json.loads(lines[int(match[3] or 1) - 1]), match[4])

    return QUOTED.sub(quoted, expand(value, now))


def field_of(value: Any, path: str) -> str:
    """The value at a dotted path; as compact JSON unless it is text."""
    while path:
        name = path if path in value else path.partition(".")[0]
        value, path = value[name], path.removeprefix(name).removeprefix(".")
    return value if isinstance(value, str) else compact(value)


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


@cache
def load() -> tuple[Case, ...]:
    """Every case. Raises CaseError."""
    return tuple(case for path in sorted(FOLDER.glob("*.toml")) for case in read_file(path))


def read_file(path: Path) -> list[Case]:
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    check_names(document, OF_FILE, path.name)
    defaults: dict[str, Any] = {
        name: document[name] for name in ("source", "read") if name in document
    }
    return [case_from(path.stem, {**defaults, **values}) for values in document["case"]]


def case_from(file: str, values: dict[str, Any]) -> Case:
    name = values.get("name", "?")
    where = f"{file}/{name}"
    check_names(values, OF_CASE, where)
    time = values.get("time", ())
    case = Case(
        file=file,
        **{
            **values,
            "records": tuple(values["records"]),
            "entries": tuple(values.get("entries", ())),
            "time": (time,) if isinstance(time, str) else tuple(time),
            "absent": tuple(values.get("absent", ())),
            "hidden": tuple(values.get("hidden", ())),
            "somewhere": tuple(values.get("somewhere", ())),
        },
    )
    if case.read not in READS:
        raise CaseError(f"{where}.read: expected one of {', '.join(READS)}, got {case.read}")
    for found in case.time:
        if found not in TIMES:
            raise CaseError(f"{where}.time: expected one of {', '.join(TIMES)}, got {found}")
    return case


def check_names(values: Mapping[str, Any], known: set[str], where: str) -> None:
    if unknown := sorted(set(values) - known):
        raise CaseError(f"{where}: expected {', '.join(sorted(known))}, got {', '.join(unknown)}")


@cache
def cannot(agent: str) -> Mapping[str, str]:
    """The cases that an agent cannot do, each with the reason. Raises CaseError."""
    document = tomllib.loads(CANNOT.read_text(encoding="utf-8"))
    known = {case.id for case in load()}
    found: dict[str, str] = {}
    for reason, names in document.get(agent, {}).items():
        for name in names:
            if name not in known or name in found:
                raise CaseError(f"cannot.toml: {name}: expected one case once")
            found[name] = reason
    return found
