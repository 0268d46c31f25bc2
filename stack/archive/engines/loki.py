"""Loki as an engine that can be archived: whole entries out, the same entries in.

Loki keeps a line as it was written; labels and metadata stand beside it. Of entries of one stream
with the same time, line and metadata it keeps one, so there is never more than one to archive.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import requests
import yaml

from stack.archive.engines.protocol import HourlyCounts
from stack.archive.failpoints import failpoint
from stack.archive.format import lines
from stack.archive.format.layout import DAY, day_of, hours, rfc3339
from stack.common import wait_until
from stack.engines import EngineError, Record
from stack.engines.http import send_request
from stack.engines.logql import selector_of
from stack.engines.loki import ENTRIES, Entry, read_retention, record_from
from stack.records.timestamps import nanoseconds
from stack.settings.tables import ShorterRetention
from stack.settings.units import parse_go_duration

T = TypeVar("T")
Window = tuple[datetime, datetime]
FIRST_PAGE = 500
LARGEST_PAGE = 20_000
# What a page should be, and beyond which it is asked for again with fewer entries; bytes of JSON.
PAGE_BYTES = 6 * 1024**2
MOST_PAGE_BYTES = 24 * 1024**2
CHUNK = 1024**2
PUSH_ENTRIES = 5000
PUSH_BYTES = 2 * 1024**2
PUSH_ATTEMPTS = 8
ASKED_AT_ONCE = 8
TIMEOUT = (3.05, 120)
MS = 1_000_000  # nanoseconds
# Queries pass over what a deletion names; Loki remembers for this long which deletions there are.
DELETIONS_REMEMBERED = timedelta(minutes=5)


class Deletion(NamedTuple):
    """What Loki was told to delete."""

    request: str
    query: str
    start: datetime
    end: datetime

    @property
    def is_of_all(self) -> bool:
        """Whether it is of whole days: `_selectors` asks for labels that are there at all."""
        return '=~".+"' in self.query


class LokiArchive:
    """One tenant of the Loki at `url`; `storage` is its data folder, to know its size."""

    name = "loki"
    counts_are_cheap = False  # each reads every chunk of its time

    def __init__(self, url: str, tenant: str, storage: Path | None = None):
        self.url = url
        self.tenant = tenant
        self.storage = storage
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies on loopback; looking for them takes a while
        self._session.headers["X-Scope-OrgID"] = tenant
        self._session.headers["X-Loki-Response-Encoding-Flags"] = "categorize-labels"

    @cached_property
    def _version(self) -> str:
        found = re.search(r'loki_build_info{.*version="([^"]+)"', self._ask("GET", "/metrics").text)
        return found[1] if found else "unknown"

    def version(self) -> str:
        return self._version

    def retention(self) -> timedelta:
        return read_retention(lambda path: self._ask("GET", path).text)

    def lateness(self) -> timedelta | None:
        config = yaml.safe_load(self._ask("GET", "/config").text)["limits_config"]
        if config["reject_old_samples"] is not True:
            return None
        return parse_go_duration(str(config["reject_old_samples_max_age"]))

    def oldest(self) -> datetime | None:
        now = datetime.now(UTC)
        since, until = now - self.retention() - DAY, now + DAY
        first = [
            entry
            for selector in self._selectors(self._series(since, until))
            for entry in self._page(selector, nanoseconds(since), nanoseconds(until), 1) or ()
        ]
        if not first:
            return None
        return datetime.fromtimestamp(lines.timestamp(min(first)) // 10**9, UTC)

    def hourly_counts(self, since: datetime, until: datetime) -> HourlyCounts:
        starts = list(hours(since, until))
        windows = [(max(hour, since), min(hour + DAY / 24, until)) for hour in starts]
        found = self._counts(windows, self._series(since, until))
        return {hour: streams for hour, streams in zip(starts, found, strict=True) if streams}

    def export(self, since: datetime, until: datetime) -> Iterator[bytes]:
        for selector in self._selectors(self._series(since, until)):
            yield from self._read(selector, nanoseconds(since), nanoseconds(until))

    def insert(self, stored: Iterable[bytes]) -> None:
        streams: dict[bytes, dict[str, Any]] = {}
        count = size = 0
        for line in stored:
            record = lines.decode(line)
            stream = streams.setdefault(lines.stream(line), {"stream": record.labels, "values": []})
            stream["values"].append([str(record.ts_ns), record.line, record.metadata])
            count, size = count + 1, size + len(line)
            if count >= PUSH_ENTRIES or size >= PUSH_BYTES:
                self._push(list(streams.values()))
                streams, count, size = {}, 0, 0
        if streams:
            self._push(list(streams.values()))

    def record(self, line: bytes) -> Record:
        return record_of_line(line)

    def days(self) -> list[datetime]:
        """By the index alone: a count would read all that there is."""
        now = datetime.now(UTC)
        starts = self._days_to_stay(now - self.retention() - DAY, now + DAY)
        series = _at_once(lambda day: self._series(*day), [(day, day + DAY) for day in starts])
        return [day for day, streams in zip(starts, series, strict=True) if streams]

    def days_within(self, since: datetime, until: datetime) -> list[datetime]:
        starts = self._days_to_stay(since, until)
        # A deletion ends with a whole millisecond: what lies behind it waits for the retention.
        windows = [(day, day + DAY - timedelta(milliseconds=1)) for day in starts]
        counts = self._counts(windows, self._series(since, until))
        return [day for day, streams in zip(starts, counts, strict=True) if streams]

    def _days_to_stay(self, since: datetime, until: datetime) -> list[datetime]:
        """Days, less those whose deletion is under way."""
        first = day_of(since)
        going = {deletion.start for deletion in self._deletions() if deletion.is_of_all}
        days = [first + n * DAY for n in range(-((first - until) // DAY))]
        return [day for day in days if day not in going]

    def disk_bytes(self) -> int:
        if self.storage is None or not self.storage.is_dir():
            return 0
        return sum(_size(path) for path in self.storage.rglob("*"))

    def drop_day(self, day: datetime) -> bool:
        """Have Loki delete a day: hidden within minutes, off the disk some hours later."""
        if day not in self.days_within(day, day + DAY):
            return False  # what the index still names is deleted, or is about to be
        for selector in self._selectors(self._series(day, day + DAY)):
            self._delete(selector, day)
            failpoint("day-detached")
        return True

    def count_of(self, day: datetime, kinds: Sequence[ShorterRetention]) -> int:
        end = day + DAY - timedelta(milliseconds=1)  # as far as a deletion goes
        window = f"[{(nanoseconds(end) - nanoseconds(day)) // MS}ms]"
        found = 0
        for kind in kinds:
            query = f"sum(count_over_time({selector_of(kind)}{window}))"
            samples = self._query(query, nanoseconds(end) - 1)
            found += sum(int(float(sample["value"][1])) for sample in samples)
        return found

    def drop_records(self, day: datetime, kinds: Sequence[ShorterRetention]) -> bool:
        asked = {deletion.query for deletion in self._deletions() if deletion.start == day}
        missing = [text for text in map(selector_of, kinds) if text not in asked]
        for selector in missing:
            self._delete(selector, day)
        return bool(missing)

    def drops_records(self) -> bool:
        return True  # by the same way as whole days

    def _delete(self, selector: str, day: datetime) -> None:
        """Have Loki delete a day's entries of the streams selected."""
        end = rfc3339(day + DAY - timedelta(milliseconds=1))
        values = {"query": selector, "start": rfc3339(day), "end": end}
        self._ask("POST", "/loki/api/v1/delete", params=values)

    def is_freeing(self) -> bool:
        return bool(self._deletions())

    def keep(self, since: datetime, until: datetime) -> None:
        """Take back deletions of [since, until) that Loki has not made yet, and wait until queries
        show what they hid."""
        overlapping = {
            deletion.request
            for deletion in self._deletions()
            if deletion.start < until and deletion.end > since
        }
        for request in overlapping:
            self._ask(
                "DELETE", "/loki/api/v1/delete", params={"request_id": request, "force": "true"}
            )
        if overlapping:
            patience = DELETIONS_REMEMBERED.total_seconds() + 30
            wait_until(lambda: self.days_within(since, until), patience, every=5)

    def _deletions(self) -> list[Deletion]:
        """Deletions that are not finished."""
        answer = self._ask("GET", "/loki/api/v1/delete").json() or []
        return [
            Deletion(
                item["request_id"],
                item["query"],
                datetime.fromtimestamp(item["start_time"], UTC),
                datetime.fromtimestamp(item["end_time"], UTC),
            )
            for item in answer
            if item["status"] != "processed"
        ]

    def _series(self, since: datetime, until: datetime) -> list[dict[str, str]]:
        """The labels of every stream that may have entries in [since, until)."""
        span = {"start": str(nanoseconds(since)), "end": str(nanoseconds(until))}
        found = self._ask("GET", "/loki/api/v1/series", params=span).json()["data"] or []
        return [_own(labels) for labels in found]

    def _selectors(self, series: list[dict[str, str]]) -> list[str]:
        """Selectors that take every stream exactly once.

        Loki selects nothing by the absence of labels alone, so streams without the usual label
        are selected by another one.
        """
        names = sorted({name for labels in series for name in labels})
        names.sort(key=lambda name: name != "service_name")
        selectors, without = [], ""
        for number, name in enumerate(names):
            if any(name in labels and not _has_any(labels, names[:number]) for labels in series):
                selectors.append("{" + f'{without}{name}=~".+"' + "}")
            without += f'{name}="", '
        return selectors

    def _counts(self, windows: list[Window], series: list[dict[str, str]]) -> list[dict[str, int]]:
        """The entries of each window by stream; windows are of whole milliseconds."""
        names = ", ".join(sorted({name for labels in series for name in labels}))
        selectors = self._selectors(series)

        def count(window: Window) -> dict[str, int]:
            since, until = nanoseconds(window[0]), nanoseconds(window[1])
            streams: dict[str, int] = {}
            for selector in selectors:
                # A range ends with its last instant and does not hold its first one.
                source = f"count_over_time({selector}[{(until - since) // MS}ms])"
                query = f"sum by ({names}) ({source})"
                for sample in self._query(query, until - 1):
                    stream = lines.stream_key(_own(sample["metric"])).decode()
                    streams[stream] = streams.get(stream, 0) + int(float(sample["value"][1]))
            return streams

        return _at_once(count, windows) if selectors else [{} for _ in windows]

    def _query(self, query: str, moment: int) -> list[dict[str, Any]]:
        parameters = {"query": query, "time": str(moment)}
        answer = self._ask("GET", "/loki/api/v1/query", params=parameters)
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def _read(self, selector: str, start: int, end: int) -> Iterator[bytes]:
        """Every entry of a selector in [start, end).

        Pages end between two instants, because Loki may cut one in the middle: the last instant
        of a full page is asked for again with the next one.
        """
        size = FIRST_PAGE
        while start < end:
            page = self._page(selector, start, end, size, MOST_PAGE_BYTES if size > 1 else 0)
            if page is None:
                size = max(1, size // 4)
                continue
            if len(page) < size:
                yield from page
                return
            last = max(map(lines.timestamp, page))
            whole = [line for line in page if lines.timestamp(line) < last]
            if whole:
                yield from whole
                start = last
            else:
                yield from self._instant(selector, last)
                start = last + 1
            wanted = size * PAGE_BYTES // max(1, sum(map(len, page)))
            size = max(2, min(wanted, 2 * size, LARGEST_PAGE))

    def _instant(self, selector: str, moment: int) -> list[bytes]:
        """All entries of one nanosecond, however many there are."""
        found = self._page(selector, moment, moment + 1, ENTRIES) or []
        if len(found) >= ENTRIES:
            raise EngineError(
                f"{self.url}: wanted fewer than {ENTRIES} entries at {lines.format_ns(moment)}, "
                "found as many as Loki gives out at once"
            )
        return found

    def _page(
        self, selector: str, start: int, end: int, size: int, most: int = 0
    ) -> list[bytes] | None:
        """The oldest `size` entries as lines; None for more than `most` bytes, unless it is 0."""
        parameters = {"query": selector, "start": str(start), "end": str(end), "limit": str(size)}
        answer = self._ask(
            "GET",
            "/loki/api/v1/query_range",
            params={**parameters, "direction": "forward"},
            stream=True,
        )
        body = bytearray()
        with answer:
            try:
                for chunk in answer.iter_content(CHUNK):
                    body += chunk
                    if most and len(body) > most:
                        return None
                streams = lines.load(bytes(body))["data"]["result"]
            except (requests.RequestException, ValueError, KeyError) as error:
                raise EngineError(f"{self.url}: the answer broke off: {error}") from None
        return [line for stream in streams for line in _lines(stream)]

    def _push(self, streams: list[dict[str, Any]]) -> None:
        body = lines.dump({"streams": streams})
        for attempt in range(PUSH_ATTEMPTS):
            try:
                self._ask("POST", "/loki/api/v1/push", data=body)
                break
            except EngineError as error:
                if "HTTP 429" not in str(error) or attempt == PUSH_ATTEMPTS - 1:
                    raise
                time.sleep(0.25 * 2**attempt)  # it takes more when it has had time
        failpoint("batch-inserted")

    def _ask(self, method: str, path: str, **arguments: Any) -> requests.Response:
        headers = {"Content-Type": "application/json"} if "data" in arguments else {}
        return send_request(
            self._session,
            "Loki",
            method,
            self.url,
            path,
            headers=headers,
            timeout=TIMEOUT,
            **arguments,
        )


def record_of_line(line: bytes) -> Record:
    """The typed record of a line that was exported from a Loki."""
    stored = lines.decode(line)
    return record_from(Entry(stored.ts_ns, stored.line, stored.labels, stored.metadata))


def _has_any(labels: Mapping[str, str], names: list[str]) -> bool:
    """Whether a stream has one of the labels."""
    return any(name in labels for name in names)


def _lines(stream: dict[str, Any]) -> Iterator[bytes]:
    labels = lines.stream_key(_own(stream["stream"]))
    for value in stream["values"]:
        beside = value[2].get("structuredMetadata", {}) if len(value) > 2 else {}
        yield lines.encode(b"%019d" % int(value[0]), labels, beside, value[1])


def _own(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without those that Loki adds for itself."""
    return {name: value for name, value in labels.items() if not name.startswith("__")}


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # it went away meanwhile
        return 0


def _at_once(
    call: Callable[[tuple[datetime, datetime]], T], items: list[tuple[datetime, datetime]]
) -> list[T]:
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        return list(pool.map(call, items))
