"""Sends the frames of a plan to the engine, one after the other, each exactly once.

Before a frame is sent, its number is on disk with the number of records that the engine has in its
time range. If the answer never comes, or this process ends, the same count says whether the engine
took the frame: a batch is taken as a whole.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import requests
from pydantic import BaseModel

from stack.archive.failpoints import failpoint
from stack.engines import EngineError, Selection
from stack.engines.factory import engine_of
from stack.engines.http import open_session, send_request, shorten
from stack.engines.kinds import kind_of
from stack.records.timestamps import EPOCH
from stack.runtimes.history import HistoryError
from stack.runtimes.history.plan import Frame, Plan, Span, read_frames
from stack.settings.secrets import write_private
from stack.settings.targets import Target

DELIVERY_FILE = "delivery.json"
TIMEOUT = (3.05, 60)
PATIENCE = 60.0  # seconds for which an engine that does not answer is tried again
PAUSE = 1.0
OnSent = Callable[[int], None]
"""Called with the number of records sent so far."""


class Announced(BaseModel):
    """A frame that is being sent, and the engine's records in its range before."""

    frame: int
    before: int


class Delivery(BaseModel):
    """How far a plan is. `counted` is by how much the engine's counts have grown."""

    plan: Plan
    frames: int = 0
    records: int = 0
    counted: int = 0
    announced: Announced | None = None

    @property
    def has_begun(self) -> bool:
        return self.frames > 0 or self.announced is not None

    def save(self, folder: Path) -> None:
        """On disk when it returns."""
        path = folder / DELIVERY_FILE
        write_private(path, self.model_dump_json())
        for name, flags in ((path, os.O_RDONLY), (folder, os.O_RDONLY | os.O_DIRECTORY)):
            descriptor = os.open(name, flags)
            os.fsync(descriptor)
            os.close(descriptor)


def read_delivery(folder: Path) -> Delivery | None:
    """How far the import in a folder is; None if nothing of it is planned."""
    try:
        text = (folder / DELIVERY_FILE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    return Delivery.model_validate_json(text)


@dataclass
class Sender:
    """Sends to the engine of a target, with the headers that its agent sends."""

    target: Target
    headers: Mapping[str, str]

    def __post_init__(self) -> None:
        self.kind = kind_of(self.target.settings)
        self.engine = engine_of(self.target)
        self.session = open_session()
        self.session.trust_env = False
        self.url = self.target.url(self.kind.name, self.kind.ingestion["otelcol"])

    def send_all(self, folder: Path, delivery: Delivery, on_sent: OnSent) -> None:
        """Send what is left of a plan. Raises HistoryError, EngineError."""
        if (announced := delivery.announced) is not None:
            frame = delivery.plan.frames[announced.frame]
            if self._has_grown(frame, announced.before):
                self._note_sent(folder, delivery, frame)
        for number, frame, body in read_frames(folder, delivery.plan, delivery.frames):
            on_sent(delivery.records)
            delivery.announced = Announced(frame=number, before=self.count(frame.span))
            delivery.save(folder)
            failpoint("import-announced")
            self._send(frame, body, delivery.announced.before)
            failpoint("import-sent")
            self._note_sent(folder, delivery, frame)
        on_sent(delivery.records)

    def count(self, span: Span) -> int:
        """The engine's records in a time range, with those that have just arrived."""
        if self.kind.flush:
            base = self.target.url(self.kind.name)
            send_request(
                self.session, self.kind.title, "GET", base, self.kind.flush, timeout=TIMEOUT
            ).close()
        since = EPOCH + timedelta(microseconds=span.first // 1000)
        until = EPOCH + timedelta(microseconds=span.last // 1000 + 1)
        return self.engine.count(Selection(since=since, until=until))

    def _note_sent(self, folder: Path, delivery: Delivery, frame: Frame) -> None:
        if delivery.announced is not None:
            delivery.counted += self.count(frame.span) - delivery.announced.before
        delivery.frames += 1
        delivery.records += frame.span.count
        delivery.announced = None
        delivery.save(folder)

    def _send(self, frame: Frame, body: bytes, before: int) -> None:
        """Until the engine has it. Raises HistoryError."""
        deadline = time.monotonic() + PATIENCE
        while problem := self._post(body):
            if time.monotonic() > deadline:
                raise HistoryError(
                    f"cannot send records to {self.kind.title} at {self.url}: {problem}. "
                    "Run: ./logstack status. The same import goes on from here"
                )
            time.sleep(PAUSE)
            if self._has_grown(frame, before):
                return

    def _post(self, body: bytes) -> str:
        """Send it once; why it is not known whether the engine has it, or empty.

        Raises HistoryError where the engine refuses it.
        """
        headers = {
            "Content-Type": "application/x-protobuf",
            "Content-Encoding": "zstd",
            **self.headers,
        }
        try:
            answer = self.session.post(self.url, data=body, headers=headers, timeout=TIMEOUT)
        except requests.RequestException as error:
            return shorten(error)
        text = f"HTTP {answer.status_code}: {answer.text.strip()[:300]}"
        if answer.status_code in (408, 429) or answer.status_code >= 500:
            return text
        if answer.status_code >= 300:
            raise HistoryError(f"cannot import: {self.kind.title} refuses the records: {text}")
        return ""

    def _has_grown(self, frame: Frame, before: int) -> bool:
        """Whether the engine has a frame that was announced; false if it does not answer."""
        try:
            return self.count(frame.span) - before >= frame.span.count
        except EngineError:
            return False
