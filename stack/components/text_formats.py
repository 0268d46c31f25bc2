"""What the agent reads from lines of text: shapes of well-known programs, stack traces, secrets.

Data for otelcol/text.yaml.j2: a further format is a further row. The regular expressions are Go's
(RE2), without look-around.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass

from stack.records.contract import LEVELS, level_spellings, syslog_levels

# The name under which lines get `format` and the alert rules and engines know them.
TEXT, ACCESS = "text", "access"

# Signs that stand for a level in lines of Redis, besides the contract's spellings.
SIGNS = {"DEBUG": [".", "-"], "INFO": ["*"], "WARNING": ["#"]}

# The first and the last character of each group of lines, in which few shapes are to be tried.
BEGINNINGS = {
    "digit": ("0", "9"),
    "upper": ("A", "Z"),
    "lower": ("a", "z"),
    "bracket": ("[", "["),
    "angle": ("<", "<"),
    "other": ("-", ":"),
}

_DATE, _CLOCK = r"\d{4}-\d\d-\d\d", r"\d\d:\d\d:\d\d"
_TIME = rf"(?P<time>{_DATE}[T ]{_CLOCK}(?:[.,]\d+)?)"
_ZONE = r"(?P<zone>Z|[+-]\d\d:?\d\d)"
_ISO = rf"{_TIME} ?{_ZONE}?"
_LEVEL = (
    r"(?P<level>TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|ERR|SEVERE|FATAL|CRITICAL|CRIT|ALERT|SUCCESS"
    r"|EMERG|PANIC)"
)
_DOTTED = r"[A-Za-z_$][\w$-]*(?:\.[\w$-]+)+"
_NAME = r"[A-Za-z_$][\w$.-]*"
# What stands between a level and a logger: Spring's process, threads.
_THREADS = r"(?:\d+ --- |\| )?(?:\[[^\]\n]*\]\s*)*"
# A logger is evident if its name has dots or ends in ` - ` or ` : `.
_LOGGER = (
    rf"{_THREADS}(?:(?P<logger_name>{_DOTTED})"
    rf"|(?P<named>{_NAME})(?::[\w<>$]+)*\s+(?:--?|:)\s)?"
)
_TO_QUOTE = r'[^"\\]*(?:\\.[^"\\]*)*'
_QUOTED = rf'"{_TO_QUOTE}"'
# What tells the line of an access log from others.
_CLIENT = (
    r"^(?:[\w.-]+:\d+ )?(?P<client_ip>[0-9A-Fa-f.:]+|-) \S+ [^\[\n]*"
    r"\[(?P<time>\d\d/[A-Z][a-z]{2}/\d{4}:[^\]\n]+)\] \""
)
_ACCESS = (
    _CLIENT + rf'(?:(?P<method>[A-Z]+) (?P<path>[^ ?"]*){_TO_QUOTE}|{_TO_QUOTE})" '
    r"(?P<status>[1-5]\d\d) (?P<response_bytes>\d+|-)"
)
_APACHE_TIME = "02/Jan/2006:15:04:05 -0700"


@dataclass(frozen=True)
class Shape:
    """A shape of lines.

    `begins`: what such lines begin with, groups of BEGINNINGS; shapes with the same one are tried
    in their order. Groups of the pattern are fields, but for `time` and `zone`, `named` (the
    logger, too), `priority` of syslog, and `seconds` or `microseconds` of a request. `layout`: how
    Go writes the time; without one it is ISO 8601, and without a zone in the settings' timezone.
    """

    name: str
    begins: str
    pattern: str
    layout: str = ""
    format: str = TEXT
    beginning: str = ""

    @property
    def route(self) -> str:
        """What decides: a part of the pattern, if that is long."""
        return self.beginning or self.pattern

    @property
    def groups(self) -> frozenset[str]:
        return frozenset(re.findall(r"\(\?P<(\w+)>", self.pattern))


# The trailing time of a request, which each server writes in its own unit.
_SECONDS = rf"(?:(?: {_QUOTED})* (?:\w+=)?(?P<seconds>\d+\.\d+)(?:\s|$))?"
_MICROSECONDS = rf"(?:(?: {_QUOTED})* (?:\w+=)?(?P<microseconds>\d+)(?:\s|$))?"
# Formats of access logs by the name in `[[agent.files]]`. The file of gunicorn has `%(D)s`.
ACCESS_LOGS = {
    name: Shape(name, "digit upper lower other", _ACCESS + duration, _APACHE_TIME, ACCESS, _CLIENT)
    for name, duration in (
        ("nginx", _SECONDS),
        ("apache", _MICROSECONDS),
        ("gunicorn", _MICROSECONDS),
    )
}
SHAPES = (
    # 2026-11-28 19:12:05,405 - shop.orders - ERROR - text
    Shape("iso_logger", "digit bracket", rf"^{_ISO} - (?P<logger_name>\S+) - {_LEVEL}\b"),
    # 2026-11-28 19:12:05.405 UTC [123] user@database ERROR:  text
    Shape(
        "postgresql",
        "digit",
        rf"^{_TIME} (?P<zone>[A-Z]{{3,5}}|[+-]\d\d) \[\d+\](?:-\d+)? (?:\S+@\S+ )?"
        r"(?P<level>[A-Z]+\d?):  ",
    ),
    # [2026-11-28 19:12:05] production.ERROR: text: Monolog, and so Laravel
    Shape("monolog", "bracket", rf"^\[{_ISO}\] (?P<logger_name>[\w-]+)\.{_LEVEL}: "),
    # With anything in brackets, a process id or separators before the level: gunicorn, Celery,
    # loguru, logback, Spring Boot, log4j, zap, MySQL, Kafka, Elasticsearch.
    Shape(
        "iso",
        "digit bracket",
        rf"^\[?{_ISO}\]?(?:\s*[|-]?\s*(?:\[[^\]\n]*\]|\d+))*?\s*[|:\[-]*\s*"
        rf"(?i:{_LEVEL})\b(?-i:\s*\]?:?\s+{_LOGGER})?",
    ),
    # 2026/11/28 19:12:05 [error] 123#0: text
    Shape(
        "nginx_error",
        "digit",
        rf"^(?P<time>\d{{4}}/\d\d/\d\d {_CLOCK}) \[(?P<level>[a-z]+)\] \d+#\d+: ",
        "2006/01/02 15:04:05",
    ),
    # 2026/11/28 19:12:05.405123 main.go:23: text, and ERROR before the text
    Shape(
        "go_log",
        "digit",
        rf"^(?P<time>\d{{4}}/\d\d/\d\d {_CLOCK}(?:\.\d+)?) (?:\S+\.go:\d+: )?(?:\[?{_LEVEL}\b)?",
        "2006/01/02 15:04:05",
    ),
    # 123:M 28 Nov 2026 19:12:05.405 # text
    Shape(
        "redis",
        "digit",
        rf"^\d+:[A-Z] (?P<time>\d\d? [A-Z][a-z]{{2}} \d{{4}} {_CLOCK}\.\d+) (?P<level>[.*#-]) ",
        "_2 Jan 2006 15:04:05",
    ),
    # 19:12:05.405 [main] ERROR com.example.App -- text
    Shape("clock", "digit", rf"^{_CLOCK}[.,]\d+ \[[^\]\n]*\] {_LEVEL}\s+{_LOGGER}"),
    # 19:12:05.405 [error] text: Elixir
    Shape("elixir", "digit", rf"^{_CLOCK}\.\d+ \[(?P<level>[a-z]+)\] "),
    # [Nest] 123  - 11/28/2026, 7:12:05 PM   ERROR [Orders] text
    Shape(
        "nest",
        "bracket",
        r"^\[Nest\] \d+ +- (?P<time>\d\d?/\d\d?/\d{4}, \d\d?:\d\d:\d\d [AP]M) +"
        r"(?P<level>[A-Z]+) (?:\[(?P<logger_name>[^\]\n]+)\])?",
        "1/2/2006, 3:04:05 PM",
    ),
    # [28/Nov/2026 19:12:05] "GET /orders HTTP/1.1" 200 612
    Shape(
        "runserver",
        "bracket",
        rf"^\[(?P<time>\d\d/[A-Z][a-z]{{2}}/\d{{4}} {_CLOCK})\] "
        r'"(?P<method>[A-Z]+) (?P<path>[^ ?"]*)[^"]*" (?P<status>[1-5]\d\d) '
        r"(?P<response_bytes>\d+|-)",
        "02/Jan/2006 15:04:05",
        ACCESS,
    ),
    # 2026-11-28T19:12:05.405+00:00 text
    Shape("time", "digit bracket", rf"^\[?{_ISO}"),
    # [Sat Nov 28 19:12:05.405123 2026] [core:error] [pid 123] text
    Shape(
        "apache_error",
        "bracket",
        rf"^\[(?P<time>[A-Z][a-z]{{2}} [A-Z][a-z]{{2}} [ \d]\d {_CLOCK}(?:\.\d+)? \d{{4}})\] "
        r"\[(?:\w*:)?(?P<level>[a-z]+)\d?\]",
        "Mon Jan _2 15:04:05 2006",
    ),
    # <11>1 2026-11-28T19:12:05.405Z host app 123 ID47 - text
    Shape(
        "syslog_5424",
        "angle",
        rf"^<(?P<priority>\d{{1,3}})>1 {_ISO} \S+ (?:-|(?P<logger_name>\S+)) ",
    ),
    # <11>Nov 28 19:12:05 host app[123]: text
    Shape(
        "syslog_3164",
        "angle",
        rf"^<(?P<priority>\d{{1,3}})>(?P<time>[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}) \S+ "
        r"(?P<logger_name>[^\s:\[]+)(?:\[\d+\])?:",
        "Jan _2 15:04:05",
    ),
    # ERROR:shop.orders:text
    Shape("python", "upper", rf"^{_LEVEL}:(?P<logger_name>[\w.$-]+):"),
    # INFO:     127.0.0.1:52134 - "GET /orders HTTP/1.1" 200 OK
    Shape(
        "uvicorn_access",
        "upper",
        r"^INFO: +(?P<client_ip>[0-9A-Fa-f.:]+):\d+ - "
        r'"(?P<method>[A-Z]+) (?P<path>[^ ?"]*)[^"]*" (?P<status>[1-5]\d\d)\b',
        format=ACCESS,
    ),
    # E1128 19:12:05.123456     123 main.go:23] text
    Shape(
        "glog",
        "upper",
        rf"^(?P<level>[IWEF])(?P<time>\d{{4}} {_CLOCK}\.\d+)\s+\d+ \S+:\d+\]",
        "0102 15:04:05",
    ),
    # E, [2026-11-28T19:12:05.405 #123] ERROR -- shop: text
    Shape(
        "ruby",
        "upper",
        rf"^[A-Z], \[{_ISO} #\d+\]\s+(?P<level>[A-Z]+) -- (?P<logger_name>[^:\n]*):",
    ),
    # Nov 28 19:12:05 host app[123]: text
    Shape(
        "syslog_file",
        "upper",
        rf"^(?P<time>[A-Z][a-z]{{2}} [ \d]\d {_CLOCK}) \S+ (?P<logger_name>[^\s:\[]+)(?:\[\d+\])?:",
        "Jan _2 15:04:05",
    ),
    # ERROR 2026-11-28 19:12:05,405 text: the verbose format of Django's documentation
    Shape("level_time", "upper", rf"^{_LEVEL} {_ISO}"),
    # ERRO[2026-11-28T19:12:05Z] text
    Shape(
        "logrus",
        "upper",
        rf"^(?P<level>TRAC|DEBU|INFO|WARN|ERRO|FATA|PANI)\[(?:{_ISO}|\d+)\] ",
    ),
    # ERROR text, [ERROR] text, INFO:     text
    Shape("level", "upper bracket", rf"^\[?{_LEVEL}\]?(?:\s|:\s| -)\s*"),
    # fail: Microsoft.AspNetCore.Server.Kestrel[13]
    Shape(
        "dotnet",
        "lower",
        r"^(?P<level>trce|dbug|info|warn|fail|crit): (?P<logger_name>[\w.]+)\[\d+\]",
    ),
    # error: text {"key":"value"}
    Shape("npm", "lower", r"^(?P<level>error|warn|info|http|verbose|debug|silly): "),
    # time=2026-11-28T19:12:05.405Z level=ERROR msg="text"
    Shape(
        "logfmt",
        "lower",
        rf'^(?:time|ts|t)="?{_ISO}"?(?: caller=\S+)? (?:level|lvl)="?(?P<level>\w+)',
    ),
    # level=error ts=2026-11-28T19:12:05.405Z msg="text"
    Shape(
        "logfmt_level",
        "lower",
        rf'^(?:level|lvl)="?(?P<level>\w+)"?(?: (?:time|ts|t)="?{_ISO}"?)?',
    ),
)


@dataclass(frozen=True)
class Trace:
    """How a stack trace says which exception it is of."""

    name: str
    hint: str  # text without it has no such trace
    pattern: str


_MESSAGE = r"(?P<exception_message>[^\n]*)"
TRACES = (
    Trace(
        "group",
        "+ Exception Group",
        r"(?:^|\n)\s*\+ Exception Group Traceback (?s:.*?)\n\s+\| (?P<exception_type>[\w.]+Group): "
        + _MESSAGE,
    ),
    Trace(
        "python",
        "Traceback (most",
        r"(?:^|\n)Traceback \(most recent call last\):(?s:.*)\n(?P<exception_type>[A-Za-z_][\w.]*)"
        rf"(?:: {_MESSAGE})?(?:\n|$)",
    ),
    # Java, Node and .NET: the line before the first frame.
    Trace(
        "frames",
        "\n",
        rf"(?:^|\n|[ ])(?P<exception_type>{_DOTTED}|[A-Za-z_$][\w$]*(?:Error|Exception|Throwable))"
        r"(?: \[\w+\])?(?:: "
        rf"{_MESSAGE})?\n[ \t]+(?:at |---> |\.\.\. \d)",
    ),
    Trace("go", "goroutine ", rf"(?:^|\n)(?P<exception_type>panic|fatal error): {_MESSAGE}"),
)

# Lines that belong to the line before them. Lines that are indented less are records of their own,
# but for frames: of .NET, of Python and its groups; and `key: value` of Node's errors.
CONTINUES = (
    r"^(?:\t| {4}| {1,3}(?:at |---> |--- End|\.\.\. \d|File \"|\||\+-|\[Previous line|\[?\w+\]?: )"
    r"|Caused by: |Suppressed: |Wrapped by: |\.\.\. \d+ (?:more|common)|--- End of |\}$)"
)
_EXPLAINS = "During handling of the above exception|The above exception was the direct cause"
# What is followed by a line that belongs to it: with it a traceback of Python is complete.
EXPECTS_MORE = (
    rf"^(?:Traceback \(most recent call last\):|{_EXPLAINS}|Exception in thread [^\n]*:$"
    r"|Exception ignored in: )"
)
# Tracebacks that explain the one before, and the goroutines of a panic.
EXPLAINS = rf"^(?:{_EXPLAINS}|goroutine \d+ \[|\[signal |created by |\S+\([^\n]*\)\n\t)"
# Colours, other control sequences of terminals, and the end of a line of Windows.
UNPRINTED = r"\x1B(?:\[[0-9;:?]*[A-Za-z]|\][^\x07\x1B]*(?:\x07|\x1B\\))|\r$"


def shapes_for(file_format: str) -> dict[str, list[Shape]]:
    """The shapes that lines of a file may have, by the characters that they begin with.

    A named access log comes first. `text` has none.
    """
    chosen = [ACCESS_LOGS[file_format]] if file_format in ACCESS_LOGS else []
    if file_format == "auto":  # which alone cannot know the unit of a whole number
        chosen = [ACCESS_LOGS["nginx"]]
    shapes = (*chosen, *SHAPES)
    return {begin: [s for s in shapes if begin in s.begins.split()] for begin in BEGINNINGS}


def used(shapes: dict[str, list[Shape]]) -> list[Shape]:
    """Each of these shapes once."""
    return list({shape.name: shape for fitting in shapes.values() for shape in fitting}.values())


def has(trace: Trace, value: str = "body") -> str:
    """Whether a text has such a trace."""
    return f"{value} contains {_text(trace.hint)} and {matches(trace.pattern, value)}"


def begins_with(beginning: str) -> str:
    """Whether a line has one of BEGINNINGS: cheaper than a pattern."""
    first, last = BEGINNINGS[beginning]
    return f"body >= {_text(first)} and body < {_text(chr(ord(last) + 1))}"


def matches(pattern: str, value: str = "body") -> str:
    """An expression: whether a pattern matches."""
    return f"{value} matches {_text(pattern)}"


def level_of(value: str) -> str:
    """The contract's level for a program's; empty for an unknown one."""
    words: dict[str, list[str]] = {level: list(SIGNS.get(level, ())) for level in LEVELS}
    for word, level in level_spellings().items():
        words[level].append(word)
    choices = (
        f'lower({value}) in {json.dumps(names)} ? "{level}" : ' for level, names in words.items()
    )
    return "".join(choices) + '""'


def level_of_priority(value: str) -> str:
    """The contract's level for the priority of a syslog line."""
    return f"{json.dumps(syslog_levels())}[string(int({value}) % 8)]"


def level_of_status(value: str) -> str:
    """The level of a request for the status of its answer."""
    return f'{value} >= "500" ? "ERROR" : {value} >= "400" ? "WARNING" : "INFO"'


def iso_time(time: str, zone: str) -> str:
    """The time of two groups as RFC 3339 has it; without a zone if it is none or only a name."""
    offset = (
        'z in ["Z", "UTC", "GMT"] ? "Z" : '
        '(z startsWith "+" or z startsWith "-") ? '
        'z[:3] + ":" + (len(z) > 3 ? z[len(z) - 2:] : "00") : ""'
    )
    return f'let z = {zone} ?? ""; replace({time}, " ", "T") + ({offset})'


def _text(value: str) -> str:
    """A literal of the language of expressions, which has the escapes of JSON."""
    return json.dumps(value)
