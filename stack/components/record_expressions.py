"""Expressions for the collector's template that make a record of the contract of another one.

Other libraries write the contract's fields under other names, levels in other words and times in
other formats (`x-aliases`, `x-spellings` of the contract). All of that is one expression over the
parsed line: it returns the JSON of the record. https://expr-lang.org has the language.
"""

from __future__ import annotations

import json

from stack.components.secret_patterns import MASK, NAMES
from stack.records.contract import (
    ASIDE,
    LOG_FILE,
    agent_fields,
    duration_factors,
    fields,
    level_spellings,
    names,
    reserved_names,
    syslog_levels,
)

RECORD = "resource.record"
SHAPED = '["map", "array"]'
# Further formats of times: a regular expression, the layout of Go's `time`, whether it has a zone.
# https://pkg.go.dev/time#Layout; a fraction of a second may follow where the layout has none.
TIMES = (
    (r"^\d{4}-\d{2}-\d{2}T[0-9:.]+$", "2006-01-02T15:04:05", False),
    (r"^\d{8}T\d{6}", "20060102T150405Z0700", True),
    (r"^\d{2}/[A-Z][a-z]{2}/\d{4}:", "02/Jan/2006:15:04:05 -0700", True),
    (r"^[A-Z][a-z]{2}, .*\d$", "Mon, 02 Jan 2006 15:04:05 -0700", True),
    (r"^[A-Z][a-z]{2}, .*[A-Z]$", "Mon, 02 Jan 2006 15:04:05 MST", False),
    (r"^[A-Z][a-z]{2} [ \d]\d \d{2}:", "Jan _2 15:04:05", False),
)
# The field for members whose names are longer than an engine takes, as a JSON object.
LONG_NAMES = f"{ASIDE}names"
# Ends the value of each string while secrets are masked, so that no mask takes its last quote.
END = "\x01"
# What the text of a record begins with if it has other names or another level than the line.
CHANGED = " "
# GELF and the journal have the severities of syslog, where others have larger numbers.
IS_SYSLOG = 'r.short_message != nil or level_name == "PRIORITY"'
# MongoDB names its severity with one letter, which another program may use for anything.
IS_MONGODB = 'r["t.$date"] != nil'
# Serilog writes no level for the one that it calls Information.
IS_SERILOG = 'r["@t"] != nil and (r["@m"] != nil or r["@mt"] != nil)'


def members() -> list[tuple[str, str, str]]:
    """The aliases that may be members of an object.

    Of each the path in the record, the name, and an expression: whether it is there.
    """
    found = []
    for name in (name for field in fields().values() for name in field.aliases if "." in name):
        parts = name.split(".")
        around = [f'type({_path(parts[:n])}) == "map"' for n in range(1, len(parts))]
        path = _path(parts)
        is_there = [*around, f"{path} != nil", f"{_path([name])} == nil"]
        found.append((path, name, " and ".join(is_there)))
    return found


def has_members() -> str:
    """Whether the record has an object that may contain an alias."""
    parents = dict.fromkeys(name.split(".")[0] for _, name, _ in members())
    return f'any({json.dumps([*parents, "instant"])}, type({RECORD}[#]) == "map")'


def quoted_digits() -> str:
    """The line with integers beyond 64 bits as text, so that no digit is lost."""
    large = r"-?(\d{20,}|9(2(2[3-9]|[3-9]\d)|[3-9]\d{2})\d{15})"
    member = r'^[\[{\s]*("([^"\\]|\\.)*"\s*:\s*)?[\[{\s]*' + large + r"[\]}\s]*$"
    digits = 'trim(last(split(#, ":")), " []{}")'
    quoted = f"replace(#, {digits}, {_text(chr(34))} + {digits} + {_text(chr(34))})"
    return f'join(map(split(body, ","), # matches {_text(member)} ? {quoted} : #), ",")'


def line_of_record(in_window: str) -> str:
    """The record as Loki keeps it: the JSON of what was read, with a time of the contract."""
    beside = [*agent_fields(), LOG_FILE, "timestamp"]
    kept = f"filter(toPairs(attributes), not (#[0] in {json.dumps(beside)}))"
    time = (
        f'{in_window} ? ["\\"timestamp\\":\\"" + '
        'timestamp.UTC().Format("2006-01-02T15:04:05.999999999Z07:00") + "\\""] : []'
    )
    pairs = f'concat(map({kept}, toJSON(#[0]) + ":" + toJSON(#[1])), ({time}))'
    return f'"{{" + join(sort({pairs}), ",") + "}}"'


def as_record() -> str:
    """The JSON text of the parsed line as a record of the contract.

    A reserved name gets the prefix that logstack_django uses. The first alias of a field that the
    record lacks is renamed. An object becomes its JSON text, so that free keys do not add up as
    fields.
    """
    aliases = [[field.name, list(field.aliases)] for field in fields().values() if field.aliases]
    is_alias = f"r[#] != nil and not (type(r[#]) in {SHAPED})"
    level = next(list(item.aliases) for item in fields().values() if item.name == "level")
    return "; ".join(
        [
            f"let r = {RECORD}",
            f"let renamed = fromPairs(filter(map(filter({json.dumps(aliases)}, r[#[0]] == nil), "
            f"[find(#[1], {is_alias}), #[0]]), #[0] != nil))",
            # The first name whose value is known: Monolog has its own numbers under `level`.
            f"let level_names = {IS_MONGODB} ? [{_text('s')}] : {json.dumps(['level', *level])}",
            f"let level_name = find(level_names, {is_alias} and "
            f"{_map(level_spellings())}[lower(trim(string(r[#])))] != nil) "
            f'?? (r.level != nil ? "level" : find(level_names, {is_alias}) ?? "level")',
            'let is_ousted = level_name != "level" and r.level != nil '
            f"and not (type(r.level) in {SHAPED})",
            f'let written = type(r[level_name]) in {SHAPED} ? "" : string(r[level_name] ?? "")',
            # slog writes levels between two as `INFO+2`.
            "let word = lower(trim(written))",
            'let spelled = word matches "^[a-z]+[+-][0-9]+$" ? '
            'split(split(word, "+")[0], "-")[0] : word',
            f"let long = filter(toPairs(r), {_is_long()})",
            f'let level = written == "" ? ({IS_SERILOG} ? "INFO" : "") : '
            f"(({IS_SYSLOG} ? {_map(syslog_levels())}[spelled] : nil) ?? "
            f'{_map(level_spellings())}[spelled] ?? "")',
            'let pairs = map(filter(toPairs(r), (#[0] != level_name or written == "") and '
            'not (#[0] == "level" and is_ousted) and '
            f"not ({_is_emptied()}) and not ({_is_long()})), "
            f'{_name()} + ":" + {_value()})',
            'let levels = level == "" ? [] : ["\\"level\\":\\"" + level + "\\""]',
            "let names = len(long) == 0 ? [] : "
            f"[{_text(_json(LONG_NAMES))} + {_ended(_members())}]",
            "let shown = is_ousted ? string(r.level) : written",
            'let original = upper(trim(shown)) in [level, ""] ? "" : '
            '",\\"level_original\\":" + toJSON(shown)',
            # In order, so that a line that is sent again is the same.
            f'(original != "" or len(renamed) > 0 ? "{CHANGED}" : "") + '
            '"{" + join(sort(concat(pairs, levels, names)), ",") + original + "}"',
        ]
    )


def _is_emptied() -> str:
    """Whether nothing is left in an object whose members were aliases."""
    parents = {name.split(".")[0] for _, name, _ in members()}
    is_parent = f'type(#[1]) == "map" and #[0] in {json.dumps(sorted(parents))}'
    return f'{is_parent} and not (toJSON(#[1]) matches ":[ ]*[^ {{]")'


def _is_long() -> str:
    """Whether a name has more than 126 bytes: VictoriaLogs drops records with names above 128."""
    return "len(#[0]) > 31 and len(toBase64(#[0])) > 168"


def _members() -> str:
    """The JSON text of an object with the members whose names are long, as a JSON string."""
    member = f'toJSON(#[0]) + ":" + {compact("#[1]")}'
    return f'toJSON("{{" + join(sort(map(long, {member})), ",") + "}}")'


def _name() -> str:
    taken = f"#[0] in {json.dumps(reserved_names())}"
    labels = f"#[0] in {json.dumps(names('label'))}"
    unfit = f"({taken} or ({labels} and type(#[1]) in {SHAPED}))"
    return f"toJSON(renamed[#[0]] ?? ({unfit} ? {_text(ASIDE)} + #[0] : #[0]))"


def _value() -> str:
    factors = duration_factors()
    is_time = '(renamed[#[0]] ?? #[0]) == "timestamp" and type(#[1]) == "string"'
    factor = f"{_map(factors)}[#[0]]"
    is_factor = (
        f'#[0] in {json.dumps(list(factors))} and renamed[#[0]] == "duration_ms" '
        'and string(#[1]) matches "^[0-9.eE+-]+$"'
    )
    # `&` stays, because the name of a secret may follow it.
    parts = 'join(map(split(#[1], "&"), toJSON(#)[1:-1]), "&")'
    quote = _text('"')
    plain = f'(#[1] contains "&" ? {quote} + {parts} + {quote} : toJSON(#[1]))'
    shaped = _ended(f"toJSON({compact('#[1]')})")
    return (
        f"(#[0] matches {_text(NAMES)} ? {_text(json.dumps(MASK))} : "
        f"(type(#[1]) in {SHAPED} ? {shaped} : "
        f"({is_time} ? toJSON({_iso('#[1]')}) : "
        f"({is_factor} ? toJSON(float(#[1]) * {factor}) : "
        f'(type(#[1]) == "string" ? {_ended(plain)} : toJSON(#[1]))))))'
    )


def _ended(text: str) -> str:
    """The JSON of a string with END before its last quote."""
    return f"({text}[:-1] + {_text(END + chr(34))})"


def _iso(value: str) -> str:
    """A time in the format of RFC 3339, where it is written as one of its relatives.

    A blank for `T`, slashes, a comma before the fraction, lower case, `UTC`, and offsets without a
    colon. One without an offset stays without.
    """
    text = f'replace(replace(upper(trim({value})), " UTC", "Z"), ",", ".")'
    time = f'replace({text}[11:], " ", "")'
    hours = f"{time}[:len({time})-2]"
    colon = (
        f'({time} matches "[+-][0-9]{{4}}$" ? {hours} + ":" + {time}[len({time})-2:] '
        f': ({time} matches "[+-][0-9]{{2}}$" ? {time} + ":00" : {time}))'
    )
    day = f'replace({text}[:10], "/", "-")'
    is_like = f'{value} matches "^\\\\s*[0-9]{{4}}[-/][0-9]{{2}}[-/][0-9]{{2}}[ Tt][0-9]{{2}}:"'
    return f'({is_like} ? {day} + "T" + {colon} : {value})'


def compact(value: str) -> str:
    """A value's JSON without spaces, and with `<`, `>` and `&` unescaped.

    `toJSON` writes one name or value per line and escapes those three.
    """
    text = f"toJSON({value})"
    steps = [
        ("\\\\", "\x01"),  # so that the next steps see complete escapes
        ('\\": ', "\x02"),
        ('": ', '":'),
        ("\x02", '\\": '),
        ("\\u003c", "<"),
        ("\\u003e", ">"),
        ("\\u0026", "&"),
        ("\x01", "\\\\"),
    ]
    for old, new in steps:
        text = f"replace({text}, {_text(old)}, {_text(new)})"
    return f'join(map(split({text}, "\\n"), trim(#)), "")'


def _path(parts: list[str]) -> str:
    return RECORD + "".join(f'["{part}"]' for part in parts)


def _map(values: dict[str, str] | dict[str, float]) -> str:
    return json.dumps(values)


def _json(name: str) -> str:
    return json.dumps(name) + ":"


def _text(value: str) -> str:
    """A literal of the language, which has the escapes of JSON."""
    return json.dumps(value)
