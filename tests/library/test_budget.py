"""One log call reads a bounded amount of text, whatever it is given."""

from __future__ import annotations

from typing import Any

import pytest
from logstack_django.redaction import Redactor
from logstack_django.sanitize import MAX_TEXT

from tests.library.support import format_one

# Needs care, so that no quick path takes it; longer than the longest text that is shown.
LONG = "@" + "://a:" * 2400
NESTED = {f"k{i}": {f"j{j}": LONG for j in range(60)} for i in range(4)}


class ReadText:
    """Counts the characters that go through the rules."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        may_hold_secret = Redactor.may_hold_secret

        def count(redactor: Redactor, text: str) -> bool:
            self.count += len(text)
            return may_hold_secret(redactor, text)

        monkeypatch.setattr(Redactor, "may_hold_secret", count)


@pytest.fixture
def read_text(monkeypatch: pytest.MonkeyPatch) -> ReadText:
    """How much text the rules have read since the test began."""
    return ReadText(monkeypatch)


def chained() -> BaseException:
    """Nine exceptions, each with all the notes that are shown."""
    error = ValueError(LONG)
    for _ in range(8):
        following = ValueError(LONG)
        following.__cause__ = error
        for _ in range(16):
            following.add_note(LONG)
        error = following
    return error


def grouped(depth: int = 3) -> BaseException:
    """Groups of groups of exceptions."""
    members = [ValueError(LONG) if depth == 0 else grouped(depth - 1) for _ in range(8)]
    return ExceptionGroup("several", members)  # type: ignore[type-var]


SHAPES: dict[str, dict[str, Any]] = {
    "a nested value": {"fields": {"body": NESTED}},
    "many values": {"fields": {f"k{i}": LONG for i in range(60)}},
    "lists in many values": {"fields": {f"k{i}": [LONG] * 60 for i in range(15)}},
    "bytes": {"fields": {"body": [LONG.encode()] * 60}},
    "objects": {"fields": {"body": [ValueError(LONG)] * 60}},
    "names": {"fields": {"body": {LONG[:2000] + str(i): 1 for i in range(60)}}},
    "names of fields": {"fields": {LONG[:2000] + str(i): 1 for i in range(60)}},
    "an argument": {"args": (NESTED,)},
    "the context": {"context": {"body": NESTED}},
    "a chain of exceptions": {"error": chained},
    "a group of exceptions": {"error": grouped},
}


@pytest.mark.parametrize("shape", SHAPES)
def test_a_record_reads_a_bounded_amount_of_text(read_text: ReadText, shape: str) -> None:
    """Its fields, those of the contract and its exception, each a fixed amount at most."""
    given = dict(SHAPES[shape])
    make = given.pop("error", None)
    error = make() if make else None
    with_context = given.pop("context", {})
    fields = {**given.pop("fields", {}), "path": "/p", "username": "ann", "order": "7b"}
    message = "Imported %s" if given else "Imported"
    from logstack_django import context

    with context(**with_context):
        info = (type(error), error, None) if error else None
        found = format_one(message, *given.get("args", ()), exc_info=info, fields=fields)
    assert found["message"].startswith("Imported")
    assert (found["path"], found["username"], found["order"]) == ("/p", "ann", "7b")
    assert found["truncated"] is True
    # format_one formats the record twice.
    assert read_text.count < 2 * 3 * MAX_TEXT


def test_the_fields_of_the_contract_have_room_of_their_own() -> None:
    """However much stands before them."""
    path = "/p" * 3000
    found = format_one("x" * 9000, fields={"body": NESTED, "path": path, "object_type": "a.B"})
    assert found["object_type"] == "a.B"
    assert found["path"].startswith("/p/p/p")
    assert found["message"].startswith("xxx")


def test_of_a_text_for_which_there_is_no_room_nothing_is_shown() -> None:
    """The end of a secret in it would not be seen."""
    lines = [f"https://user:{'s' * 200}{i}@host/{'x' * 800}" for i in range(63)]
    found = format_one(fields={"body": [LONG] * 5, "links": lines})
    assert "sss" not in str(found)
    assert found["truncated"] is True


def test_of_a_chain_the_newest_exception_is_shown_first() -> None:
    """It is the one that was logged."""
    newest = chained()
    newest.args = ("the newest",)
    info = (type(newest), newest, None)
    found = format_one(exc_info=info)
    assert "ValueError: the newest" in found["stack_trace"]
