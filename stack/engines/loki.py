"""Loki as an Engine: pushes lines with structured metadata, queries in LogQL.

Loki keeps a record's line as it was written. Labels and metadata are for searches; records are read
from the line.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import requests

from stack.engines import EngineError, Record, Selection
from stack.engines.facts import LOKI_LABEL_LENGTH, LOKI_RESTORED_TENANT, LOKI_TENANT
from stack.engines.http import from_json, open_session, send_request
from stack.engines.kind import EngineKind
from stack.engines.logql import to_logql
from stack.engines.otlp import OtlpRecord
from stack.records.contract import (
    LEVELS,
    TEXT_FIELDS,
    TEXT_FORMATS,
    agent_fields,
    names,
    parse_record,
    rename_reserved,
    texts_of,
)
from stack.records.timestamps import nanoseconds, rfc3339
from stack.settings.targets import Access
from stack.settings.units import parse_go_duration

PUSH_BATCH = 5000
PUSH_BYTES = 4 * 1024**2
PAGE = 5000
ENTRIES = 1_000_000  # the limit of entries in the configuration of Loki
TIMEOUT = (3.05, 90)
# Metadata with the file name, which the agent adds where the line does not name its service.
LOG_FILE = "log_file_path"
# A JSON line without one of these has another shape; the agent added the missing fields.
REQUIRED = {"service_name", "environment", "message"}
# Where the agent keeps a record's own time when it replaces it.
CHANGED_TIMES = ("timestamp_original", "timestamp_invalid")
LOG_QUERY_REFUSED = "log queries are not supported as an instant query type"


@dataclass(frozen=True)
class Entry:
    """One line as Loki keeps it; `time` in nanoseconds since the epoch."""

    time: int
    line: str
    labels: Mapping[str, str]
    metadata: Mapping[str, str]


class Loki:
    """One tenant of the Loki at `url`, for example `http://127.0.0.1:<port>`."""

    def __init__(self, url: str, tenant: str = LOKI_TENANT, access: Access | None = None):
        self.url = url
        self.tenant = tenant
        self._session = open_session(access)
        self._session.headers["X-Scope-OrgID"] = tenant

    def push(self, records: Iterable[Mapping[str, Any]]) -> None:
        self.push_entries(map(entry_from, records))

    def push_entries(self, entries: Iterable[Entry]) -> None:
        """Store entries as they are. Raises EngineError."""
        batch: list[Entry] = []
        size = 0
        for entry in entries:
            batch.append(entry)
            size += len(entry.line)
            if len(batch) >= PUSH_BATCH or size >= PUSH_BYTES:
                self._push(batch)
                batch, size = [], 0
        if batch:
            self._push(batch)

    def records(self, selection: Selection, *, limit: int) -> Iterator[Record]:
        newest = self._newest(to_logql(selection), *_range(selection), limit)
        return (record_from(entry) for entry in reversed(newest))

    def count(self, selection: Selection) -> int:
        since, until = _range(selection)
        if until <= since:
            return 0
        lines = to_logql(selection)
        # LogQL's ranges are whole milliseconds and include their end.
        length = -((since - until) // 1_000_000)
        text = f"sum(count_over_time({lines} [{length}ms]))"
        data = self._get("/loki/api/v1/query", {"query": text, "time": str(until - 1)})
        counted = sum(int(float(sample["value"][1])) for sample in data["result"])
        before = until - length * 1_000_000
        return counted - len(self._newest(lines, before, since, ENTRIES))

    def query(self, text: str, selection: Selection, *, limit: int) -> Iterator[dict[str, str]]:
        moment = str(_range(selection)[1] - 1)
        try:
            data = self._get("/loki/api/v1/query", {"query": text, "time": moment})
        except EngineError as error:
            if LOG_QUERY_REFUSED not in str(error):
                raise
            return (
                _row(entry) for entry in reversed(self._newest(text, *_range(selection), limit))
            )
        if data["resultType"] == "scalar":
            return iter([{"value": str(data["result"][1])}])
        found: list[dict[str, Any]] = data["result"][:limit]
        return ({**sample["metric"], "value": str(sample["value"][1])} for sample in found)

    def entries(self, text: str, selection: Selection, limit: int) -> list[Entry]:
        """The newest `limit` entries of a LogQL query in the selection's times, oldest first."""
        return self._newest(text, *_range(selection), limit)[::-1]

    def _newest(self, text: str, since: int, end: int, limit: int) -> list[Entry]:
        """The newest `limit` entries of [since, end), newest first.

        Pages end between two instants, because Loki may cut one in the middle: the next page
        contains the last instant of a full page again.
        """
        entries: list[Entry] = []
        size = min(PAGE, limit)
        while end > since and len(entries) < limit:
            page = self._page(text, since, end, size)
            if len(page) < size:
                return (entries + page)[:limit]
            oldest = page[-1].time
            whole = [entry for entry in page if entry.time > oldest]
            if not whole:  # the instant has more entries than a page
                if len(entries) + size >= limit:
                    return (entries + page)[:limit]
                size *= 2
                continue
            entries += whole
            end = oldest + 1
            # Enough for the rest of the limit and the instant that was cut.
            size = min(PAGE, limit - len(entries) + len(page) - len(whole))
        return entries[:limit]

    def _page(self, text: str, since: int, end: int, size: int) -> list[Entry]:
        parameters = {"query": text, "start": str(since), "end": str(end), "limit": str(size)}
        data = self._get("/loki/api/v1/query_range", {**parameters, "direction": "backward"})
        if data["resultType"] != "streams":
            raise EngineError(f"{text}: expected a query of lines, got one of {data['resultType']}")
        entries = [
            Entry(
                int(value[0]),
                value[1],
                {n: label for n, label in stream["stream"].items() if not n.startswith("__")},
                {**(value[2] if len(value) > 2 else {}).get("structuredMetadata", {})},
            )
            for stream in data["result"]
            for value in stream["values"]
        ]
        return sorted(entries, key=lambda entry: -entry.time)

    def _push(self, entries: list[Entry]) -> None:
        streams: dict[str, dict[str, Any]] = {}
        for entry in entries:
            key = json.dumps(entry.labels, sort_keys=True)
            stream = streams.setdefault(key, {"stream": entry.labels, "values": []})
            stream["values"].append([str(entry.time), entry.line, entry.metadata])
        body = json.dumps({"streams": list(streams.values())}, ensure_ascii=False).encode()
        answer = self._request("POST", "/loki/api/v1/push", data=body)
        answer.close()

    def _get(self, path: str, parameters: Mapping[str, str]) -> dict[str, Any]:
        flags = {"X-Loki-Response-Encoding-Flags": "categorize-labels"}
        answer = self._request("GET", path, params=parameters, headers=flags)
        try:
            data: dict[str, Any] = from_json(answer.content)["data"]
        except (requests.RequestException, ValueError, KeyError) as error:
            raise EngineError(f"cannot read the answer of Loki at {self.url}: {error}") from None
        return data

    def _request(self, method: str, path: str, **arguments: Any) -> requests.Response:
        headers = {"Content-Type": "application/json", **arguments.pop("headers", {})}
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


def read_retention(fetch: Callable[[str], str]) -> timedelta:
    """How long the running Loki keeps records, as it reports. Raises EngineError."""
    import yaml  # a search needs none

    config = yaml.safe_load(fetch("/config"))
    if config["compactor"]["retention_enabled"] is not True:
        raise EngineError("expected Loki's retention to be enabled, got retention_enabled: false")
    return parse_go_duration(str(config["limits_config"]["retention_period"]))


def find_record(fetch: Callable[[str], str], request_id: str, since: str) -> dict[str, str] | None:
    """The newest record with a request id in the last `since`; None if there is none."""
    query = f'{{service_name=~".+"}} | request_id=`{request_id}`'
    parameters = urlencode({"query": query, "since": since, "limit": "1"})
    streams = json.loads(fetch(f"/loki/api/v1/query_range?{parameters}"))["data"]["result"]
    for stream in streams:
        line: dict[str, str] = json.loads(stream["values"][0][1])
        return {**line, **stream["stream"]}
    return None


def _range(selection: Selection) -> tuple[int, int]:
    return nanoseconds(selection.since), nanoseconds(selection.until)


def entry_from(record: Mapping[str, Any]) -> Entry:
    """A record in the contract's form as Loki keeps it: the same entry that the agents send."""
    texts = texts_of(record)
    labels = {name: _label(texts[name]) for name in names("label") if texts.get(name)}
    if labels.get("level") not in LEVELS:
        labels.pop("level", None)
    beside = [*names("metadata"), *agent_fields()]
    metadata = {name: texts[name] for name in beside if texts.get(name)}
    if file := texts.get("log.file.path"):
        metadata[LOG_FILE] = file
    moment = nanoseconds(datetime.fromisoformat(record["timestamp"]))
    if record.get("format") in TEXT_FORMATS:
        metadata |= {name: texts[name] for name in TEXT_FIELDS if texts.get(name)}
        return Entry(moment, texts.get("message", ""), labels, metadata)
    inside = {
        name: value
        for name, value in record.items()
        if name not in {"host", "log.file.path", *agent_fields()}
    }
    line = json.dumps(inside, ensure_ascii=False, separators=(",", ":"))
    return Entry(moment, line, labels, metadata)


def record_from(entry: Entry) -> Record:
    """The typed record of an entry, from its line, labels and metadata."""
    beside = {name: entry.metadata[name] for name in agent_fields() if name in entry.metadata}
    file = {"log.file.path": entry.metadata[LOG_FILE]} if LOG_FILE in entry.metadata else {}
    always = {**beside, **entry.labels, "timestamp": rfc3339(entry.time)}
    texts = None if beside.get("format") in TEXT_FORMATS else _texts_in(entry.line)
    if texts is None:
        read = (*names("metadata"), *TEXT_FIELDS)
        fields = {name: entry.metadata[name] for name in read if name in entry.metadata}
        return parse_record({**fields, "message": entry.line, **file, **always})
    stamp = texts.get("timestamp", "")
    moment = _moment(stamp)
    if stamp and moment != entry.time // 1000 and not {*CHANGED_TIMES} & set(beside):
        texts["timestamp_invalid" if moment is None else "timestamp_original"] = stamp
    if moment != entry.time // 1000 or not set(texts) >= REQUIRED:
        texts = {"message": entry.line, **texts}  # JSON of another shape
    return parse_record({**file, **texts, **always})


def from_otlp(sent: OtlpRecord) -> Record:
    """What Loki returns of a record of the collector: `otlp_config` says what becomes a label."""
    labels = {_in_loki(name): text for name, text in texts_of(sent.resource).items() if text}
    metadata = {_in_loki(name): text for name, text in texts_of(sent.attributes).items() if text}
    (line,) = texts_of({"line": sent.body}).values()
    return record_from(Entry(sent.moment, line, labels, metadata))


def _in_loki(name: str) -> str:
    """A name of OTLP as Loki has it: `service.name` is `service_name`."""
    return re.sub(r"[^A-Za-z0-9_]", "_", name)


def _label(text: str) -> str:
    """A value for a label. Loki refuses a whole push that has U+FFFD in a label."""
    whole = text[:LOKI_LABEL_LENGTH].encode("utf-8", "replace").decode()
    return whole.replace("\ufffd", "?")


def _texts_in(line: str) -> dict[str, str] | None:
    """The fields of a JSON line as the agent names them; None if the line is not a JSON object."""
    try:
        value = json.loads(line)
        texts = texts_of(rename_reserved(value)) if isinstance(value, dict) else None
    except (ValueError, RecursionError):  # RecursionError: nested a thousand deep
        return None
    return texts and {name: text for name, text in texts.items() if text or name == "message"}


def _moment(stamp: str) -> int | None:
    """A record's own time in microseconds since the epoch; None if it cannot be read."""
    try:
        moment = datetime.fromisoformat(stamp)
        return nanoseconds(moment) // 1000 if moment.tzinfo is not None else None
    except (ValueError, OverflowError):
        return None


def _row(entry: Entry) -> dict[str, str]:
    moment = {"_time": rfc3339(entry.time)}
    return {**moment, **entry.labels, **entry.metadata, "_line": entry.line}


KIND = EngineKind(
    name="loki",
    title="Loki",
    dialect="logql",
    connect=Loki,
    ingestion={"otelcol": "/otlp/v1/logs", "promtail": "/loki/api/v1/push"},
    own_host={"otelcol": "otlp", "promtail": "push"},
    reading=(
        *("/loki/api/v1/query", "/loki/api/v1/query_range", "/loki/api/v1/labels"),
        *("/loki/api/v1/label/*", "/loki/api/v1/series", "/loki/api/v1/tail"),
        *("/loki/api/v1/index/*", "/loki/api/v1/patterns", "/loki/api/v1/detected_*"),
    ),
    retention=read_retention,
    find=find_record,
    from_otlp=from_otlp,
    evaluator="loki",
    services=(
        "/loki/api/v1/query",
        "sum by (service_name) (count_over_time({environment=ENVIRONMENT} "
        '| json format="format", logger_name="logger_name" '
        # A line that is not JSON is text.
        '| (__error__="" and format!="text") or logger_name!="" [WINDOW]))',
    ),
    restored_component="loki",
    grafana_type="loki",
    tenant=LOKI_TENANT,
    restored_tenant=LOKI_RESTORED_TENANT,
    rules="/prometheus/api/v1/rules",
    rules_file=f"rules/{LOKI_TENANT}/logstack.yaml",
    reports_expressions=False,
    is_cluster=True,
    cluster_ports=("loki_memberlist", "loki_grpc"),
    takes_any_age=True,
)
