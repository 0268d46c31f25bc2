"""What an application relies on beside its records: mails, its file, its streams, WebSockets."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import threading
import time
from pathlib import Path
from typing import Any

import django
import pytest
from django.core import mail
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler
from django.test import AsyncRequestFactory, override_settings
from logstack_django.channels import LogContextMiddleware
from logstack_django.config import current_options
from logstack_django.handlers import JsonHandler
from logstack_django.mail import AdminMailHandler
from logstack_django.sinks import FileSink, StreamSink
from logstack_django.testing import CapturedLogs, assert_logged

from logstack_django import current_context, logging_config
from tests.library.support import (
    OPTIONS,
    logging_setting,
    make_logger,
    make_record,
    parse,
    run_python,
    setup_code,
)

# --- mails and handlers of the application ------------------------------------------------------


@pytest.mark.parametrize("debug", [False, True])
def test_admins_get_their_mails(debug: bool) -> None:
    """As by Django's own configuration: not with DEBUG."""
    record = make_record("broken", level=logging.ERROR, name="django.request")
    mail.outbox = []
    backend = "django.core.mail.backends.locmem.EmailBackend"
    address = "ann@shop.example"
    admins = [address] if django.VERSION >= (6, 0) else [("Ann", address)]
    mailer: dict[str, Any] = {"EMAIL_BACKEND": backend}
    if django.VERSION >= (6, 1):
        mailer = {"MAILERS": {"default": {"BACKEND": backend}}}
    with override_settings(ADMINS=admins, DEBUG=debug, **mailer):
        AdminMailHandler().handle(record)
    assert len(mail.outbox) == (0 if debug else 1)
    config = logging_config("s")
    assert config["loggers"]["django"]["handlers"] == ["mail_admins"]


def test_the_application_adds_handlers_of_its_own() -> None:
    """To the root logger, beside the library's."""
    handler = {"class": "logging.NullHandler"}
    config = logging_config("s", handlers={"tracker": handler})
    assert config["root"]["handlers"] == ["logstack", "tracker"]
    assert config["handlers"]["tracker"] == handler


def test_options_are_found_in_a_configuration_of_the_project() -> None:
    """Around the library's handler."""
    own = {"()": "logstack_django.handlers.JsonHandler", "options": {"service": "own"}}
    with logging_setting({"version": 1, "handlers": {"json": own}}):
        assert current_options().service == "own"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[("service", "  "), ("environment", ""), ("slow_request_ms", "nan")],
        *[("write_timeout_ms", -5), ("max_record_bytes", 10**9), ("flood_rate", -1)],
        ("redact_personal", ["names"]),
    ],
)
def test_a_value_that_cannot_work_is_refused(name: str, value: Any) -> None:
    """By the name of its argument."""
    with pytest.raises(ImproperlyConfigured, match=f"logstack_django: {name} "):
        logging_config(**{"service": "s", name: value})


def test_the_example_command_does_not_write_into_the_log(tmp_path: Path) -> None:
    """Only to the terminal."""
    path = tmp_path / "app.log"
    done = run_python(
        "from django.conf import settings; import django, logstack_django\n"
        f"config = logstack_django.logging_config('s', sink='file', path={str(path)!r})\n"
        "settings.configure(LOGGING=config, INSTALLED_APPS=['logstack_django'], SECRET_KEY='x')\n"
        "django.setup()\n"
        "from django.core.management import call_command; call_command('logstack_example')\n"
    )
    assert done.returncode == 0, done.stderr.decode()
    assert len(done.stdout.splitlines()) > 8
    assert not path.exists() or path.read_bytes() == b""


# --- files and streams --------------------------------------------------------------------------


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_loses_nothing_to_a_rotation(tmp_path: Path) -> None:
    """Between the rename by logrotate and its new file."""
    _check_rotation(tmp_path, lambda: tmp_path.chmod(0o500), lambda: tmp_path.chmod(0o700))


def test_a_file_that_cannot_be_opened_loses_nothing_to_a_rotation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For example because there is no free descriptor."""
    opened = os.open

    def refuse(*args: Any, **kwargs: Any) -> int:
        raise OSError(24, "Too many open files")

    _check_rotation(
        tmp_path,
        lambda: monkeypatch.setattr(os, "open", refuse),
        lambda: monkeypatch.setattr(os, "open", opened),
    )


def _check_rotation(folder: Path, close: Any, open_again: Any) -> None:
    path, old = folder / "app.log", folder / "app.log.1"
    sink = FileSink(str(path))
    sink.write(b"one\n")
    path.rename(old)
    close()
    sink.write(b"two\n")
    sink.write(b"three\n")
    open_again()
    sink.write(b"four\n")
    sink.close()
    assert (old.read_bytes(), path.read_bytes()) == (b"one\ntwo\nthree\n", b"four\n")


def test_the_lock_is_free_while_a_record_waits_for_a_reader() -> None:
    """Other threads log to other places, and this one's fork is not stuck."""
    reader, writer = os.pipe()
    handler = JsonHandler(OPTIONS, sink=StreamSink(writer, 1.0))
    logger = make_logger(handler)
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        pass
    os.set_blocking(writer, True)
    thread = threading.Thread(target=logger.info, args=("waits",))
    thread.start()
    time.sleep(0.3)  # within its second
    assert handler.lock is not None
    assert handler.lock.acquire(timeout=0.1)
    handler.lock.release()
    thread.join(5)
    assert not thread.is_alive()
    assert handler.dropped == 1
    os.close(reader)
    handler.close()
    os.close(writer)


def test_a_loss_report_that_cannot_be_written_does_not_keep_the_file_open() -> None:
    """The sink is closed whatever happens before."""
    closed: list[bool] = []

    class Broken:
        def write(self, line: bytes) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            closed.append(True)

    handler = JsonHandler(OPTIONS, sink=Broken())
    make_logger(handler).info("lost")
    handler.close()
    assert closed == [True]


def test_a_record_of_another_handler_takes_the_same_line() -> None:
    """It may have added `message` and `asctime`."""
    done = run_python(
        setup_code()
        + "import io\ntext = logging.StreamHandler(io.StringIO())\n"
        + "text.setFormatter(logging.Formatter('%(asctime)s %(message)s'))\n"
        + "logging.root.handlers.insert(0, text)\nlogger.info('once', extra={'a': 1})\n"
    )
    found = parse(done.stdout)
    assert (found["message"], found["a"]) == ("once", 1)
    assert "asctime" not in found


# --- streams under ASGI -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_a_stream_that_fails_under_asgi_has_its_records(
    kind: str, captured_logs: CapturedLogs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One error with the request's id, one access record, and the server's copy is dropped."""
    # Django does not close the file of the body then.
    memory = "django.core.handlers.asgi.tempfile.SpooledTemporaryFile"
    monkeypatch.setattr(memory, lambda **options: io.BytesIO())
    scope = AsyncRequestFactory()._base_scope(path=f"/fails-{kind}/")  # type: ignore[attr-defined]
    sent: list[Any] = []

    async def run() -> None:
        messages = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Any:
            return messages.pop() if messages else await asyncio.sleep(60)

        async def send(message: Any) -> None:
            sent.append(message)

        application = ASGIHandler()
        application.load_middleware(is_async=True)
        await application(scope, receive, send)

    with pytest.raises(ValueError, match="mid-stream") as caught:
        asyncio.run(run())
    logging.getLogger("uvicorn.error").error("Exception in ASGI\n", exc_info=caught.value)
    access = assert_logged(captured_logs, event_type="request_aborted", count=1)
    error = assert_logged(captured_logs, level="ERROR", logger_name="django.request", count=1)
    assert error["exception_type"] == "ValueError"
    assert error["request_id"] == access["request_id"]
    assert "hunter2" not in json.dumps(list(captured_logs))


# --- WebSockets ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fails", [False, True])
def test_a_websocket_has_a_context(fails: bool, captured_logs: CapturedLogs) -> None:
    """The records of its consumer, and one at its end."""

    class User:
        is_authenticated = True
        pk, username = 7, "ann"

    async def consumer(scope: Any, receive: Any, send: Any) -> None:
        logging.getLogger("shop.consumer").info("before")
        scope["user"] = User()
        scope["url_route"] = {"kwargs": {"token": "t0ken-s3cr3t"}}
        logging.getLogger("shop.consumer").info("message on /ws/t0ken-s3cr3t/")
        if fails:
            raise ValueError("broken")

    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    headers = [(b"traceparent", f"00-{trace}-00f067aa0ba902b7-01".encode())]
    scope = {"type": "websocket", "path": "/ws/t0ken-s3cr3t/", "headers": headers}
    application = LogContextMiddleware(consumer)
    nothing: Any = None
    run = application({**scope, "client": ("192.0.2.7", 4711)}, nothing, nothing)
    if fails:
        with pytest.raises(ValueError, match="broken"):
            asyncio.run(run)
    else:
        asyncio.run(run)
    before, inside, end = captured_logs
    assert before["request_id"] == inside["request_id"] == end["request_id"]
    assert (inside["trace_id"], inside["client_ip"]) == (trace, "192.0.2.7")
    assert (inside["user_id"], inside["username"]) == (7, "ann")
    assert end["event_type"] == ("request_aborted" if fails else "websocket_finished")
    assert end["path"] == "/ws/[redacted]/"
    assert "t0ken-s3cr3t" not in json.dumps(list(captured_logs))
    assert current_context() == {}
