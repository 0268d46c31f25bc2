"""Celery: the context goes out with a task and comes back in a real worker."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.library.support import ROOT, Record, Server, parse, run_python, wait_until

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
# What publishes: a process that has the context of a request.
PUBLISH = f"""
import django, logstack_django
from tests.library.project import tasks
django.setup()
def send(name, request_id, *args, **options):
    fields = dict(request_id=request_id, trace_id={TRACE!r}, user_id=7, username="ann",
                  organization_id=45, plan="not sent")
    with logstack_django.context(**fields):
        getattr(tasks, name).apply_async(args, **options)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the broker."""
    folder = tmp_path_factory.mktemp("broker")
    for name in ("queue", "control", "results"):
        (folder / name).mkdir()
    return folder


def publish(folder: Path, code: str) -> None:
    """Send tasks from another process."""
    done = run_python(PUBLISH + code, environment={"PROJECT_BROKER": str(folder)})
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def worker(folder: Path) -> Iterator[Server]:
    """A worker with one child process, that has done every task once."""
    import subprocess

    from tests.library.support import child_environment

    publish(
        folder,
        "send('work', 'request-one', 1)\n"
        "send('fail', 'request-fail', 'planted-secret')\n"
        "send('retry', 'request-retry')\n"
        "send('ignore', 'request-ignore')\n"
        "send('soft', 'request-soft')\n"
        "send('hard', 'request-hard')\n"
        "send('work', 'request-expired', 3, expires=-1)\n"
        "tasks.work.apply_async((2,))\n",
    )
    arguments = [sys.executable, "-m", "celery", "-A", "tests.library.project.tasks", "-q"]
    arguments += ["worker", "-c", "1", "-P", "prefork", "--without-gossip", "--without-mingle"]
    arguments += ["--without-heartbeat"]
    environment = {
        "PROJECT_BROKER": str(folder),
        "DJANGO_SETTINGS_MODULE": "tests.library.project.settings",
        "PYTHONWARNINGS": "ignore",  # tests may run as root, about which Celery complains
    }
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            arguments, stdout=out, stderr=err, cwd=ROOT, env=child_environment(environment)
        )
    server = Server(process, 0, folder)
    try:
        server.wait_for(message="Working on 2")
        wait_until(lambda: "Hard time limit" in str(server.lines()), timeout=30)
        wait_until(lambda: "Attempt 1" in str(server.lines()), timeout=30)
        wait_until(lambda: "Discarding" in str(server.lines()), timeout=30)
        yield server
    finally:
        server.stop()


def find(worker: Server, *texts: str) -> Record:
    """The record whose message holds all of the texts."""
    found = [
        record for record in worker.records() if all(text in record["message"] for text in texts)
    ]
    assert found, texts
    return found[0]


def test_a_task_has_the_context_of_the_request_that_sent_it(worker: Server) -> None:
    """The fields of the contract, and the task's own id and name."""
    record = find(worker, "Working on 1")
    assert record["request_id"] == "request-one"
    assert record["trace_id"] == TRACE
    assert record["user_id"] == 7
    assert record["username"] == "ann"
    assert record["organization_id"] == 45
    assert record["task_name"] == "tests.library.project.tasks.work"
    assert "plan" not in record


def test_a_task_without_a_sender_has_a_request_id_of_its_own(worker: Server) -> None:
    """And nothing of the task before it."""
    record = find(worker, "Working on 2")
    assert len(record["request_id"]) == 32
    assert "user_id" not in record


def test_every_line_of_the_worker_is_json(worker: Server) -> None:
    """Also what tasks print, and what Celery says itself."""
    for line in worker.lines():
        if line.endswith(b"\n"):
            parse(line)
    assert find(worker, "printed 1")["logger_name"] == "celery.redirected"
    assert worker.errors() == ""


@pytest.mark.parametrize(
    ("texts", "request_id", "event_type"),
    [
        (("tasks.work", "received"), "request-one", "task_received"),
        (("tasks.work", "succeeded"), "request-one", "task_succeeded"),
        (("tasks.fail", "raised unexpected"), "request-fail", "task_failed"),
        (("tasks.retry", "Retry in"), "request-retry", "task_retried"),
        (("Soft time limit",), "request-soft", None),
        (("Hard time limit",), "request-hard", None),
        (("Discarding", "tasks.work"), "request-expired", None),
    ],
)
def test_what_celery_says_about_a_task_carries_its_request(
    worker: Server, texts: tuple[str, ...], request_id: str, event_type: str | None
) -> None:
    """Received, succeeded, failed, retried, timed out, expired; in whichever process."""
    record = find(worker, *texts)
    assert record["request_id"] == request_id
    assert record.get("event_type") == event_type


def test_a_failed_task_has_its_exception_and_no_secret(worker: Server) -> None:
    """Type, message and trace are fields of their own."""
    record = find(worker, "tasks.fail", "raised unexpected")
    assert record["level"] == "ERROR"
    assert record["exception_type"] == "ValueError"
    assert "hunter2" not in str(worker.lines())


def test_an_eager_task_gives_the_caller_its_context_back(tmp_path: Path) -> None:
    """It runs in the caller's own thread."""
    (tmp_path / "results").mkdir()
    code = PUBLISH + (
        "with logstack_django.context(request_id='outer'):\n"
        "    tasks.work.apply((5,))\n"
        "    assert logstack_django.current_context() == {'request_id': 'outer'}\n"
    )
    done = run_python(code, environment={"PROJECT_BROKER": str(tmp_path)})
    assert done.returncode == 0, done.stderr.decode()
    records = [json.loads(line) for line in done.stdout.splitlines() if line.startswith(b"{")]
    (record,) = [found for found in records if found["message"] == "Working on 5"]
    assert record["request_id"] == "outer"
    assert record["task_name"].endswith("work")
