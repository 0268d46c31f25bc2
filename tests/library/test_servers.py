"""gunicorn, uvicorn and runserver: JSON from the first line to the last, one record per request."""

from __future__ import annotations

import json
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
import requests

from tests.library.support import Server, child_environment, parse, serve, wait_until
from tests.support.ports import free_ports

GUNICORN = [sys.executable, "-m", "gunicorn", "tests.library.project.wsgi", "-w", "2"]
LOGGER_CLASS = ["--logger-class", "logstack_django.gunicorn.Logger"]
Start = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def gunicorn(tmp_path: Path) -> Start:
    """Starts gunicorn with its logger replaced, and with further arguments."""

    def start(
        *arguments: str, environment: dict[str, str] | None = None
    ) -> AbstractContextManager[Server]:
        [port] = free_ports(1)
        own = ["-b", f"127.0.0.1:{port}", *arguments]
        own += LOGGER_CLASS
        variables = {"LOGSTACK_DJANGO_SERVICE": "erp-server", **(environment or {})}
        return serve([*GUNICORN, *own], port, tmp_path / "gunicorn", variables)

    return start


def get(server: Server, path: str) -> requests.Response:
    """One request on a connection of its own."""
    return requests.get(server.url + path, timeout=20)


def check_one_access_record_each(server: Server, marks: list[str]) -> None:
    """Each request left exactly one access record, and no other line speaks of it."""
    for mark in marks:
        server.wait_for(message=f"Inside {mark}")
    ids = {
        record["request_id"]
        for record in server.records()
        if record["message"].startswith("Inside")
    }

    def access() -> list[str]:
        return [
            record["request_id"]
            for record in server.records()
            if record.get("event_type") == "request_finished"
        ]

    wait_until(lambda: len(access()) >= len(marks))
    assert sorted(access()) == sorted(ids)
    lines_about_requests = [line for line in server.lines() if b"/ok/" in line]
    assert len(lines_about_requests) == len(marks)


def test_gunicorn_speaks_json_and_logs_each_request_once(gunicorn: Start) -> None:
    """Its own lines, those of two workers, and the end; nothing on stderr.

    Its access lines stay away even if they are asked for, because they would double ours.
    """
    with gunicorn("--access-logfile", "-") as server:
        marks = [f"m{number}" for number in range(40)]
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda mark: get(server, f"/ok/?mark={mark}"), marks))
        check_one_access_record_each(server, marks)
        assert get(server, "/broken/").status_code == 500
        error = server.wait_for(level="ERROR")
        assert error["exception_type"] == "ValueError"
        server.stop()
        records = server.records()
        assert len([record for record in records if record["level"] == "ERROR"]) == 1
        assert any(record["logger_name"] == "gunicorn.error" for record in records)
        assert records[0]["service_name"] == "erp-server"
        assert server.errors() == ""


def test_gunicorns_own_access_lines_come_out_as_json_when_asked_for(gunicorn: Start) -> None:
    """Then beside ours, with the same fields and without the query string."""
    environment = {"LOGSTACK_DJANGO_SERVER_ACCESS_LOG": "true"}
    with gunicorn("--access-logfile", "-", environment=environment) as server:
        get(server, "/ok/?token=s3cr3t&mark=x")
        record = server.wait_for(logger_name="gunicorn.access")
        assert record["method"] == "GET"
        assert record["path"] == "/ok/"
        assert record["status"] == 200
        assert b"s3cr3t" not in b"".join(server.lines())


def test_gunicorn_takes_a_configuration_file(gunicorn: Start, tmp_path: Path) -> None:
    """With logconfig_dict and arguments in place of variables."""
    config = tmp_path / "gunicorn.conf.py"
    config.write_text(
        "import logstack_django.gunicorn\n"
        "logconfig_dict = logstack_django.gunicorn.logconfig_dict(service='from-file')\n"
    )
    [port] = free_ports(1)
    arguments = [*GUNICORN, "-b", f"127.0.0.1:{port}", "-c", str(config)]
    with serve(arguments, port, tmp_path / "conf") as server:
        get(server, "/ok/?mark=x")
        check_one_access_record_each(server, ["x"])
        assert server.records()[0]["service_name"] == "from-file"
        assert server.errors() == ""


def test_gunicorn_with_preloading_and_a_reload_says_nothing_twice(gunicorn: Start) -> None:
    """The master sets its logger up again on SIGHUP."""
    with gunicorn("--preload") as server:
        get(server, "/ok/?mark=before")
        server.process.send_signal(signal.SIGHUP)
        hang_up = wait_until(
            lambda: [r for r in server.records() if "hang up" in r["message"].lower()]
        )
        assert len(hang_up) == 1
        wait_until(lambda: _answers(server))
        server.stop()
        shutting = [r for r in server.records() if "Shutting down" in r["message"]]
        assert len(shutting) == 1


def _answers(server: Server) -> bool:
    try:
        return get(server, "/ok/?mark=after").ok
    except requests.RequestException:
        return False


def test_the_last_record_of_a_stopped_worker_is_there(gunicorn: Start) -> None:
    """SIGTERM in the middle of a burst loses no answered request."""
    with gunicorn() as server:
        answered: list[str] = []
        stop = threading.Event()

        def burst(name: str) -> None:
            number = 0
            while not stop.is_set():
                mark = f"{name}{number}"
                try:
                    if get(server, f"/ok/?mark={mark}").ok:
                        answered.append(mark)
                except requests.RequestException:
                    return
                number += 1

        threads = [threading.Thread(target=burst, args=(name,)) for name in "ab"]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(answered) > 30)
        server.stop()
        stop.set()
        for thread in threads:
            thread.join(10)
        logged = {record["message"].removeprefix("Inside ") for record in server.records()}
        assert set(answered) <= logged


def test_several_workers_share_a_file_that_is_renamed(gunicorn: Start, tmp_path: Path) -> None:
    """The path of a server without containers."""
    path = tmp_path / "logs" / "app.log"
    environment = {"LOGSTACK_DJANGO_SINK": "file", "LOGSTACK_DJANGO_PATH": str(path)}
    with gunicorn(environment=environment) as server:
        get(server, "/ok/?mark=one")
        wait_until(lambda: path.exists() and b"Inside one" in path.read_bytes())
        path.rename(path.with_suffix(".1"))
        get(server, "/ok/?mark=two")
        wait_until(lambda: path.exists() and b"Inside two" in path.read_bytes())
        assert server.lines() == []
    for file in path.parent.iterdir():
        assert all(parse(line) for line in file.read_bytes().splitlines(keepends=True))


def leave_after(server: Server, path: str, size: int) -> None:
    """Ask for something and hang up after `size` bytes of the answer."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        received = 0
        while received < size:
            received += len(connection.recv(1000))


def test_a_client_that_leaves_gunicorn_is_told_apart(gunicorn: Start) -> None:
    """A stream that nobody reads to its end."""
    with gunicorn() as server:
        leave_after(server, "/stream/?count=500&kind=slow", 1000)
        record = server.wait_for(event_type="request_cancelled")
        assert record["path"] == "/stream/"
        assert record["response_bytes"] < 500_000


@pytest.fixture
def uvicorn(tmp_path: Path) -> Iterator[Server]:
    """uvicorn from the command line, with a configuration that the library wrote."""
    import subprocess

    environment = {"LOGSTACK_DJANGO_SERVICE": "erp-server"}
    written = subprocess.run(
        [sys.executable, "-m", "logstack_django.uvicorn"],
        env=child_environment(environment),
        capture_output=True,
        check=True,
    ).stdout
    assert json.loads(written)["version"] == 1
    config = tmp_path / "log_config.json"
    config.write_bytes(written)
    [port] = free_ports(1)
    arguments = [sys.executable, "-m", "uvicorn", "tests.library.project.asgi:application"]
    arguments += ["--port", str(port), "--log-config", str(config), "--lifespan", "off"]
    with serve(arguments, port, tmp_path / "uvicorn", environment) as server:
        yield server


def test_uvicorn_speaks_json_and_logs_each_request_once(uvicorn: Server) -> None:
    """Its own lines, too; its access lines are off, because ours say more."""
    marks = [f"m{number}" for number in range(20)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda mark: get(uvicorn, f"/ok/?mark={mark}"), marks))
    check_one_access_record_each(uvicorn, marks)
    get(uvicorn, "/async/?mark=x")
    uvicorn.wait_for(message="GET /async/ 200")
    assert uvicorn.records()[0]["logger_name"].startswith("uvicorn")
    uvicorn.stop()
    assert all(line.startswith(b"{") for line in uvicorn.lines())
    assert uvicorn.errors() == ""


def test_a_client_that_leaves_uvicorn_is_told_apart(uvicorn: Server) -> None:
    """While the view waits, and in the middle of a stream."""
    with socket.create_connection(("127.0.0.1", uvicorn.port), timeout=20) as connection:
        connection.sendall(b"GET /async-wait/ HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.2)
    record = uvicorn.wait_for(event_type="request_cancelled", path="/async-wait/")
    assert "status" not in record
    leave_after(uvicorn, "/async-stream/?count=300", 1500)
    record = uvicorn.wait_for(event_type="request_cancelled", path="/async-stream/")
    assert record["status"] == 200
    assert record["response_bytes"] < 300_000


def test_runserver_logs_each_request_once_as_json(tmp_path: Path) -> None:
    """Its own line only for what never reached the middleware."""
    [port] = free_ports(1)
    arguments = [sys.executable, "-W", "ignore", "-m", "django", "runserver", "--noreload"]
    arguments += ["--skip-checks", "--nothreading", f"127.0.0.1:{port}"]
    environment = {
        "DJANGO_SETTINGS_MODULE": "tests.library.project.settings",
        "PROJECT_DATABASE": str(tmp_path / "database.sqlite3"),
        "LOGSTACK_DJANGO_SINK": "file",
        "LOGSTACK_DJANGO_PATH": str(tmp_path / "app.log"),
    }
    with serve(arguments, port, tmp_path / "runserver", environment) as server:
        for mark in ("a", "b"):
            get(server, f"/ok/?mark={mark}")

        def records() -> list[dict[str, object]]:
            lines = (tmp_path / "app.log").read_bytes().splitlines(keepends=True)
            return [parse(line) for line in lines]

        wait_until(lambda: len(records()) >= 4)
        with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
            connection.sendall(b"NONSENSE\r\n\r\n")
            connection.recv(1000)
        own = wait_until(lambda: [r for r in records() if r["logger_name"] == "django.server"])
        assert all("/ok/" not in str(record) for record in own)
        access = [r for r in records() if r["logger_name"] == "logstack_django.access"]
        assert len(access) == 2
