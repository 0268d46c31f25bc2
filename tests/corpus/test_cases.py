"""The data of the corpus itself: no stack is started."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stack.records.contract import LEVELS, fields
from tests.corpus.cases import (
    ANY,
    OF_CASE,
    OF_FILE,
    CaseError,
    Moment,
    cannot,
    case_from,
    expand,
    load,
    quote,
)
from tests.corpus.compare import differences, fault, is_same
from tests.corpus.run import Outcome, case_key
from tests.corpus.table import AGENTS, DOCUMENT, updated

NOW = 1_795_935_493_023_456_789


def test_there_are_enough_cases_with_names_of_their_own() -> None:
    names = Counter(case_key(case) for case in load())
    assert len(names) >= 200
    assert [name for name, count in names.items() if count > 1] == []


def test_every_case_says_where_it_is_from_and_what_comes_back() -> None:
    for case in load():
        assert case.source, case.id
        assert case.records, case.id
        for record in case.expected(NOW):
            assert record.get("level", "INFO") in {*LEVELS, ANY}, case.id
            assert "message" in record, case.id


def test_expected_values_have_the_types_of_the_contract() -> None:
    """A field of the contract that is a number comes back as one; all others are text."""
    for case in load():
        for record in case.expected(NOW):
            for name, value in record.items():
                types = fields()[name].types if name in fields() else ("string",)
                number = {"integer", "number", "boolean"} & set(types)
                fits = (
                    isinstance(value, str)
                    if not number
                    else value == ANY or not isinstance(value, str)
                )
                assert fits or (name == "status" and value == ANY), (case.id, name, value)


def test_no_two_cases_begin_alike() -> None:
    """An agent takes a file for another one that begins with the same bytes."""
    written = [
        (case.written(NOW - number * 10**9)[0][:1000], case.id)
        for number, case in enumerate(load())
        if case.read == "file"
    ]
    written.sort()
    for (first, name), (second, other) in pairwise(written):
        assert not second.startswith(first), (name, other)


def test_the_tables_in_the_documentation_are_of_now() -> None:
    """`python -m tests.corpus table` writes them."""
    text = DOCUMENT.read_text(encoding="utf-8")
    assert updated(text) == text


def test_what_an_agent_cannot_do_is_of_a_case() -> None:
    for agent in AGENTS:
        assert set(cannot(agent)) <= {case.id for case in load()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{now:%Y-%m-%dT%H:%M:%S.%3fZ}", "2026-11-29T06:58:13.023Z"),
        ("{now @+02:00:%Y-%m-%d %H:%M:%S,%6f %:z %z}", "2026-11-29 08:58:13,023456 +02:00 +0200"),
        (
            "{now -8d:%s} {now +10s:%Q} {now:%K} {now:%N}",
            "1795244293 1795935503023 1795935493023456 1795935493023456789",
        ),
        ('{"a":{repeat:3|[|}1{repeat:3|]|}}', '{"a":[[[1]]]}'),
        ("{message} {}", "{message} {}"),
    ],
)
def test_a_time_is_written_in_each_librarys_format(text: str, expected: str) -> None:
    assert expand(text, NOW) == expected


def test_an_expected_value_quotes_the_lines() -> None:
    lines = ['{"err":{"stack":"a\\nb"},"a.b":{"c":[1]}}', "two", "three"]
    assert quote("{field err.stack}", lines, NOW) == "a\nb"
    assert quote("{field a.b}", lines, NOW) == '{"c":[1]}'
    assert quote("{line 2-3}", lines, NOW) == "two\nthree"
    assert quote(200, lines, NOW) == 200


def test_a_case_with_a_name_that_nobody_knows_is_refused() -> None:
    with pytest.raises(CaseError, match=r"^f/n: expected absent, .*, got record$"):
        case_from("f", {"name": "n", "record": 1})
    with pytest.raises(
        CaseError, match=r"^f/n.read: expected one of file, docker, journal, got socket$"
    ):
        case_from("f", {"name": "n", "source": "s", "records": [], "read": "socket"})


def outcome(*records: dict[str, Any]) -> Outcome:
    now = datetime.fromtimestamp(NOW // 10**9 + 120, UTC)
    found = {"f/n": list(records)}
    return Outcome(now, now, {"f/n": NOW}, found, [], [])


def test_a_difference_is_said_in_a_sentence() -> None:
    line = '{"ts":{now:%s},"msg":"a"}'
    values = {"name": "n", "source": "s", "lines": line, "absent": ["msg"]}
    case = case_from("f", {**values, "records": [{"message": "a", "level": "INFO"}]})
    labels: dict[str, Any] = {"service_name": "corpus", "environment": "staging", "host": "app-1"}
    own = Moment(NOW - NOW % 10**9).as_contract()
    right = {**labels, "timestamp": own, "message": "a", "level": "INFO"}
    assert differences(case, outcome(right)) == []
    assert differences(case, outcome(right, right))[0] == "expected 1 records, got 2"
    assert differences(case, outcome()) == [
        "expected 1 records, got 0",
        "no record for {'message': 'a', 'level': 'INFO'}",
    ]
    wrong = {**right, "level": "info", "msg": "a", "timestamp": Moment(NOW).as_contract()}
    assert differences(case, outcome(wrong)) == [
        "level: expected 'INFO', got 'info'",
        "msg: expected no such field, got 'a'",
        f"timestamp: expected its own, {own}, got {wrong['timestamp']}",
    ]


def test_a_number_is_no_text_of_it() -> None:
    assert is_same(12, 12.0)
    assert not is_same(200, "200")
    assert not is_same(1, True)


def test_the_readme_of_the_cases_names_every_key() -> None:
    text = (Path(__file__).parent / "README.md").read_text(encoding="utf-8")
    assert [name for name in sorted(OF_CASE | OF_FILE) if f"`{name}`" not in text] == []


def test_a_case_that_passes_may_not_be_one_that_an_agent_cannot_do() -> None:
    case = case_from("f", {"name": "n", "source": "s", "lines": "x", "records": [{"message": "x"}]})
    assert fault(case, [], None) == ""
    assert fault(case, ["level: ..."], "no levels") == ""
    assert fault(case, ["level: ..."], None) == "f/n (s)\nlevel: ..."
    assert fault(case, [], "no levels") == "f/n passes: remove it from cannot.toml (no levels)"
