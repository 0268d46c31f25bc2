"""Generated lines: JSON documents and bytes of every kind, each with a mark of its own."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

from stack.records.contract import fields, reserved_names

MARK = re.compile(r"mark(\d{6})x")
# Names that something on the way owns, and names of the contract under which others write.
NAMES = [
    *fields(),
    *reserved_names(),
    *("stream", "priority", "docker", "resource", "attributes", "body", "record", "aside"),
    *("time", "ts", "@timestamp", "asctime", "@t", "msg", "event", "@m", "short_message"),
    *("levelname", "severity", "log.level", "log", "err", "error", "exception", "exc_info"),
    *("name", "logger", "service.name", "trace.id", "http", "url", "req", "res", "instant"),
]
TEXTS = [
    *(
        "",
        " ",
        "a",
        "ERROR",
        "warn",
        "\t",
        "a\nb",
        "\u0000",
        "\ufeff",
        "\ufffd",
        "\ud800",
        "💸",
        "\\u0041",
    ),
    *("2026-01-31T10:30:01Z", "2026-01-31 10:30:01,123", "9999-12-31T23:59:59Z", "yesterday"),
    *("1795935493", "{", '{"a":1}', '"', "</x>", "Traceback (most recent call last):", "%s {now}"),
]
NUMBERS = [0, -1, 17, 60, 2**31, 2**53 + 1, 2**63 - 1, -(2**63), 2**64, 10**30, 0.1, -1e300, 1e-7]
STARTS = [
    *(b"", b" ", b"\t", b"  at ", b"{", b'{"a":', b"[", b'"', b"<34>", b"\xef\xbb\xbf", b"\0\0"),
    *(b"Traceback (most recent call last):", b"panic: ", b"goroutine 1 [running]:", b"Caused by: "),
    *(
        b"ERROR:",
        b"2026-01-31 10:30:01,123 INFO ",
        b'127.0.0.1 - - "GET / HTTP/1.1" 200 ',
        b"\x1b[31m",
    ),
]


def mark(number: int) -> str:
    return f"mark{number:06}x"


def lines(count: int, seed: int) -> list[bytes]:
    """`count` lines without their newlines, three of four JSON objects. No line is blank."""
    random = Random(seed)
    return [
        document(random, number) if random.random() < 0.75 else bytes_of(random, number)
        for number in range(count)
    ]


def document(random: Random, number: int) -> bytes:
    """A JSON object with the mark, a name that no other has, and whatever else comes."""
    pairs = [("mark", mark(number)), (f"free_{number}", number)]
    pairs += [(name_of(random), value_of(random)) for _ in range(random.randrange(8))]
    random.shuffle(pairs)
    # By hand, because a name may be there twice.
    ascii_only = random.random() < 0.5
    blank = random.choice(["", " "])
    text = f",{blank}".join(
        f"{written(name, ascii_only)}:{blank}{written(value, ascii_only)}" for name, value in pairs
    )
    return f"{{{blank}{text}{blank}}}".encode("utf-8", "surrogatepass")


def written(value: Any, ascii_only: bool) -> str:
    return json.dumps(value, ensure_ascii=ascii_only)


def name_of(random: Random) -> str:
    kind = random.random()
    if kind < 0.7:
        return random.choice(NAMES)
    if kind < 0.95:
        return random.choice(TEXTS)
    return random.choice("abc") * random.choice([100, 127, 128, 129, 300, 5000])


def value_of(random: Random, depth: int = 0) -> Any:
    kind = random.random()
    if kind < 0.35:
        return random.choice(TEXTS) * random.choice([1, 1, 1, 3, 50])
    if kind < 0.6:
        return random.choice(NUMBERS)
    if kind < 0.7:
        return random.choice([True, False, None])
    if kind < 0.72 and depth == 0:
        return nested(random)
    if depth > 5:
        return "deep"
    items = [value_of(random, depth + 1) for _ in range(random.randrange(4))]
    return items if kind < 0.85 else {name_of(random): item for item in items}


def nested(random: Random) -> Any:
    """Deeper than the agent takes apart, or than its queue can read again."""
    value: Any = 1
    for _ in range(random.choice([20, 31, 49, 60, 200])):
        value = [value] if random.random() < 0.5 else {"n": value}
    return value


def bytes_of(random: Random, number: int) -> bytes:
    """Text or bytes with the mark somewhere; no newline, which would make two lines."""
    start, end = (random.randbytes(random.randrange(30)) for _ in range(2))
    if random.random() < 0.7:
        start, end = b"some words ", b" and more words"
    line = random.choice(STARTS) + start + mark(number).encode() + end
    return line.replace(b"\n", b" ").replace(b"\r", b" ")
