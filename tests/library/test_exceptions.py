"""The error fields: type, message, and a bounded stack trace."""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import pytest
from logstack_django.formatter import JsonFormatter

from tests.library.support import OPTIONS, format_both, format_one, make_record, parse


class OwnError(Exception):
    """An exception of an application."""


def catch(function: Any, *args: Any) -> BaseException:
    """What the function raises."""
    try:
        function(*args)
    except BaseException as error:
        return error
    raise AssertionError


def fail(text: str = "Invalid input provided.") -> None:
    password = "local-secret"  # noqa: F841
    raise OwnError(text)


def descend(levels: int) -> None:
    if not levels:
        fail()
    descend(levels - 1)


def log(error: BaseException) -> dict[str, Any]:
    """The record of an error."""
    return format_one(
        "Failed", level=logging.ERROR, exc_info=(type(error), error, error.__traceback__)
    )


def test_type_message_and_trace_are_fields_of_their_own() -> None:
    """The type is qualified unless it is a built-in; the trace reads as Python prints it."""
    error = catch(fail)
    found = log(error)
    assert found["message"] == "Failed"
    assert found["exception_type"] == f"{__name__}.OwnError"
    assert found["exception_message"] == "Invalid input provided."
    lines = found["stack_trace"].splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1] == f"{__name__}.OwnError: Invalid input provided."
    assert "    raise OwnError(text)" in lines
    assert log(catch(int, "x"))["exception_type"] == "ValueError"


def test_the_frames_are_those_that_python_prints() -> None:
    """Apart from the position marks, which cost more than everything else."""
    error = catch(descend, 2)
    printed = [
        line
        for line in "".join(traceback.format_exception(error)).splitlines()
        if line.strip("~^ ")
    ]
    assert log(error)["stack_trace"].splitlines() == printed


def test_local_variables_are_never_shown() -> None:
    """A local that holds a secret stays local."""
    assert "local-secret" not in str(log(catch(fail)))


@pytest.mark.parametrize("levels", [60, 500])
def test_a_deep_trace_keeps_its_head_and_tail(levels: int) -> None:
    """What called first and what failed; the record says that it was cut."""
    found = log(catch(descend, levels))
    assert found["truncated"] is True
    lines = found["stack_trace"].splitlines()
    assert "in catch" in lines[1]
    assert "frames left out" in found["stack_trace"]
    assert "in fail" in found["stack_trace"].rpartition("File")[2]
    assert len(found["stack_trace"]) <= 8192


def test_causes_contexts_and_notes_are_shown() -> None:
    """Oldest first, with the sentences that Python uses."""

    def chain() -> None:
        try:
            try:
                raise KeyError("first")
            except KeyError as error:
                raise ValueError("second") from error
        except ValueError:
            third = OwnError("third")
            third.add_note("Tried twice; password=hunter2")
            raise third  # noqa: B904

    trace = log(catch(chain))["stack_trace"]
    assert trace.index("KeyError: 'first'") < trace.index("direct cause") < trace.index("second")
    assert trace.index("second") < trace.index("During handling") < trace.index("third")
    assert trace.endswith("Tried twice; password=[redacted]")


def test_a_suppressed_context_is_not_shown() -> None:
    """`raise … from None` means it."""

    def chain() -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    assert "first" not in log(catch(chain))["stack_trace"].rpartition("File")[2]


def test_groups_show_their_members() -> None:
    """Each with its own trace, bounded in number and depth."""
    group = BaseExceptionGroup(
        "several", [catch(int, "x"), BaseExceptionGroup("inner", [catch(fail)])]
    )
    trace = log(group)["stack_trace"]
    assert "ValueError: invalid literal" in trace
    assert "OwnError: Invalid input provided." in trace
    many = ExceptionGroup("many", [ValueError(str(i)) for i in range(100)])
    found = log(many)
    assert found["truncated"] is True
    assert "92 more exceptions" in found["stack_trace"]


def test_circular_and_hostile_exceptions_end() -> None:
    """Causes in a circle, notes that are no list, a text that cannot be made."""
    first, second = ValueError("a"), ValueError("b")
    first.__cause__, second.__cause__ = second, first
    assert log(first)["exception_message"] == "a"

    class SilentError(Exception):
        __notes__ = 5  # type: ignore[assignment]

        def __str__(self) -> str:
            raise RuntimeError

    assert "unprintable" in log(SilentError())["exception_message"]
    long_chain = ValueError("0")
    for number in range(1, 500):
        step = ValueError(str(number))
        step.__cause__ = long_chain
        long_chain = step
    assert log(long_chain)["truncated"] is True


def test_secrets_in_texts_and_in_source_lines_are_masked() -> None:
    """Exception text, notes, and the line of code that is shown."""

    def literal() -> None:
        raise OwnError("token=in-the-source")

    found = log(catch(literal))
    assert "in-the-source" not in str(found)
    found = log(catch(fail, "Authorization: Bearer abc.def.ghi"))
    assert "abc.def" not in str(found)


def test_exc_info_is_taken_in_every_form() -> None:
    """True outside of an except block, an exception, a text left by another process."""
    formatter = JsonFormatter(OPTIONS)
    record = make_record(exc_info=(None, None, None))
    assert "exception_type" not in format_both(record)
    record.exc_info = catch(fail)  # type: ignore[assignment]
    assert format_both(record)["exception_type"].endswith("OwnError")
    record = make_record()
    record.exc_text = "Traceback ...\npassword=hunter2"
    assert parse(formatter.format_line(record))["stack_trace"].endswith("password=[redacted]")
    record = make_record()
    record.stack_info = "Stack (most recent call last):\n  File"
    assert format_both(record)["stack_info"].startswith("Stack")


def test_another_formatters_text_of_the_trace_is_not_used() -> None:
    """The standard one leaves its text in the record, where no redaction reached it."""
    error = catch(fail, "password=hunter2")
    record = make_record(exc_info=(type(error), error, error.__traceback__))
    logging.Formatter().format(record)
    assert "hunter2" in str(record.exc_text)
    assert "hunter2" not in str(format_both(record))


def test_an_exception_without_text_has_no_message_field() -> None:
    """Fields without a value are left out."""
    found = log(catch(lambda: sys.exit()))
    assert found["exception_type"] == "SystemExit"
    assert "exception_message" not in found
