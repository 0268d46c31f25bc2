"""VictoriaLogs as an Engine: pushes JSON lines, queries in LogsQL."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import urlencode

import requests

from stack.common import quote
from stack.engines import EngineError, Record, Selection
from stack.engines.facts import (
    VL_DATA_SOURCE,
    VL_EMPTY_MESSAGE,
    VL_IGNORED_FIELDS,
    VL_SEARCHED_FIELDS,
    VL_STREAM_FIELDS,
)
from stack.engines.http import from_json, open_session, send_request
from stack.engines.kind import EngineKind
from stack.engines.otlp import OtlpRecord
from stack.records.contract import levels_from, normalise, parse_record, texts_of
from stack.records.timestamps import format_time, rfc3339
from stack.settings.targets import Access
from stack.settings.units import parse_go_duration

OWN_FIELDS = ("_stream", "_stream_id", "_msg", "_time")
PUSH_BATCH = 5000
TIMEOUT = (3.05, 60)


class VictoriaLogs:
    """One VictoriaLogs at `url`, for example `http://127.0.0.1:<port>`."""

    def __init__(self, url: str, access: Access | None = None):
        self.url = url
        self._session = open_session(access)

    def push(self, records: Iterable[Mapping[str, Any]]) -> None:
        batch: list[str] = []
        for record in records:
            batch.append(json.dumps(normalise(record), ensure_ascii=False))
            if len(batch) >= PUSH_BATCH:
                self._push(batch)
                batch = []
        if batch:
            self._push(batch)

    def records(self, selection: Selection, *, limit: int) -> Iterator[Record]:
        text = f"{to_logsql(selection)} | sort by (_time desc) limit {limit}"
        rows = list(self._rows(text))
        # VictoriaLogs leaves a row without a message for a deleted record (retention.shorter).
        return (record_from(row) for row in reversed(rows) if row.get("_msg"))

    def count(self, selection: Selection) -> int:
        rows = list(self._rows(f"{to_logsql(selection)} | stats count() as records"))
        return int(rows[0]["records"]) if rows else 0

    def query(self, text: str, selection: Selection, *, limit: int) -> Iterator[dict[str, str]]:
        parameters = {
            "start": format_time(selection.since),
            "end": format_time(selection.until),
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
        # Arguments of a command may contain invalid UTF-8.
        query = text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
        answer = self._post("/select/logsql/query", {"query": query, **(parameters or {})})
        with answer:
            try:
                for line in answer.iter_lines():
                    if line:
                        yield from_json(line)
            except (requests.RequestException, ValueError) as error:
                raise EngineError(
                    f"cannot read the answer of VictoriaLogs at {self.url}: {error}"
                ) from None

    def _post(
        self, path: str, data: bytes | Mapping[str, str], params: Mapping[str, str] | None = None
    ) -> requests.Response:
        return send_request(
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
    """A duration in the flags of the running VictoriaLogs; None if the flag is not set."""
    found = re.search(rf'^-{name}="(\d+[hdwy])"$', fetch("/flags"), re.MULTILINE)
    return parse_go_duration(found[1]) if found else None


def read_retention(fetch: Callable[[str], str]) -> timedelta:
    """How long the running VictoriaLogs keeps records, as it reports. Raises EngineError."""
    if found := read_flag(fetch, "retentionPeriod"):
        return found
    raise EngineError("expected -retentionPeriod among VictoriaLogs' flags, got none")


def find_record(fetch: Callable[[str], str], request_id: str, since: str) -> dict[str, str] | None:
    """The newest record with a request id in the last `since`; None if there is none."""
    query = urlencode({"query": f'_time:{since} request_id:="{request_id}"'})
    rows = fetch(f"/select/logsql/query?{query}").splitlines()
    return dict(json.loads(rows[0])) if rows else None


def to_logsql(selection: Selection) -> str:
    """The selection as a LogsQL filter."""
    parts = [f"_time:[{format_time(selection.since)}, {format_time(selection.until)})"]
    if selection.level:
        parts.append(f"level:in({','.join(levels_from(selection.level))})")
    parts += [f"{quote(name)}:={quote(value)}" for name, value in selection.matches.items()]
    if selection.grep:
        pattern = quote(selection.grep)
        parts.append(f"({' or '.join(f'{name}:~{pattern}' for name in VL_SEARCHED_FIELDS)})")
    return " ".join(parts)


def record_from(row: Mapping[str, str]) -> Record:
    """A typed record from a row of a query's answer."""
    texts = {name: text for name, text in row.items() if name not in OWN_FIELDS}
    message = row.get("_msg", "")
    texts["message"] = "" if message == VL_EMPTY_MESSAGE else message
    if "_time" in row:
        texts["timestamp"] = contract_time(row["_time"])
    return parse_record(texts)


def contract_time(text: str) -> str:
    """An RFC 3339 time of any precision with exactly six digits, as records have it."""
    whole, _, rest = text.removesuffix("Z").partition(".")
    return f"{whole}.{rest[:6]:0<6}Z"


def from_otlp(sent: OtlpRecord) -> Record:
    """What VictoriaLogs returns of a record of the collector."""
    fields = {**sent.resource, **sent.attributes}
    message = sent.body if isinstance(sent.body, Mapping) else {"_msg": sent.body}
    texts = texts_of(dict(_flatten({**fields, **message})))
    kept = {n: text for n, text in texts.items() if text and n not in VL_IGNORED_FIELDS}
    return record_from({"_msg": "", **kept, "_time": rfc3339(sent.moment)})


def _flatten(fields: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Fields of objects by their path, with dots."""
    for name, value in fields.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


KIND = EngineKind(
    name="victorialogs",
    title="VictoriaLogs",
    dialect="logsql",
    connect=lambda url, tenant, access: VictoriaLogs(url, access),
    ingestion={"otelcol": "/insert/opentelemetry/v1/logs"},
    reading=("/select/*",),
    retention=read_retention,
    find=find_record,
    from_otlp=from_otlp,
    flush="/internal/force_flush",
    evaluator="vmalert",
    services=(
        "/select/logsql/stats_query",
        "_time:WINDOW {environment=ENVIRONMENT} (logger_name:* or -format:=text) "
        "| stats by (service_name) count() as value",
    ),
    ahead=timedelta(days=2),
    write_headers={
        "VL-Stream-Fields": ",".join(VL_STREAM_FIELDS),
        # Replaces the host in the batch: a host can only write as itself. The gateway defines
        # {of_service}, which is empty for a host with several services.
        "VL-Extra-Fields": "host={http.auth.user.id}{of_service}",
        "VL-Ignore-Fields": ",".join(VL_IGNORED_FIELDS),
    },
    restored_component="restored",
    grafana_type=VL_DATA_SOURCE,
    grafana_plugin=VL_DATA_SOURCE,
)
