"""The fields of every record of a request or job: an immutable object in one ContextVar.

The middleware, `background_job` and the Celery signals open a context; application code adds to
it with `bind` and `context`; the formatter reads it. A context is replaced, never changed, so a
copy in another task or thread has no effect on it.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ParamSpec, Protocol, TypeVar, cast

P = ParamSpec("P")
R = TypeVar("R")


class RequestFields(Protocol):
    """Fields that are known only while a request runs, for example its user once it is loaded."""

    secrets: tuple[str, ...]  # texts that no record of the request shows; after `fields`
    failed: bool  # whether an exception was logged that the response does not carry

    def fields(self) -> dict[str, Any]:
        """The fields so far; the same dict object as long as nothing changed."""
        ...


class Context:
    """Bound fields plus those of the request. Immutable."""

    __slots__ = ("bound", "rendered", "request")

    def __init__(self, bound: dict[str, Any], request: RequestFields | None = None) -> None:
        self.bound = bound
        self.request = request
        # The formatter keeps the encoded fields here, so that they are encoded once per context.
        self.rendered: Any = None

    def fields(self) -> dict[str, Any]:
        """All fields; bound fields take precedence over those of the request."""
        if self.request is None:
            return self.bound
        if not self.bound:
            return self.request.fields()
        return {**self.request.fields(), **self.bound}

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that no record of the request shows."""
        return self.request.secrets if self.request is not None else ()


current: ContextVar[Context | None] = ContextVar("logstack_django", default=None)


def new_request_id() -> str:
    """A fresh request id: 32 hexadecimal digits."""
    return os.urandom(16).hex()


def current_context() -> dict[str, Any]:
    """A copy of the fields that a record logged now would have."""
    found = current.get()
    return dict(found.fields()) if found is not None else {}


def bind(**fields: Any) -> None:
    """Add fields to every later record of the current request, job or `context` block.

    None removes a field. Outside of any context the fields stay for the rest of the thread or
    task, so call it inside a request, a job, or `context`.
    """
    found = current.get()
    request = found.request if found is not None else None
    bound = {**found.bound, **fields} if found is not None else fields
    current.set(Context(bound, request))


class Block:
    """A `with` block that is also a decorator, of coroutine functions too: each call opens its own
    block and closes it when the function or coroutine ends."""

    def __init__(self, make: Callable[[], AbstractContextManager[None]]) -> None:
        self._make = make
        self._open = make()

    def __enter__(self) -> None:
        return self._open.__enter__()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool | None:
        return self._open.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        return _in_block(self._make, function)


def block(function: Callable[P, Iterator[None]]) -> Callable[P, Block]:
    make = contextmanager(function)

    @functools.wraps(function)
    def begin(*args: P.args, **kwargs: P.kwargs) -> Block:
        return Block(lambda: make(*args, **kwargs))

    return begin


@block
def context(**fields: Any) -> Iterator[None]:
    """Add fields to the records logged inside the block (or the decorated function)."""
    before = current.get()
    bind(**fields)
    try:
        yield
    finally:
        # set(), not reset(token): an async teardown may run in another Context, where the token
        # would be refused.
        current.set(before)


@contextmanager
def activate(new: Context | None) -> Iterator[None]:
    """Make `new` the current context inside the block."""
    before = current.get()
    current.set(new)
    try:
        yield
    finally:
        current.set(before)


def wrap(function: Callable[P, R]) -> Callable[P, R]:
    """`function` with the current context, for threads and pools that do not inherit it."""
    captured = current.get()
    return _in_block(lambda: activate(captured), function)


def _in_block(
    make: Callable[[], AbstractContextManager[None]], function: Callable[P, R]
) -> Callable[P, R]:
    """`function` with a new block around each call, for coroutines until they end."""
    refuse_generator(function)
    if inspect.iscoroutinefunction(function):
        coroutine_function = cast(Callable[..., Any], function)

        @functools.wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with make():
                return await coroutine_function(*args, **kwargs)

        return cast(Callable[P, R], call_async)

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with make():
            return function(*args, **kwargs)

    return call


def refuse_generator(function: Callable[..., Any]) -> None:
    """TypeError for a function whose call only makes a generator: its body runs later."""
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        name = getattr(function, "__qualname__", function)
        raise TypeError(
            f"cannot decorate the generator {name}: its body runs after the call. "
            "Use a with block inside it."
        )
