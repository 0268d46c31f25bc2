"""What an application's tests use."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import call_command
from logstack_django.testing import CapturedLogs, assert_logged, capture_logs

from tests.library.support import ROOT, check, child_environment, parse


def test_records_are_captured_through_the_real_handler() -> None:
    """Parsed, with the project's service, and without secrets."""
    with capture_logs() as logs:
        logging.getLogger("app.views").info("password=%s", "x", extra={"n": 1})
    logging.getLogger("app.views").info("later")
    (record,) = logs
    check(record)
    assert record["message"] == "password=[redacted]"
    assert record["service_name"] == "erp-test"
    assert logs.lines == [json.dumps(record, separators=(",", ":")).encode() + b"\n"]


def test_loggers_that_do_not_propagate_are_captured() -> None:
    """Once, like all the others."""
    separate = logging.getLogger("app.separate")
    separate.propagate = False
    try:
        with capture_logs() as logs:
            separate.warning("here")
        assert [record["message"] for record in logs] == ["here"]
    finally:
        separate.propagate = True


def test_the_level_and_the_logger_can_be_given() -> None:
    """And are as before afterwards."""
    before = logging.root.level
    with capture_logs("DEBUG", logger="app") as logs:
        logging.getLogger("app.views").debug("seen")
        logging.getLogger("other").warning("not seen")
    assert [record["message"] for record in logs] == ["seen"]
    assert logging.root.level == before
    assert logging.getLogger("app").level == logging.NOTSET


def test_assert_logged_finds_counts_and_shows(captured_logs: CapturedLogs) -> None:
    """The failure shows what was expected and the closest records."""
    logger = logging.getLogger("app")
    logger.info("Saved", extra={"event_type": "saved", "n": 1})
    logger.info("Saved again", extra={"event_type": "saved", "n": 2})
    assert assert_logged(captured_logs, "again", event_type="saved")["n"] == 2
    assert_logged(captured_logs, "Saved", count=2)
    assert_logged(captured_logs, "never", count=0)
    with pytest.raises(AssertionError, match=r"(?s)expected a record with .*'n': 3.*Saved"):
        assert_logged(captured_logs, event_type="saved", n=3)
    with pytest.raises(AssertionError, match=r"expected 1 record .* got 2"):
        assert_logged(captured_logs, event_type="saved", count=1)
    captured_logs.clear()
    assert len(captured_logs) == 0


def test_the_pytest_plugin_is_there_in_any_project(tmp_path: Path) -> None:
    """Without configuration, and also without Django being set up."""
    (tmp_path / "test_app.py").write_text(
        "import logging\n"
        "def test_it(captured_logs):\n"
        "    logging.getLogger('app').warning('here')\n"
        "    assert captured_logs[0]['message'] == 'here'\n"
        "    assert captured_logs[0:1][0]['service_name'] == 'test'\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error",
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            str(tmp_path),
        ],
        cwd=tmp_path,
        env=child_environment(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout.decode()


def test_the_example_command_prints_one_record_of_each_kind() -> None:
    """Valid by the contract, with the project's settings."""
    out = io.StringIO()
    call_command("logstack_example", stdout=out)
    records = [parse(line.encode()) for line in out.getvalue().splitlines(keepends=True)]
    assert {record["level"] for record in records} == {
        "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL",
    }  # fmt: skip
    assert {record["service_name"] for record in records} == {"erp-test"}
    events = {record.get("event_type") for record in records}
    assert {"organization_created", "step_finished", "job_started", "job_finished"} <= events
    assert any("stack_trace" in record for record in records)
    assert any(record.get("truncated") for record in records)
    assert any("[redacted]" in record["message"] for record in records)
    assert ROOT.exists()
