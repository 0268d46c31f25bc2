"""The sample app's configuration and management commands, each run as a process of its own."""

from __future__ import annotations

import json
import shutil
import sqlite3
from pathlib import Path

import jsonschema
import pytest

from tests.support.sample_app_process import SampleApp

SCHEMA = json.loads(
    (Path(__file__).parents[3] / "stack" / "log_record.schema.json").read_text(encoding="utf-8")
)
ORGANIZATIONS = 6
INVOICES = 72
DRAFTS = 24


@pytest.fixture
def bare(tmp_path: Path) -> SampleApp:
    """An app without tables."""
    return SampleApp(tmp_path)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> SampleApp:
    """An app with the demo data, to be copied and not changed."""
    prepared = SampleApp(tmp_path_factory.mktemp("prepared"))
    prepared.prepare()
    return prepared


@pytest.fixture
def app(tmp_path: Path, prepared: SampleApp) -> SampleApp:
    """An app with the demo data, and no log yet."""
    app = SampleApp(tmp_path)
    shutil.copy(prepared.database, app.database)
    return app


def rows(app: SampleApp, query: str) -> list[tuple[object, ...]]:
    """Return what the database answers."""
    connection = sqlite3.connect(app.database)
    try:
        return connection.execute(query).fetchall()
    finally:
        connection.close()


@pytest.mark.parametrize("key", ["SECRET_KEY", "DATABASE"])
def test_a_missing_variable_is_refused_in_one_line(bare: SampleApp, key: str) -> None:
    """Nothing secret has a default, and the error names the variable and the next command."""
    name = f"LOGSTACK_SAMPLE_{key}"
    done = bare.manage("migrate", **{name: None})
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {name}: expected ")
    assert "got nothing. Run: make up" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_short_secret_key_is_refused_without_being_shown(bare: SampleApp) -> None:
    """A key that can be guessed is as bad as none, and an error message is no place for it."""
    done = bare.manage("check", LOGSTACK_SAMPLE_SECRET_KEY="guess-me")
    assert done.returncode == 2
    assert "at least 32 characters, got 8 characters" in done.stderr
    assert "guess-me" not in done.stderr


def test_seed_without_a_password_is_refused(bare: SampleApp) -> None:
    """The repository has no password for the demo users."""
    done = bare.manage("seed", LOGSTACK_SAMPLE_PASSWORD=None)
    assert done.returncode == 2
    assert done.stderr.startswith("error: LOGSTACK_SAMPLE_PASSWORD: expected ")


def test_seed_without_tables_names_the_command_that_makes_them(bare: SampleApp) -> None:
    """A forgotten step is named, without a traceback."""
    done = bare.manage("seed")
    assert done.returncode == 1
    assert "Run: python -m stack.sample_app migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_seed_changes_nothing_and_says_so(app: SampleApp) -> None:
    """`make up` may run it at every start."""
    everything = "SELECT * FROM invoices_invoice"
    before = rows(app, everything), rows(app, "SELECT * FROM auth_user")
    assert app.manage("seed").stdout == "demo data: nothing to do\n"
    assert (rows(app, everything), rows(app, "SELECT * FROM auth_user")) == before
    assert len(before[0]) == INVOICES


def test_seed_takes_over_a_changed_password(app: SampleApp) -> None:
    """The environment decides, not what was stored first."""
    changed = "another horse"
    assert app.manage("seed", LOGSTACK_SAMPLE_PASSWORD=changed).stdout == "demo data: 6 changes\n"
    again = app.manage("seed", LOGSTACK_SAMPLE_PASSWORD=changed)
    assert again.stdout == "demo data: nothing to do\n"


def test_the_demo_data_are_the_same_on_every_machine(app: SampleApp, tmp_path: Path) -> None:
    """Everything but the moment of creation and the salted passwords is equal."""
    (tmp_path / "other").mkdir()
    other = SampleApp(tmp_path / "other")
    other.prepare()
    for query in (
        "SELECT id, username FROM auth_user",
        "SELECT id, name, country FROM organizations_organization",
        "SELECT id, user_id, organization_id, role FROM organizations_membership",
        "SELECT id, organization_id, number, customer, amount, status FROM invoices_invoice",
    ):
        assert rows(app, query) == rows(other, query)
    assert len(rows(app, "SELECT id FROM organizations_organization")) == ORGANIZATIONS


def test_the_migrations_match_the_models(app: SampleApp) -> None:
    """Nobody changes a model and forgets the migration."""
    done = app.manage("makemigrations", "--check", "--dry-run")
    assert done.returncode == 0, done.stdout


def test_nightly_invoicing_logs_start_progress_and_end_under_one_id(app: SampleApp) -> None:
    """A job can be followed from its start to its end by one request_id."""
    done = app.manage("nightly_invoicing")
    assert (done.returncode, done.stdout) == (0, f"issued {DRAFTS} invoices\n")
    records = app.records()
    events = [record.get("event_type") for record in records]
    assert events == ["job_started", *["invoices_issued"] * ORGANIZATIONS, "job_finished"]
    assert len({record["request_id"] for record in records}) == 1
    progress = records[1:-1]
    assert [record["organization_id"] for record in progress] == list(range(1, ORGANIZATIONS + 1))
    assert sum(record["invoices"] for record in progress) == DRAFTS
    assert not rows(app, "SELECT id FROM invoices_invoice WHERE status = 'draft' OR number = ''")


def test_a_second_nightly_invoicing_has_nothing_to_issue(app: SampleApp) -> None:
    """A job that runs twice in a night does no harm."""
    app.manage("nightly_invoicing")
    app.log_file.unlink()
    assert app.manage("nightly_invoicing").stdout == "issued 0 invoices\n"
    assert [record["event_type"] for record in app.records()] == ["job_started", "job_finished"]


def test_a_failing_nightly_invoicing_logs_one_error_with_its_cause(app: SampleApp) -> None:
    """The drill leaves one ERROR with the chain, status 1, and no traceback on the terminal."""
    done = app.manage("nightly_invoicing", "--fail")
    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: cannot issue the invoices: ")
    assert "Traceback" not in done.stderr
    records = app.records()
    events = [record.get("event_type") for record in records]
    assert events == ["job_started", "invoices_issued", "job_failed"]
    failure = records[-1]
    assert failure["level"] == "ERROR"
    assert failure["exception_type"].endswith("nightly_invoicing.InvoicingError")
    assert "cannot print the invoices" in failure["exception_message"]
    assert "TimeoutError: print service did not answer" in failure["stack_trace"]
    assert len(rows(app, "SELECT id FROM invoices_invoice WHERE status = 'draft'")) == DRAFTS - 4


def test_emit_marker_writes_one_record_with_every_field_of_the_contract(bare: SampleApp) -> None:
    """`logstack smoke` can compare all that an application can set; no tables are needed."""
    done = bare.manage("emit_marker", "--marker", "smöke 1")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    (record,) = bare.records()
    expected = {
        name
        for name, field in SCHEMA["properties"].items()
        if field["x-set-by"] not in ("agent", "monitor") and name != "truncated"
    }
    assert expected - record.keys() == set()
    assert record["marker"] == "smöke 1"
    assert "smöke 1" in record["message"]
    assert record["level"] == "ERROR"
    assert record["event_type"] == "smoke_marker"
    assert record["environment"] == "test"
    assert record["service_name"] == "erp-backend-api"
    assert record["object_type"] == "organizations.Organization"
    assert "KeyError" in record["stack_trace"]
    jsonschema.validate(
        record, SCHEMA, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
    )


def test_two_markers_differ_in_nothing_but_marker_and_time(bare: SampleApp) -> None:
    """What does not come from the marker is fixed, so that a difference found later is a fault."""
    for marker in ("one", "two"):
        bare.manage("emit_marker", "--marker", marker)
    first, second = bare.records()
    differing = {name for name in first if first[name] != second[name]}
    assert differing <= {
        *("timestamp", "message", "marker", "request_id"),
        *("exception_message", "stack_trace", "process_id", "thread_id"),
    }


def test_without_a_log_file_the_records_go_to_stdout(bare: SampleApp) -> None:
    """In a container the agent reads the standard output."""
    done = bare.manage("emit_marker", "--marker", "x", LOGSTACK_SAMPLE_LOG_FILE=None)
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["marker"] == "x"
    assert not bare.log_file.exists()


def test_service_and_environment_come_from_the_environment(bare: SampleApp) -> None:
    """Two instances of the app can be told apart in the log engine."""
    bare.manage(
        *("emit_marker", "--marker", "x"),
        LOGSTACK_SAMPLE_SERVICE="billing",
        LOGSTACK_SAMPLE_ENVIRONMENT="staging",
    )
    (record,) = bare.records()
    assert (record["service_name"], record["environment"]) == ("billing", "staging")
