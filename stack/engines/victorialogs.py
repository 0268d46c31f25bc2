"""VictoriaLogs behind the Engine interface: pushes JSON lines, asks in LogsQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import requests

from stack.engines import EngineError, Record, Selection
from stack.engines.facts import VL_EMPTY_MESSAGE, VL_STREAM_FIELDS
from stack.engines.http import ask, from_json
from stack.records.contract import levels_from, normalised, typed
from stack.settings.units import parse_go_duration

OWN_FIELDS = ("_stream", "_stream_id", "_msg", "_time")
GREP_FIELDS = ("_msg", "exception_message", "stack_trace")
PUSH_BATCH = 5000
TIMEOUT = (3.05, 60)


class VictoriaLogs:
    """One VictoriaLogs at `url`, for example `http://127.0.0.1:<port>`."""

    def __init__(self, url: str):
        self.url = url
        self._session = requests.Session()

    def ready(self) -> bool:
        try:
            return bool(self._session.get(f"{self.url}/health", timeout=2).ok)
        except requests.RequestException:
            return False

    def push(self, records: Iterable[Mapping[str, Any]]) -> None:
        batch: list[str] = []
        for record in records:
            batch.append(json.dumps(normalised(record), ensure_ascii=False))
            if len(batch) >= PUSH_BATCH:
                self._push(batch)
                batch = []
        if batch:
            self._push(batch)

    def records(self, selection: Selection, *, limit: int) -> Iterator[Record]:
        text = f"{to_logsql(selection)} | sort by (_time desc) limit {limit}"
        rows = list(self._rows(text))
        # A row without a message stands where records were deleted (retention.shorter).
        return (record_from(row) for row in reversed(rows) if row.get("_msg"))

    def count(self, selection: Selection) -> int:
        rows = list(self._rows(f"{to_logsql(selection)} | stats count() as records"))
        return int(rows[0]["records"]) if rows else 0

    def query(self, text: str, selection: Selection, *, limit: int) -> Iterator[dict[str, str]]:
        parameters = {
            "start": _instant(selection.since),
            "end": _instant(selection.until),
            "limit": str(limit),
        }
        return self._rows(text, parameters)

    def _push(self, lines: list[str]) -> None:
        self._post(
            "/insert/jsonline",
            "\n".join(lines).encode(),
            params={
                "_time_field": "timestamp",
                "_msg_field": "message",
                "_stream_fields": ",".join(VL_STREAM_FIELDS),
            },
        )

    def _rows(
        self, text: str, parameters: Mapping[str, str] | None = None
    ) -> Iterator[dict[str, str]]:
        # Arguments of a command may hold bytes that are no UTF-8.
        query = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        answer = self._post("/select/logsql/query", {"query": query, **(parameters or {})})
        with answer:
            try:
                for line in answer.iter_lines():
                    if line:
                        yield from_json(line)
            except (requests.RequestException, ValueError) as error:
                raise EngineError(f"{self.url}: the answer broke off: {error}") from None

    def _post(
        self, path: str, data: bytes | Mapping[str, str], params: Mapping[str, str] | None = None
    ) -> requests.Response:
        return ask(
            self._session,
            "VictoriaLogs",
            "POST",
            self.url,
            path,
            data=data,
            params=params,
            timeout=TIMEOUT,
            stream=True,
        )


def read_flag(fetch: Callable[[str], str], name: str) -> timedelta | None:
    """A duration among the flags of the running VictoriaLogs; None where it is not set."""
    found = re.search(rf'^-{name}="(\d+[hdwy])"$', fetch("/flags"), re.MULTILINE)
    return parse_go_duration(found[1]) if found else None


def read_retention(fetch: Callable[[str], str]) -> timedelta:
    """How long the running VictoriaLogs keeps records, by its own word. Raises EngineError."""
    if found := read_flag(fetch, "retentionPeriod"):
        return found
    raise EngineError("expected -retentionPeriod among VictoriaLogs' flags, got none")


def find_record(fetch: Callable[[str], str], request_id: str, since: str) -> dict[str, str] | None:
    """The newest record with a request id of the last `since`; None while there is none."""
    asked = urlencode({"query": f'_time:{since} request_id:="{request_id}"'})
    rows = fetch(f"/select/logsql/query?{asked}").splitlines()
    return dict(json.loads(rows[0])) if rows else None


def to_logsql(selection: Selection) -> str:
    """The selection as a LogsQL filter."""
    parts = [f"_time:[{_instant(selection.since)}, {_instant(selection.until)})"]
    if selection.level:
        parts.append(f"level:in({','.join(levels_from(selection.level))})")
    parts += [f"{quote(name)}:={quote(value)}" for name, value in selection.matches.items()]
    if selection.grep:
        pattern = quote(selection.grep)
        parts.append(f"({' or '.join(f'{name}:~{pattern}' for name in GREP_FIELDS)})")
    return " ".join(parts)


def record_from(row: Mapping[str, str]) -> Record:
    """A typed record from a row of a query's answer."""
    texts = {name: text for name, text in row.items() if name not in OWN_FIELDS}
    message = row.get("_msg", "")
    texts["message"] = "" if message == VL_EMPTY_MESSAGE else message
    if "_time" in row:
        texts["timestamp"] = contract_time(row["_time"])
    return typed(texts)


def contract_time(text: str) -> str:
    """An RFC 3339 time of any precision with exactly six digits, as the contract has it."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    return f"{whole}.{rest[:6]:0<6}Z"


def quote(text: str) -> str:
    """Text as a LogsQL string literal."""
    return json.dumps(text, ensure_ascii=False)


def _instant(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
