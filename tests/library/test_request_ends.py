"""The access record and the context at the end of a request, of streams and async views too."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Iterator
from typing import Any

import pytest
from django.test import AsyncClient, Client, RequestFactory
from logstack_django.middleware import RequestLogMiddleware
from logstack_django.testing import CapturedLogs

from logstack_django import current_context
from tests.library.project import views
from tests.library.support import access_records

pytestmark = pytest.mark.usefixtures("database")


# --- how a request ends -------------------------------------------------------------------------


def test_the_context_is_gone_after_every_end(client: Client, captured_logs: CapturedLogs) -> None:
    """Two requests on one thread; success, error, the end of the worker, a stream."""
    for path in ("/ok/", "/broken/", "/denied/", "/nowhere/"):
        client.get(path)
        assert current_context() == {}
    with pytest.raises(SystemExit):
        client.get("/stops/")
    assert current_context() == {}
    (record,) = captured_logs.matching(event_type="request_aborted")
    assert record["level"] == "WARNING"
    assert "status" not in record
    ids = [record["request_id"] for record in access_records(captured_logs)]
    assert len(set(ids)) == len(ids) == 5


def test_a_stream_is_logged_when_its_last_byte_is_out(
    client: Client, captured_logs: CapturedLogs
) -> None:
    """With the bytes that were sent, and the context in every step of the generator."""
    response: Any = client.get("/stream/?count=3")
    assert access_records(captured_logs) == []
    assert len(b"".join(response.streaming_content)) == 3000
    response.close()
    (record,) = access_records(captured_logs)
    assert record["event_type"] == "request_finished"
    assert record["response_bytes"] == 3000
    chunks = [found for found in captured_logs if found["message"].startswith("Chunk")]
    assert [found["request_id"] for found in chunks] == [record["request_id"]] * 3
    assert current_context() == {}


def test_a_stream_that_is_left_is_cancelled(client: Client, captured_logs: CapturedLogs) -> None:
    """The server stops asking when the client is gone."""
    response: Any = client.get("/stream/?count=100")
    chunks: Iterator[bytes] = iter(response.streaming_content)
    next(chunks)
    response.close()
    (record,) = access_records(captured_logs)
    assert record["event_type"] == "request_cancelled"
    assert record["level"] == "WARNING"
    assert record["response_bytes"] == 1000


def test_a_stream_that_fails_raises_and_is_aborted(
    client: Client, captured_logs: CapturedLogs
) -> None:
    """The exception is the server's to see."""
    response: Any = client.get("/stream/?kind=raise")
    with pytest.raises(ValueError, match="broken stream"):
        b"".join(response.streaming_content)
    response.close()
    (record,) = access_records(captured_logs)
    assert record["event_type"] == "request_aborted"


def test_a_file_stays_a_file(captured_logs: CapturedLogs) -> None:
    """The server may still hand it to the kernel."""
    response = RequestLogMiddleware(views.file)(RequestFactory().get("/file/"))
    assert response.file_to_stream is not None
    response.close()
    (record,) = access_records(captured_logs)
    assert record["response_bytes"] == 5000
    assert record["event_type"] == "request_finished"


def test_a_stream_read_in_another_context_does_no_harm(
    client: Client, captured_logs: CapturedLogs
) -> None:
    """A server may run each step anywhere."""
    response: Any = client.get("/stream/?count=2")
    chunks = iter(response.streaming_content)
    contextvars.copy_context().run(next, chunks)
    contextvars.Context().run(next, chunks)
    contextvars.Context().run(response.close)
    assert len({record["request_id"] for record in captured_logs}) == 1


# --- async --------------------------------------------------------------------------------------


def test_an_async_view_keeps_its_context_in_threads(captured_logs: CapturedLogs) -> None:
    """In the view, in sync_to_async, in to_thread; and the access record comes last."""
    response = asyncio.run(_get("/async/?mark=a"))
    messages = [record["message"] for record in captured_logs]
    assert messages == ["In thread a", "In to_thread a", "In view a", "GET /async/ 200"]
    ids = {record["request_id"] for record in captured_logs}
    assert ids == {response.headers["X-Request-ID"]}


def test_a_sync_view_under_asgi_keeps_its_context(captured_logs: CapturedLogs) -> None:
    """What it binds is on the access record."""
    asyncio.run(_get("/organizations/6/"))
    (record,) = access_records(captured_logs)
    assert record["organization_id"] == 6


async def _get(path: str) -> Any:
    return await AsyncClient(raise_request_exception=False).get(path)


def test_200_interleaved_requests_do_not_mix(captured_logs: CapturedLogs) -> None:
    """Each mark is seen with one request id only."""

    async def main() -> None:
        client = AsyncClient()
        await asyncio.gather(*(client.get(f"/async/?mark=m{number}") for number in range(200)))

    asyncio.run(main())
    ids: dict[str, set[str]] = {}
    for record in captured_logs:
        if record["message"].startswith("In "):
            ids.setdefault(record["message"].rpartition(" ")[2], set()).add(record["request_id"])
    assert len(ids) == 200
    assert all(len(found) == 1 for found in ids.values())
    assert len(set.union(*ids.values())) == 200


def test_a_cancelled_async_request_is_a_separate_event(captured_logs: CapturedLogs) -> None:
    """The server cancels the view when the client is gone; the exception goes on."""

    async def main() -> None:
        task = asyncio.create_task(_get("/async-wait/"))
        while not current_names(task):
            await asyncio.sleep(0.01)
        task.cancel()
        await task

    def current_names(task: asyncio.Task[Any]) -> bool:
        return any("async_wait" in str(frame) for frame in _stack(task))

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
    (record,) = access_records(captured_logs)
    assert record["event_type"] == "request_cancelled"


def _stack(task: asyncio.Task[Any]) -> list[Any]:
    """Code objects of the coroutines that the task waits in."""
    found = []
    coroutine: Any = task.get_coro()
    while coroutine is not None and hasattr(coroutine, "cr_code"):
        found.append(coroutine.cr_code)
        coroutine = coroutine.cr_await
    return found


def test_an_async_stream_is_logged_at_its_end(captured_logs: CapturedLogs) -> None:
    """Read to the end, or left in the middle."""

    async def main(steps: int) -> None:
        response = await _get("/async-stream/?count=3")
        chunks = aiter(response.streaming_content)
        for _ in range(steps):
            await anext(chunks, None)
        response.close()

    asyncio.run(main(4))
    asyncio.run(main(2))
    finished, cancelled = access_records(captured_logs)
    assert finished["event_type"] == "request_finished"
    assert finished["response_bytes"] == 3000
    assert cancelled["event_type"] == "request_cancelled"
    assert cancelled["response_bytes"] == 2000
