"""log_event and timed: typed fields from one call, which never raises."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.functional import SimpleLazyObject
from logstack_django.session_hash import hash_session
from logstack_django.testing import CapturedLogs, assert_logged, capture_logs

from logstack_django import log_event, timed
from tests.library.support import SCHEMA, check

logger = logging.getLogger("tests.events")


def test_an_event_has_its_type_its_object_and_its_fields(captured_logs: CapturedLogs) -> None:
    """The object's model and primary key."""
    group = Group(pk=9, name="staff")
    log_event(logger, "group_created", "Group %s created", "staff", object=group, plan="pro")
    (record,) = captured_logs
    check(record)
    assert record["message"] == "Group staff created"
    assert record["event_type"] == "group_created"
    assert record["object_type"] == "auth.Group"
    assert record["object_id"] == 9
    assert record["plan"] == "pro"
    assert record["logger_name"] == "tests.events"


def test_level_exception_and_message_are_optional(captured_logs: CapturedLogs) -> None:
    """A level by name, an exception as it is, no message at all."""
    log_event("tests.events", "import_failed", level="ERROR", exc_info=ValueError("bad"))
    record = assert_logged(captured_logs, level="ERROR", exception_type="ValueError")
    assert record["message"] == "import_failed"
    log_event(logger, "odd_level", level="LOUD")
    assert_logged(captured_logs, event_type="odd_level", level="INFO")


def test_an_object_costs_no_query(database: None, captured_logs: CapturedLogs) -> None:
    """A deferred key, a lazy object that is not loaded, a class, anything else."""
    lazy = SimpleLazyObject(lambda: User.objects.get(username="ann"))
    with CaptureQueriesContext(connection) as queries:
        for value in (lazy, User, User(), object(), 5, "text"):
            log_event(logger, "seen", object=value)
    assert len(queries) == 0
    types = [record.get("object_type") for record in captured_logs]
    assert types == [None, "auth.User", "auth.User", "object", "int", "str"]


NAMES = sorted(
    {*SCHEMA["properties"], *logging.LogRecord("", 0, "", 0, "", (), None).__dict__}
    | {"message", "asctime", "self", "logger", "event_type", "extra", "stacklevel", "fields"}
    | {"taskName", "logstack_fields", "not an identifier", "", "äöü", "a.b", "class", "object_id"}
)


@pytest.mark.parametrize("name", NAMES)
def test_no_field_name_raises(name: str) -> None:
    """Whatever it is, the value is somewhere in the record."""
    with capture_logs() as logs:
        field: dict[str, Any] = {name: "value-7"}
        log_event(logger, "event", "Text", **field)
    (record,) = logs
    check(record)
    assert (hash_session("value-7") if name == "session_id" else "value-7") in record.values()
    assert record["message"] == "Text"
    assert record["event_type"] == "event"


def test_a_broken_filter_does_not_reach_the_caller(captured_logs: CapturedLogs) -> None:
    """Not even one of the logger itself."""

    class Broken(logging.Filter):
        def filter(self, record: logging.LogRecord) -> bool:
            raise RuntimeError("broken")

    broken = Broken()
    logger.addFilter(broken)
    try:
        log_event(logger, "event", "Text")
    finally:
        logger.removeFilter(broken)
    assert_logged(captured_logs, level="WARNING", logger_name="logstack_django")


def test_a_disabled_level_does_nothing(captured_logs: CapturedLogs) -> None:
    """The object is not even looked at."""
    logger.setLevel("WARNING")
    try:
        log_event(logger, "event")
    finally:
        logger.setLevel("NOTSET")
    assert len(captured_logs) == 0


def test_the_caller_is_the_one_that_called(caplog: pytest.LogCaptureFixture) -> None:
    """For handlers that show the place in the code."""
    with caplog.at_level("INFO"):
        log_event(logger, "event")
    assert caplog.records[0].funcName == sys._getframe().f_code.co_name


def test_a_step_is_timed(captured_logs: CapturedLogs) -> None:
    """With its duration in milliseconds, which can be read afterwards."""
    with timed("price_list", logger, rows=5) as step:
        pass
    record = assert_logged(captured_logs, event_type="step_finished", step="price_list", rows=5)
    check(record)
    assert record["duration_ms"] == step.duration_ms >= 0


def test_a_step_that_fails_is_timed_and_fails(captured_logs: CapturedLogs) -> None:
    """The exception is the caller's."""
    with pytest.raises(KeyError), timed("price_list"):
        raise KeyError("x")
    record = assert_logged(captured_logs, event_type="step_failed", failed_with="KeyError")
    assert record["duration_ms"] >= 0


def test_functions_and_coroutines_can_be_timed(captured_logs: CapturedLogs) -> None:
    """Calls that overlap are measured apart."""

    @timed("add", logger)
    def add(a: int, b: int) -> int:
        return a + b

    @timed("wait", logger)
    async def wait(seconds: float) -> float:
        await asyncio.sleep(seconds)
        return seconds

    async def main() -> list[float]:
        return list(await asyncio.gather(wait(0.05), wait(0.001)))

    assert add(1, b=2) == 3
    assert asyncio.run(main()) == [0.05, 0.001]
    assert add.__name__ == "add"
    assert_logged(captured_logs, step="add", count=1)
    durations = [record["duration_ms"] for record in captured_logs.matching(step="wait")]
    assert durations[0] < 50 <= durations[1]


def test_any_argument_of_timed_is_harmless(captured_logs: CapturedLogs) -> None:
    """Field names that clash, a logger by name."""
    fields: dict[str, Any] = {"name": "a", "message": "b", "event_type": "c", "duration_ms": "d"}
    with timed("step", "tests.events", **fields):
        pass
    assert_logged(captured_logs, step="step", name="a", extra_message="b")
