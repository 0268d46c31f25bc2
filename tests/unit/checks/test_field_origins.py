"""What is said of each field, from a line and the record that it became."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from stack.checks.field_origins import Line, Origins, explain_fields
from stack.engines import Record
from stack.records import contract

LABELS: Record = {"service_name": "shop", "environment": "dev", "host": "h"}


def explained(values: Any, record: Record, *, arrived: bool = False) -> Origins:
    text = values if isinstance(values, str) else json.dumps(values)
    return explain_fields(Line(text, "shop", arrived), {**LABELS, **record})


@pytest.fixture
def aliases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two names under which others write fields."""
    known = dict(contract.fields())
    known["message"] = replace(known["message"], aliases=("msg",))
    known["level"] = replace(known["level"], aliases=("log.level",))
    monkeypatch.setattr("stack.checks.field_origins.fields", lambda: known)


def test_own_fields_are_told_from_what_the_agent_adds() -> None:
    found = explained({"message": "m", "level": "INFO", "n": {"a": 1}},
                      {"message": "m", "level": "INFO", "n": '{"a":1}'}, arrived=True)  # fmt: skip
    assert found.fields == {
        "service_name": "the file's entry in agent.files, or --service",
        "environment": "the setting stack.environment",
        "host": "the agent: stack.host, or the name of this machine",
        "message": "its own field",
        "level": "its own field",
        "n": "its own field, as JSON text",
    }


@pytest.mark.usefixtures("aliases")
def test_an_alias_and_a_value_that_was_read_are_named() -> None:
    """Nested aliases, too."""
    found = explained({"msg": "m", "log": {"level": "warn"}}, {"message": "m", "level": "WARNING"})
    assert found.fields["message"] == "alias `msg`"
    assert found.fields["level"] == "alias `log.level`, read from 'warn'"


def test_a_time_in_another_notation_is_its_own() -> None:
    """The same instant; another one is shown."""
    record: Record = {"timestamp": "2026-01-31T10:00:00.000000Z", "message": "m"}
    same = explained({"timestamp": "2026-01-31T11:00:00+01:00", "message": "m"}, record)
    assert same.fields["timestamp"] == "its own field"
    other = explained({"timestamp": 1769853600, "message": "m"}, record)
    assert other.fields["timestamp"] == "its own field, read from '1769853600'"


def test_what_is_moved_aside_is_listed_with_the_reason() -> None:
    found = explained(
        {"message": "m", "host": "web1", "service_name": ["a"], "x": None},
        {"message": "m", "extra_host": "web1", "extra_service_name": '["a"]'},
    )
    assert found.fields["extra_host"] == "moved aside from `host`"
    assert found.fields["host"].startswith("the agent")
    assert found.fields["service_name"].startswith("the file's entry")
    assert found.aside == [
        "`host` is extra_host: the agent or the engine sets that name",
        "`service_name` is extra_service_name: it has to be text",
        "`x` is left out: it has no value",
    ]


@pytest.mark.parametrize(
    ("line", "advice"),
    [
        ('{"a": 1} {"b": 2}', "the line is not JSON: Extra data"),
        ('{"a": ' * 40 + "1" + "}" * 40, "more than 30 levels deep"),
    ],
)
def test_text_that_looks_like_json_comes_with_the_reason(line: str, advice: str) -> None:
    found = explained(line, {"message": line, "format": "text"}, arrived=True)
    assert found.fields["message"] == "the whole line"
    assert found.fields["timestamp" if "timestamp" in found.fields else "format"]
    assert any(advice in text for text in found.advice), found.advice


def test_a_time_that_is_too_old_points_to_the_setting_and_to_import() -> None:
    found = explained(
        {"message": "m", "timestamp": "2020-01-01T00:00:00Z"},
        {"message": "m", "timestamp": "2026-01-31T10:00:00.000000Z",
         "timestamp_original": "2020-01-01T00:00:00Z"},
    )  # fmt: skip
    assert found.fields["timestamp"] == "time of arrival"
    assert found.fields["timestamp_original"].startswith("moved aside from `timestamp`")
    assert any("archive.lateness" in text and "import" in text for text in found.advice)


@pytest.mark.usefixtures("aliases")
def test_of_two_levels_the_one_that_was_read_is_named() -> None:
    """The other one is kept as `level_original`."""
    line = {"msg": "m", "level": 400, "log.level": "ERROR"}
    found = explained(line, {"message": "m", "level": "ERROR", "level_original": "400"})
    assert found.fields["level"] == "alias `log.level`"
    number = explained({"msg": "m", "level": 50}, {"level": "ERROR", "level_original": "50"})
    assert number.fields["level"] == "its own field, read from '50'"


def test_an_exception_is_read_from_the_stack_trace() -> None:
    """Where the line does not name it."""
    trace = "Traceback (most recent call last):\nValueError: order 17 failed"
    record: Record = {"stack_trace": trace, "exception_type": "ValueError"}
    found = explained({"stack_trace": trace}, record)
    assert found.fields["exception_type"] == "the stack trace"
