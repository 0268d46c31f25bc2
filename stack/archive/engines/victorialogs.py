"""VictoriaLogs as an engine that can be archived: exports whole records and inserts the same."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path

import requests

from stack.archive.engines.protocol import HourlyCounts
from stack.archive.failpoints import failpoint
from stack.archive.format import lines
from stack.archive.format.layout import DAY, rfc3339
from stack.archive.format.manifest import subtract
from stack.archive.format.ordering import in_batches
from stack.common import quote, wait_until
from stack.engines import EngineError, Record
from stack.engines.facts import VL_EMPTY_MESSAGE, VL_STREAM_FIELDS
from stack.engines.http import open_session, send_request
from stack.engines.victorialogs import contract_time, read_flag
from stack.records.contract import parse_record
from stack.settings.tables import ShorterRetention

CHUNK = 1024 * 1024
INSERT_BYTES = 2 * 1024 * 1024
TIMEOUT = (3.05, 300)
ERASE_SECONDS = 60.0
NO_STREAM = "{}"  # the key of records without any of these fields


class VictoriaLogsArchive:
    """One VictoriaLogs at `url`; `storage` is its data folder, which `drop_day` needs."""

    name = "victorialogs"
    counts_are_cheap = True

    def __init__(self, url: str, storage: Path | None = None):
        self.url = url
        self.storage = storage
        self._session = open_session()
        self._session.trust_env = False  # no proxies on loopback; looking for them is slow
        self._session.headers["Accept-Encoding"] = "identity"  # faster than to decompress

    @cached_property
    def version(self) -> str:
        found = re.search(r'app_version="v?([^"]+)"', self._get("/metrics").text)
        return found[1] if found else "unknown"

    def retention(self) -> timedelta:
        return self._flag("retentionPeriod") or timedelta(days=7)  # the engine's own default

    def lateness(self) -> timedelta | None:
        return self._flag("maxBackfillAge")

    def oldest(self) -> datetime | None:
        [row] = self._rows("* | stats min(_time) as oldest, count() as records")
        if row["records"] == "0":
            return None
        return datetime.fromtimestamp(lines.parse_ns(row["oldest"]) // 10**9, UTC)

    def hourly_counts(self, since: datetime, until: datetime) -> HourlyCounts:
        by = ", ".join(("_time:1h", *VL_STREAM_FIELDS))
        counts: HourlyCounts = {}
        for row in self._rows(f"{_window(since, until)} * | stats by ({by}) count() as records"):
            hour = datetime.fromisoformat(row["_time"])
            stream = _labels(row).decode("utf-8", "replace")
            streams = counts.setdefault(hour, {})
            streams[stream] = streams.get(stream, 0) + int(row["records"])
        if any(NO_STREAM in streams for streams in counts.values()):
            self._leave_out_placeholders(counts, since, until)
        return counts

    def _leave_out_placeholders(
        self, counts: HourlyCounts, since: datetime, until: datetime
    ) -> None:
        """Do not count the rows without any field that VictoriaLogs leaves in each block where it
        deleted records. Every record has a message: one without gets VL_EMPTY_MESSAGE."""
        empty = " ".join(f'{name}:=""' for name in (*VL_STREAM_FIELDS, "_msg"))
        query = f"{_window(since, until)} {empty} | stats by (_time:1h) count() as records"
        for row in self._rows(query):
            hour = datetime.fromisoformat(row["_time"])
            counts[hour] = subtract(counts.get(hour, {}), {NO_STREAM: int(row["records"])})

    def export(self, since: datetime, until: datetime) -> Iterator[bytes]:
        labels: dict[tuple[str | None, ...], bytes] = {}
        seconds: dict[str, bytes] = {}
        for row in self._rows(f"{_window(since, until)} * | delete _stream, _stream_id"):
            time, message = row.pop("_time"), row.pop("_msg", "")
            key = tuple([row.pop(name, None) for name in VL_STREAM_FIELDS])
            if not message:
                continue  # a placeholder (_leave_out_placeholders)
            if key not in labels:
                labels[key] = _labels(dict(zip(VL_STREAM_FIELDS, key, strict=True)))
            second = time[:19]
            if second not in seconds:
                seconds[second] = b"%010d" % (lines.parse_ns(time) // 10**9)
            text = "" if message == VL_EMPTY_MESSAGE else message
            ts_ns = seconds[second] + time[20:-1].ljust(9, "0").encode()
            yield lines.encode(ts_ns, labels[key], row, text)

    def insert(self, stored: Iterable[bytes]) -> None:
        for batch in in_batches((lines.dump(_row_of(line)) for line in stored), INSERT_BYTES):
            self._insert(batch)
        self._get("/internal/force_flush")

    def days(self) -> list[datetime]:
        names = self._get("/internal/partition/list").json()
        return sorted(datetime.strptime(name, "%Y%m%d").replace(tzinfo=UTC) for name in names)

    def days_within(self, since: datetime, until: datetime) -> list[datetime]:
        return [day for day in self.days() if day < until and day + DAY > since]

    def disk_bytes(self) -> int:
        sizes = re.findall(r"^vl_data_size_bytes{.*} (\S+)$", self._get("/metrics").text, re.M)
        return sum(int(float(size)) for size in sizes)

    def drop_day(self, day: datetime) -> bool:
        if self.storage is None:
            raise EngineError(f"cannot delete a day of {self.url}: its data folder is not known")
        name = f"{day:%Y%m%d}"
        self._get(f"/internal/partition/detach?name={name}")
        failpoint("day-detached")
        shutil.rmtree(self.storage / "partitions" / name, ignore_errors=True)
        return True

    def count_of(self, day: datetime, kinds: Sequence[ShorterRetention]) -> int:
        [row] = self._rows(f"{_of_kinds(day, kinds)} | stats count() as records")
        return int(row["records"])

    def drop_records(self, day: datetime, kinds: Sequence[ShorterRetention]) -> bool:
        """VictoriaLogs rewrites the day's files without them, in the background."""
        if any(rfc3339(day) in task["filter"] for task in self._get("/delete/active_tasks").json()):
            return False
        self._ask("POST", "/delete/run_task", {"filter": _of_kinds(day, kinds)}).close()
        return True

    def supports_delete(self) -> bool:
        return '-delete.enable="true"' in self._get("/flags").text

    def erase(self, matches: Sequence[tuple[str, str]], until: datetime) -> str:
        self._get("/internal/force_flush")  # what is not on disk yet is not deleted
        filters = " or ".join(f"{quote(name)}:={quote(value)}" for name, value in matches)
        values = {"filter": f"_time:<{rfc3339(until)} ({filters})"}
        self._ask("POST", "/delete/run_task", values).close()
        ended = wait_until(
            lambda: not self._get("/delete/active_tasks").json(), ERASE_SECONDS, every=0.5
        )
        return "" if ended else "it deletes the records in the background"

    def has_pending_deletions(self) -> bool:
        return False  # a partition is deleted at once

    def prepare_restore(self, since: datetime, until: datetime) -> None:
        """Flush: what a killed restore inserted last would be missing in queries, and inserted
        twice. Deletions are immediate."""
        self._get("/internal/force_flush")

    def _insert(self, batch: list[bytes]) -> None:
        streams = ",".join(VL_STREAM_FIELDS)
        path = f"/insert/jsonline?_time_field=_time&_msg_field=_msg&_stream_fields={streams}"
        self._ask("POST", path, b"\n".join(batch)).close()
        failpoint("batch-inserted")

    def _flag(self, name: str) -> timedelta | None:
        return read_flag(lambda path: self._get(path).text, name)

    def _rows(self, query: str) -> Iterator[dict[str, str]]:
        """The rows of an answer, streamed. Raises EngineError when the connection breaks."""
        with self._ask("POST", "/select/logsql/query", {"query": query}) as answer:
            rest = b""
            try:
                for chunk in answer.iter_content(CHUNK):
                    whole, ended, rest = (rest + chunk).rpartition(b"\n")
                    if ended:
                        yield from lines.load_all(whole)
                if rest:
                    yield lines.load(rest)
            except (requests.RequestException, ValueError) as error:
                raise EngineError(f"cannot read the answer of {self.url}: {error}") from None

    def _get(self, path: str) -> requests.Response:
        answer = self._ask("GET", path)
        with answer:
            _ = answer.content
        return answer

    def _ask(
        self, method: str, path: str, data: bytes | dict[str, str] | None = None
    ) -> requests.Response:
        return send_request(
            self._session,
            "VictoriaLogs",
            method,
            self.url,
            path,
            data=data,
            timeout=TIMEOUT,
            stream=True,
        )


def record_of_line(line: bytes) -> Record:
    """The typed record of a line that was exported from a VictoriaLogs, as `record_from` of its
    row, in half the time: a search reads many."""
    stored = lines.decode(line)
    message = "" if stored.line == VL_EMPTY_MESSAGE else stored.line
    timestamp = contract_time(lines.format_ns(stored.ts_ns))
    own = {"message": message, "timestamp": timestamp}
    return parse_record({**stored.labels, **stored.metadata, **own})


def _row_of(line: bytes) -> dict[str, str]:
    """A line as VictoriaLogs takes and returns records."""
    stored = lines.decode(line)
    time = lines.format_ns(stored.ts_ns)
    return {**stored.labels, **stored.metadata, "_msg": stored.line, "_time": time}


def _labels(row: Mapping[str, str | None]) -> bytes:
    return lines.stream_key({name: row.get(name) or "" for name in VL_STREAM_FIELDS})


def _of_kinds(day: datetime, kinds: Sequence[ShorterRetention]) -> str:
    """A filter for a day's records of some kinds."""
    filters = [
        " ".join(
            [
                *([f"{{service_name={quote(kind.service)}}}"] if kind.service else []),
                *([f"level:={quote(kind.level)}"] if kind.level else []),
            ]
        )
        for kind in kinds
    ]
    return f"{_window(day, day + DAY)} ({' or '.join(f'({text})' for text in filters)})"


def _window(since: datetime, until: datetime) -> str:
    return f"_time:[{rfc3339(since)}, {rfc3339(until)})"
