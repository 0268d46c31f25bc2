"""The error fields of a record: type, message, and a bounded stack trace without local variables.

Walks the traceback itself: the standard formatter computes caret positions and takes up to a
hundred times longer. The text of a frame is redacted once and cached.
"""

from __future__ import annotations

import linecache
from collections.abc import Iterator
from types import FrameType, TracebackType
from typing import Any

from logstack_django.redaction import Redactor
from logstack_django.sanitize import Sanitizer
from logstack_django.text import safe_text, type_name

MAX_FRAMES = 40
HEAD_FRAMES = 12
MAX_CHAIN = 8
MAX_GROUP = 8
MAX_STACK = 8192
MAX_MESSAGE = 2048

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
_HEADER = "Traceback (most recent call last):\n"


class TracebackWriter:
    """Writes exceptions as text; caches the text of frames."""

    def __init__(self, redactor: Redactor | None) -> None:
        self._redactor = redactor
        self._frames: dict[tuple[str, str, int], str] = {}

    def fields(
        self, error: BaseException, trace: TracebackType | None, secrets: tuple[str, ...] = ()
    ) -> tuple[dict[str, Any], bool]:
        """exception_type, exception_message (left out if empty), stack_trace; and if cut."""
        sanitizer = Sanitizer(self._redactor, secrets=secrets)
        out = {"exception_type": type_name(type(error))}
        message = sanitizer.text(safe_text(error), MAX_MESSAGE)
        if message:
            out["exception_message"] = message
        stack = self._chain(error, trace, sanitizer, set(), 0).rstrip("\n")
        if len(stack) > MAX_STACK:
            sanitizer.truncated = True
            stack = cut_middle(stack, MAX_STACK)
        out["stack_trace"] = stack
        return out, sanitizer.truncated

    def _chain(
        self,
        error: BaseException,
        trace: TracebackType | None,
        sanitizer: Sanitizer,
        seen: set[int],
        depth: int,
    ) -> str:
        """The text, oldest exception first, as Python prints it; the newest is given room first."""
        seen.add(id(error))
        links = _links(error, seen)
        if len(links) == MAX_CHAIN:
            sanitizer.truncated = True
        parts = ["".join(self._one(error, trace, sanitizer, seen, depth))]
        for earlier, joint in links:
            parts.append(joint)
            parts.append("".join(self._one(earlier, earlier.__traceback__, sanitizer, seen, depth)))
        return "".join(reversed(parts))

    def _one(
        self,
        error: BaseException,
        trace: TracebackType | None,
        sanitizer: Sanitizer,
        seen: set[int],
        depth: int,
    ) -> Iterator[str]:
        if trace is not None:
            yield _HEADER
            yield from self._walk(trace, sanitizer)
        name = type_name(type(error))
        message = sanitizer.text(safe_text(error), MAX_MESSAGE)
        yield f"{name}: {message}\n" if message else f"{name}\n"
        for note in _notes(error):
            yield sanitizer.text(note, MAX_MESSAGE) + "\n"
        if isinstance(error, BaseExceptionGroup):
            yield from self._group(error, sanitizer, seen, depth)

    def _group(
        self,
        group: BaseExceptionGroup[BaseException],
        sanitizer: Sanitizer,
        seen: set[int],
        depth: int,
    ) -> Iterator[str]:
        members = group.exceptions
        for number, member in enumerate(members, 1):
            if number > MAX_GROUP or depth >= 4 or sanitizer.full:
                sanitizer.truncated = True
                yield f"  + {len(members) - number + 1} more exceptions\n"
                return
            if id(member) in seen:
                continue
            yield f"  +---------------- {number} ----------------\n"
            text = self._chain(member, member.__traceback__, sanitizer, seen, depth + 1)
            sanitizer.spend(len(text))
            for line in text.splitlines():
                yield f"  | {line}\n"

    def _walk(self, trace: TracebackType, sanitizer: Sanitizer) -> Iterator[str]:
        frames: list[tuple[FrameType, int]] = []
        step: TracebackType | None = trace
        while step is not None:
            frames.append((step.tb_frame, step.tb_lineno))
            step = step.tb_next
        omitted = len(frames) - MAX_FRAMES
        known = self._frames
        for place, (frame, line) in enumerate(frames):
            if omitted > 0 and HEAD_FRAMES <= place < HEAD_FRAMES + omitted:
                if place == HEAD_FRAMES:
                    sanitizer.truncated = True
                    yield f"  ... {omitted} frames left out ...\n"
                continue
            code = frame.f_code
            key = (code.co_filename, code.co_name, line)
            text = known.get(key)
            if text is None:
                text = self._frame_text(frame, line)
                if len(known) >= 4096:
                    known.clear()
                known[key] = text
            yield text

    def _frame_text(self, frame: FrameType, line: int | None) -> str:
        code = frame.f_code
        sanitizer = Sanitizer(self._redactor)
        head = f'  File "{code.co_filename}", line {line}, in {code.co_name}'
        try:
            source = linecache.getline(code.co_filename, line or 0, frame.f_globals).strip()
        except Exception:  # a custom module loader
            source = ""
        text = sanitizer.text(head, 1024) + "\n"
        return f"{text}    {sanitizer.text(source, 512)}\n" if source else text


def cut_middle(text: str, limit: int) -> str:
    """`text` in at most `limit` characters: a third from its start, the rest from its end."""
    if len(text) <= limit:
        return text
    joint = "\n...\n"
    head = max(0, (limit - len(joint)) // 3)
    tail = max(0, limit - len(joint) - head)
    return text[:head] + joint + (text[-tail:] if tail else "")


def _links(error: BaseException, seen: set[int]) -> list[tuple[BaseException, str]]:
    """Causes and contexts of `error`, nearest first, each with the sentence that joins it."""
    links: list[tuple[BaseException, str]] = []
    step = error
    while len(links) < MAX_CHAIN:
        if step.__cause__ is not None:
            earlier, joint = step.__cause__, _CAUSE
        elif step.__context__ is not None and not step.__suppress_context__:
            earlier, joint = step.__context__, _CONTEXT
        else:
            break
        if id(earlier) in seen:
            break
        seen.add(id(earlier))
        links.append((earlier, joint))
        step = earlier
    return links


def _notes(error: BaseException) -> list[str]:
    notes = getattr(error, "__notes__", None)
    if not isinstance(notes, list | tuple):
        return []
    return [safe_text(note) for note in notes[:16]]
