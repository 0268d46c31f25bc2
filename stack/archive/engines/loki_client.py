"""Asks Loki for entries, counts and deletions of one tenant: LokiArchive is made of these.

Entries are lines of the archive (stack/archive/format/lines.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from stack.archive.format import lines
from stack.archive.format.layout import DAY, rfc3339
from stack.archive.format.manifest import Counts
from stack.engines import EngineError
from stack.engines.http import open_session, send_request
from stack.engines.loki import ENTRIES
from stack.records.timestamps import nanoseconds

T = TypeVar("T")
Window = tuple[datetime, datetime]
FIRST_PAGE = 500
LARGEST_PAGE = 20_000
# The aimed-at size of a page, and the size above which it is read again with fewer entries; bytes.
PAGE_BYTES = 6 * 1024**2
MOST_PAGE_BYTES = 24 * 1024**2
CHUNK = 1024**2
CONCURRENT_REQUESTS = 8
TIMEOUT = (3.05, 120)
MS = 1_000_000  # nanoseconds
LAST = DAY - timedelta(milliseconds=1)  # a deletion of a day ends with a whole millisecond
# A push beyond the ingestion rate is answered with 429; waits 0, 0.5, 1, 2, 4, 8, 16 s.
RETRY = Retry(
    total=7,
    connect=0,
    read=False,
    status_forcelist=[429],
    allowed_methods={"POST"},
    backoff_factor=0.25,
    respect_retry_after_header=False,
    raise_on_status=False,
)


class Deletion(NamedTuple):
    """A deletion that Loki has accepted."""

    request: str
    query: str
    start: datetime
    end: datetime

    @property
    def is_of_day(self) -> bool:
        """Whether it deletes a whole day: only `selectors` matches labels that just exist."""
        return '=~".+"' in self.query


class LokiClient:
    """One tenant of the Loki at `url`. Every method raises EngineError."""

    def __init__(self, url: str, tenant: str):
        self.url = url
        self._session = open_session()
        self._session.trust_env = False  # no proxies on loopback; looking for them is slow
        self._session.mount("http://", HTTPAdapter(max_retries=RETRY))
        self._session.headers["X-Scope-OrgID"] = tenant
        self._session.headers["X-Loki-Response-Encoding-Flags"] = "categorize-labels"

    def text(self, path: str) -> str:
        return self._ask("GET", path).text

    def series(self, since: datetime, until: datetime) -> list[dict[str, str]]:
        """The labels of every stream that may have entries in [since, until)."""
        span = {"start": str(nanoseconds(since)), "end": str(nanoseconds(until))}
        answer = self._ask("GET", "/loki/api/v1/series", params=span).json()["data"] or []
        return [_without_internal(labels) for labels in answer]

    def count(self, selector: str, start: int, end: int, by: str = "") -> Counts:
        """The entries of a selector in [start, end), which are whole milliseconds, by stream.

        `by` lists the labels to count by; without any, the only stream is `{}`.
        """
        # A range includes its last instant and excludes its first one.
        source = f"count_over_time({selector}[{(end - start) // MS}ms])"
        query = f"sum by ({by}) ({source})" if by else f"sum({source})"
        parameters = {"query": query, "time": str(end - 1)}
        answer = self._ask("GET", "/loki/api/v1/query", params=parameters)
        counts: Counts = {}
        for sample in answer.json()["data"]["result"]:
            stream = lines.stream_key(_without_internal(sample["metric"])).decode()
            counts[stream] = counts.get(stream, 0) + int(float(sample["value"][1]))
        return counts

    def entries(self, selector: str, start: int, end: int) -> Iterator[bytes]:
        """Every entry of a selector in [start, end).

        Loki may cut a page in the middle of an instant: the entries of the last instant of a full
        page are read again with the next page.
        """
        size = FIRST_PAGE
        while start < end:
            page = self.page(selector, start, end, size, MOST_PAGE_BYTES if size > 1 else 0)
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
            aimed = size * PAGE_BYTES // max(1, sum(map(len, page)))
            size = max(2, min(aimed, 2 * size, LARGEST_PAGE))

    def page(
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
                raise EngineError(f"cannot read the answer of {self.url}: {error}") from None
        return [line for stream in streams for line in _lines(stream)]

    def push(self, streams: list[dict[str, Any]]) -> None:
        self._ask("POST", "/loki/api/v1/push", data=lines.dump({"streams": streams}))

    def delete(self, selector: str, since: datetime, until: datetime) -> None:
        """Request the deletion of the entries of [since, until] of a selector.

        Loki refuses an end after the present, as that of today's day.
        """
        now = datetime.now(UTC).replace(microsecond=0)
        values = {"query": selector, "start": rfc3339(since), "end": rfc3339(min(until, now))}
        self._ask("POST", "/loki/api/v1/delete", params=values)

    def deletions(self) -> list[Deletion]:
        """Deletions that are not carried out yet."""
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

    def cancel(self, deletion: Deletion) -> None:
        values = {"request_id": deletion.request, "force": "true"}
        self._ask("DELETE", "/loki/api/v1/delete", params=values)

    def _instant(self, selector: str, moment: int) -> list[bytes]:
        """All entries of one nanosecond."""
        entries = self.page(selector, moment, moment + 1, ENTRIES) or []
        if len(entries) >= ENTRIES:
            raise EngineError(
                f"{self.url}: expected fewer than {ENTRIES} entries at {lines.format_ns(moment)}, "
                "got as many as Loki returns at once"
            )
        return entries

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


def selectors(series: list[dict[str, str]]) -> list[str]:
    """Selectors that match every stream exactly once.

    Loki needs a label that is present in each selector. Streams with `service_name`, others with
    `environment`, and those with `host` alone give:

        {service_name=~".+"}
        {service_name="", environment=~".+"}
        {service_name="", environment="", host=~".+"}
    """
    names = sorted({name for labels in series for name in labels})
    names.sort(key=lambda name: name != "service_name")
    firsts = {next(name for name in names if name in labels) for labels in series if labels}
    found, absent = [], ""
    for name in names:
        if name in firsts:
            found.append("{" + f'{absent}{name}=~".+"' + "}")
        absent += f'{name}="", '
    return found


def at_once(call: Callable[[Window], T], windows: list[Window]) -> list[T]:
    """The results of a request for each window, some at a time."""
    with ThreadPoolExecutor(CONCURRENT_REQUESTS) as pool:
        return list(pool.map(call, windows))


def _lines(stream: dict[str, Any]) -> Iterator[bytes]:
    labels = lines.stream_key(_without_internal(stream["stream"]))
    for value in stream["values"]:
        metadata = value[2].get("structuredMetadata", {}) if len(value) > 2 else {}
        yield lines.encode(b"%019d" % int(value[0]), labels, metadata, value[1])


def _without_internal(labels: Mapping[str, str]) -> dict[str, str]:
    """Labels without those that Loki adds itself."""
    return {name: value for name, value in labels.items() if not name.startswith("__")}
