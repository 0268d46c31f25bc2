"""Events with typed fields, and durations, for use next to the standard loggers."""

from __future__ import annotations

import functools
import inspect
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, cast

from logstack_django.contexts import refuse_generator
from logstack_django.describe import loaded_pk, resolved
from logstack_django.records import FIELDS_ATTRIBUTE, STANDARD_NAMES
from logstack_django.text import type_name

P = ParamSpec("P")
R = TypeVar("R")

_logger = logging.getLogger("logstack_django.timing")
ExcInfo = (
    bool | BaseException | tuple[type[BaseException], BaseException, TracebackType | None] | None
)


def log_event(
    logger: logging.Logger | str,
    event_type: str,
    message: str = "",
    /,
    *args: object,
    object: object = None,
    level: int | str = logging.INFO,
    exc_info: ExcInfo = None,
    **fields: object,
) -> None:
    """Log an event of the application, for example `organization_created`.

    `object` is a model instance and fills object_type (app_label.ModelName) and object_id (its
    primary key, never by a query). `message` takes %-style `args`; without one the event's name is
    the message. Every other keyword becomes a field, with any name. Never raises.
    """
    try:
        if isinstance(logger, str):
            logger = logging.getLogger(logger)
        number = _level_number(level)
        if number is None:
            fields["extra_level"] = level
            number = logging.INFO
        if not logger.isEnabledFor(number):
            return
        if not isinstance(exc_info, bool | BaseException | tuple | None):
            fields["exc_info"], exc_info = exc_info, None
        extra: dict[str, Any] = {"event_type": event_type}
        if "event_type" in fields:
            fields["extra_event_type"] = fields.pop("event_type")
        if object is not None:
            object_id, object_type = identify(object)
            extra["object_id"] = object_id
            extra["object_type"] = object_type
        unfit: dict[str, Any] = {}
        for name, value in fields.items():
            if name in STANDARD_NAMES or name == FIELDS_ATTRIBUTE:
                unfit[name] = value
            else:
                extra[name] = value
        if unfit:
            # logging refuses these names as attributes of a record.
            extra[FIELDS_ATTRIBUTE] = unfit
        text = message or event_type
        logger.log(number, text, *args, exc_info=exc_info, extra=extra, stacklevel=2)
    except Exception:
        # A record factory or filter of the application failed: at least name the event.
        logging.getLogger("logstack_django").warning("cannot log event %s", event_type)


def identify(value: Any) -> tuple[Any, str | None]:
    """(primary key, app_label.ModelName) of a model instance, or (None, class name)."""
    try:
        found = resolved(value)
        if found is None:
            return None, None
        kind = found if isinstance(found, type) else type(found)
        meta = getattr(kind, "_meta", None)
        label = getattr(meta, "label", None)
        if not isinstance(label, str):
            return getattr(found, "pk", getattr(found, "id", None)), type_name(kind)
        return (None if isinstance(found, type) else loaded_pk(found)), label
    except Exception:
        return None, None


def _level_number(level: object) -> int | None:
    if isinstance(level, int):
        return level
    return logging.getLevelNamesMapping().get(str(level).upper())


class timed:  # noqa: N801 (used like a function: `with timed("step"):`, `@timed("step")`)
    """Measure a step: as a context manager, or as a decorator of a function or coroutine.

    Logs one record when the step ends, with duration_ms (milliseconds) and `step`; event_type is
    step_finished, or step_failed with the exception's class when the step raises (the exception
    propagates). The attribute duration_ms has the duration afterwards. Logging never raises.
    """

    def __init__(
        self,
        step: str,
        /,
        logger: logging.Logger | str | None = None,
        *,
        level: int | str = logging.INFO,
        **fields: object,
    ) -> None:
        self.step = step
        self.duration_ms = 0.0
        self._logger = logger if logger is not None else _logger
        self._level = level
        self._fields = fields
        self._started = 0.0

    def __enter__(self) -> timed:
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.duration_ms = round((time.perf_counter() - self._started) * 1000, 3)
        fields: dict[str, Any] = {**self._fields, "duration_ms": self.duration_ms}
        fields["step"] = self.step
        if error is not None:
            fields["failed_with"] = type_name(type(error))
        event_type = "step_finished" if error is None else "step_failed"
        verb = "took" if error is None else "failed after"
        fields.pop("level", None)
        log_event(
            self._logger,
            event_type,
            "%s %s %.1f ms",
            self.step,
            verb,
            self.duration_ms,
            level=self._level,
            **fields,
        )

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """The function, measured at every call."""
        refuse_generator(function)
        if inspect.iscoroutinefunction(function):
            coroutine_function = cast(Callable[..., Any], function)

            @functools.wraps(function)
            async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
                with self._copy():
                    return await coroutine_function(*args, **kwargs)

            return cast(Callable[P, R], call_async)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            with self._copy():
                return function(*args, **kwargs)

        return call

    def _copy(self) -> timed:
        # One object per call: calls may overlap.
        return timed(self.step, self._logger, level=self._level, **self._fields)
