"""Observes a streaming response to its last byte, and runs each step in the request's context."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Protocol

from django.http import HttpResponseBase

from logstack_django.contexts import Context, current


class Call(Protocol):
    """The current request; see the middleware."""

    def finish(self, event_type: str, response_bytes: int | None) -> None:
        """Log the access record."""
        ...

    def log_failure(self, error: BaseException) -> None:
        """Log the exception of a stream."""
        ...

    @property
    def state(self) -> Any:
        """The fields of the request."""
        ...


class _Watch:
    """Counts bytes and remembers how the stream ended; each step of the stream runs inside it."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.context: Context | None = current.get()
        self.sent = 0
        self.started = False
        self.event_type = "request_cancelled"

    def __enter__(self) -> None:
        self.started = True
        self._before = current.get()
        current.set(self.context)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: object
    ) -> None:
        if isinstance(error, StopIteration | StopAsyncIteration):
            self.event_type = "request_finished"
        elif isinstance(error, Exception):
            # At once: under ASGI Django does not close a response whose stream failed.
            self.event_type = "request_aborted"
            self.call.log_failure(error)
            self.call.finish(self.event_type, self.sent)
        self.context = current.get()
        current.set(self._before)

    def finish(self, length: int | None) -> None:
        before = current.get()
        current.set(self.context)
        try:
            self.call.finish(self.event_type, length)
        finally:
            self.call.state.freeze()
            current.set(before)


class _SyncChunks:
    def __init__(self, chunks: Iterator[bytes], watch: _Watch) -> None:
        self._chunks = chunks
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        with self._watch:
            chunk = next(self._chunks)
        self._watch.sent += len(chunk)
        return chunk


class _AsyncChunks:
    def __init__(self, chunks: AsyncIterator[bytes], watch: _Watch) -> None:
        self._chunks = chunks
        self._watch = watch

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        with self._watch:
            chunk = await anext(self._chunks)
        self._watch.sent += len(chunk)
        return chunk


def observe_stream(response: HttpResponseBase, call: Call) -> None:
    """Log the access record of `response` when the server closes it."""
    watch = _Watch(call)
    stream: Any = response
    counted = False
    if getattr(stream, "file_to_stream", None) is None:
        # A file is not wrapped: the server may use sendfile(2).
        chunks = stream.streaming_content
        stream.streaming_content = (
            _AsyncChunks(aiter(chunks), watch)
            if getattr(stream, "is_async", False)
            else _SyncChunks(iter(chunks), watch)
        )
        counted = True
    close = response.close

    def close_and_log() -> None:
        try:
            close()
        finally:
            length: int | None = watch.sent
            if not watch.started:
                # Nothing was read (HEAD), or the server sent the file itself.
                watch.event_type = "request_finished"
            if not counted:
                announced = response.headers.get("Content-Length", "")
                length = int(announced) if announced.isascii() and announced.isdigit() else None
            watch.finish(length)

    response.close = close_and_log  # type: ignore[method-assign]
