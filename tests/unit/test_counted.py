"""Numbers in sentences have nouns that agree."""

from __future__ import annotations

import re

from stack.common.counted import counted
from tests.unit.test_structure import lines

# A number in a sentence, followed by a plural; a format such as {n:>5} is part of a table.
PLURAL = re.compile(
    r"\{[^{}:']+\} (?:records|files|rows|hours|parts|manifests|problems|differences|hosts)\b"
)


def test_one_thing_is_singular() -> None:
    assert [counted(number, "record") for number in (0, 1, 2)] == [
        *("0 records", "1 record", "2 records"),
    ]
    assert counted(1, "part is", "parts are") == "1 part is"
    assert counted(2, "part is", "parts are") == "2 parts are"


def test_messages_use_the_one_function() -> None:
    """Apart from bounds, which are above 1."""
    known = {(path, line.strip()) for path, line in lines() if PLURAL.search(line) and 'f"' in line}
    assert {item for item in known if not item[0].startswith(("bench/", "dashboards/"))} == set()
