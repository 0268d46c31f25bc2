"""What the library's tests share: strict parsing, the contract, child processes, servers."""

from __future__ import annotations

import json
import logging
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jsonschema
from django.conf import settings
from logstack_django.config import OPTIONS_KEY
from logstack_django.encoding import encode_stdlib
from logstack_django.formatter import JsonFormatter
from logstack_django.options import Options
from logstack_django.testing import CapturedLogs

ROOT = Path(__file__).parents[2]
SCHEMA = json.loads((ROOT / "stack" / "log_record.schema.json").read_text(encoding="utf-8"))
# Names of the monitor's are any other name to an application.
for _name in [n for n, field in SCHEMA["properties"].items() if field["x-set-by"] == "monitor"]:
    del SCHEMA["properties"][_name]
_validator = jsonschema.Draft202012Validator(SCHEMA)
OPTIONS = Options(service="erp-test", environment="test")
Record = dict[str, Any]


def parse(line: bytes) -> Record:
    """One line of strict JSON: UTF-8, no NaN, no name twice, valid by the contract."""
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    text = line.decode("utf-8")
    assert len(text.splitlines()) == 1
    found = json.loads(text, parse_constant=_refuse, object_pairs_hook=_unique)
    assert isinstance(found, dict)
    check(found)
    return found


def check(record: Record) -> None:
    """Raise unless the record is as the contract says, in its order, without empty fields."""
    _validator.validate(record)
    known = [name for name in SCHEMA["properties"] if name in record]
    assert list(record)[: len(known)] == known
    for name, value in record.items():
        assert value is not None, name
        assert value != "" or name == "message", name


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def _unique(pairs: list[tuple[str, Any]]) -> Record:
    assert len({name for name, _ in pairs}) == len(pairs), [name for name, _ in pairs]
    return dict(pairs)


@contextmanager
def logging_setting(value: Mapping[str, Any]) -> Iterator[None]:
    """Another LOGGING setting. override_settings may configure logging with it."""
    before = settings.LOGGING
    settings.LOGGING = value
    try:
        yield
    finally:
        settings.LOGGING = before


def changed_options(**changes: Any) -> Mapping[str, Any]:
    """The project's LOGGING setting with other options of the library."""
    options = {**settings.LOGGING[OPTIONS_KEY], **changes}
    return {**settings.LOGGING, OPTIONS_KEY: options}


def make_record(
    message: Any = "Message",
    *args: Any,
    level: int = logging.INFO,
    name: str = "tests.library",
    exc_info: Any = None,
    fields: Mapping[str, Any] | None = None,
    **extra: Any,
) -> logging.LogRecord:
    """A record as a logger makes it; `fields` takes names that are parameters here."""
    return logging.getLogger(name).makeRecord(
        name, level, __file__, 1, message, args, exc_info, extra={**extra, **(fields or {})}
    )


def format_both(record: logging.LogRecord, options: Options = OPTIONS) -> Record:
    """The record through both encoders, which must agree."""
    first = parse(JsonFormatter(options).format_line(record))
    second = parse(JsonFormatter(options, encoder=encode_stdlib).format_line(record))
    assert first == second
    assert list(first) == list(second)
    return first


def format_one(message: Any = "Message", *args: Any, **given: Any) -> Record:
    """A record made of this and formatted."""
    return format_both(make_record(message, *args, **given))


def run_python(
    code: str, *, environment: Mapping[str, str] | None = None, timeout: float = 30
) -> subprocess.CompletedProcess[bytes]:
    """Run a program in a process of its own, which sees the checkout."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env=child_environment(environment),
        capture_output=True,
        timeout=timeout,
        check=False,
        cwd=ROOT,
    )


def child_environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of a child process."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith("LOGSTACK_DJANGO_")
    }
    kept.update({"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"})
    kept.update(extra or {})
    return kept


def messages_read_slowly(code: str) -> list[str]:
    """The messages that a child writes to a pipe whose reader is slower than its writers."""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code],
        stdout=subprocess.PIPE,
        cwd=ROOT,
        env=child_environment(),
    )
    assert process.stdout is not None
    received = bytearray()
    while chunk := os.read(process.stdout.fileno(), 5000):
        received.extend(chunk)
    process.stdout.close()
    process.wait(20)
    return [parse(line)["message"] for line in bytes(received).splitlines(keepends=True)]


def wait_until(condition: Callable[[], Any], timeout: float = 20, what: str = "") -> Any:
    """Poll until the condition gives something; AssertionError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"waited {timeout} s for {what or condition}")
        time.sleep(0.02)


class Server:
    """A child process that serves the test project, with its output in files."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, folder: Path) -> None:
        self.process = process
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._parsed: list[Record] = []

    def lines(self) -> list[bytes]:
        """Everything on stdout so far."""
        return (self._folder / "stdout").read_bytes().splitlines(keepends=True)

    def errors(self) -> str:
        """Everything on stderr so far."""
        return (self._folder / "stderr").read_text(encoding="utf-8", errors="replace")

    def records(self) -> list[Record]:
        """The complete lines of stdout, parsed strictly."""
        complete = [line for line in self.lines() if line.endswith(b"\n")]
        self._parsed += map(parse, complete[len(self._parsed) :])
        return self._parsed

    def wait_for(self, **fields: Any) -> Record:
        """The first record with these fields, as soon as it is there."""

        def find() -> Record | None:
            for record in self.records():
                if all(record.get(name) == value for name, value in fields.items()):
                    return record
            return None

        try:
            return wait_until(find, what=str(fields))  # type: ignore[no-any-return]
        except AssertionError as error:
            output = b"".join(self.lines()).decode("utf-8", "replace")
            raise AssertionError(f"{error}\n{output[-4000:]}\n{self.errors()[-4000:]}") from None

    def stop(self) -> None:
        """End the process, and its children with it."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(5)


@contextmanager
def serve(
    arguments: list[str], port: int, folder: Path, environment: Mapping[str, str] | None = None
) -> Iterator[Server]:
    """Run a server until it accepts connections; stop it in the end."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "stdout").open("wb") as out, (folder / "stderr").open("wb") as err:
        process = subprocess.Popen(
            arguments, stdout=out, stderr=err, env=child_environment(environment), cwd=ROOT
        )
    server = Server(process, port, folder)
    try:
        wait_until(lambda: process.poll() is not None or _accepts(port), what="the server")
        if process.poll() is not None:
            raise AssertionError(f"the server ended\n{server.lines()}\n{server.errors()}")
        yield server
    finally:
        server.stop()


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


SETUP = """
import logging, logging.config, logstack_django, os, sys, threading, time
logging.config.dictConfig(logstack_django.logging_config("child", **{arguments}))
logger = logging.getLogger("child")
"""


def setup_code(**arguments: Any) -> str:
    """The first lines of a child process that logs."""
    return SETUP.replace("{arguments}", repr(arguments))


def make_logger(handler: logging.Handler) -> logging.Logger:
    """A new logger with this handler only."""
    logger = logging.Logger("tests.handlers", logging.DEBUG)
    logger.addHandler(handler)
    return logger


def access_records(logs: CapturedLogs) -> list[dict[str, Any]]:
    """The records of the access log, each valid by the contract."""
    for record in logs:
        check(record)
    return logs.matching(logger_name="logstack_django.access")
