"""Runs a query of stack/queries/catalogue.py against an engine, in that engine's dialect.

    Evaluator.instant(query, at)                      -> one number per combination of labels
    Evaluator.repeated(query, times)                  -> the same at many times
    Evaluator.over_time(query, since, until, step)    -> the numbers of each step
    Evaluator.records(query, since, until, limit)     -> whole records

Callers are the checks of dashboards, the report and the tests. A step is identified by its start;
in both engines steps begin at multiples of their length.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

import requests

from stack.engines import EngineError, Record, Selection
from stack.engines.http import Session, from_json, open_session, shorten
from stack.engines.kind import Dialect
from stack.engines.kinds import kind_of
from stack.engines.loki import Entry, Loki
from stack.engines.loki import record_from as record_from_entry
from stack.engines.victorialogs import record_from
from stack.queries.language import Query
from stack.records.contract import parse_record
from stack.records.timestamps import format_time, nanoseconds
from stack.settings.targets import Access, Target

TIMEOUT = (3.05, 60)
AT_ONCE = 200  # times that one request to Loki is about


@dataclass(frozen=True)
class Sample:
    """One number. It has every label of the query, "" where the records have none."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Series:
    """The numbers of one combination of labels, by the start of their step."""

    labels: Mapping[str, str]
    points: Mapping[datetime, float]


class Evaluator(Protocol):
    """Runs queries. Every method raises EngineError."""

    dialect: Dialect

    def instant(self, query: Query, at: datetime) -> list[Sample]:
        """The query's numbers as of `at`."""

    def repeated(
        self, query: Query, times: Sequence[datetime]
    ) -> Iterator[tuple[datetime, list[Sample]]]:
        """The same for each of `times`, which are multiples of one step, each one step later."""

    def over_time(
        self, query: Query, since: datetime, until: datetime, step: timedelta
    ) -> list[Series]:
        """The query's numbers for each step that begins in [since, until)."""

    def records(
        self, query: Query, since: datetime, until: datetime, *, limit: int
    ) -> list[Record]:
        """The newest `limit` records, oldest first."""


class VictoriaLogsEvaluator:
    """Queries the VictoriaLogs at `url` in LogsQL."""

    dialect: Dialect = "logsql"

    def __init__(self, url: str, access: Access | None = None):
        self.url = url
        self._session = open_session(access)

    def instant(self, query: Query, at: datetime) -> list[Sample]:
        answer = self._query("stats_query", query=query.logsql, time=format_time(at))
        return read_samples(_result(answer), query.by)

    def repeated(
        self, query: Query, times: Sequence[datetime]
    ) -> Iterator[tuple[datetime, list[Sample]]]:
        for at in times:
            yield at, self.instant(query, at)

    def over_time(
        self, query: Query, since: datetime, until: datetime, step: timedelta
    ) -> list[Series]:
        first, last = align(since, until, step)
        answer = self._query(
            "stats_query_range",
            query=query.logsql,
            start=format_time(first),
            end=format_time(last),
            step=f"{step.total_seconds():g}s",
        )
        return read_series(_result(answer), query.by, timedelta(0))

    def records(
        self, query: Query, since: datetime, until: datetime, *, limit: int
    ) -> list[Record]:
        answer = self._query(
            "query",
            query=f"{query.logsql} | sort by (_time desc) limit {limit}",
            start=format_time(since),
            end=format_time(until),
        )
        rows = [from_json(line) for line in answer.content.split(b"\n") if line]
        return [record_from(row) for row in reversed(rows)]

    def _query(self, path: str, **parameters: str) -> requests.Response:
        return post_query(self._session, f"{self.url}/select/logsql/{path}", parameters)


class LokiEvaluator:
    """Queries a tenant of the Loki at `url` in LogQL."""

    dialect: Dialect = "logql"

    def __init__(self, url: str, access: Access | None = None):
        self.url = url
        self._engine = Loki(url, access=access)
        self._session = open_session(access)
        self._session.headers["X-Scope-OrgID"] = self._engine.tenant

    def instant(self, query: Query, at: datetime) -> list[Sample]:
        result = self._query("query", query=query.logql, time=str(nanoseconds(at)))
        return read_samples(result, query.by)

    def repeated(
        self, query: Query, times: Sequence[datetime]
    ) -> Iterator[tuple[datetime, list[Sample]]]:
        # A request of its own for each time takes Loki ten times as long.
        for first in range(0, len(times), AT_ONCE):
            chosen = times[first : first + AT_ONCE]
            step = times[1] - times[0] if len(times) > 1 else timedelta(seconds=1)
            result = self._query(
                "query_range",
                query=query.logql,
                start=str(nanoseconds(chosen[0])),
                end=str(nanoseconds(chosen[-1])),
                step=f"{step.total_seconds():g}s",
            )
            series = read_series(result, query.by, timedelta(0))
            for at in chosen:
                yield at, [Sample(s.labels, s.points[at]) for s in series if at in s.points]

    def over_time(
        self, query: Query, since: datetime, until: datetime, step: timedelta
    ) -> list[Series]:
        # Loki identifies a step by its end.
        first, last = align(since, until, step)
        result = self._query(
            "query_range",
            query=query.logql,
            start=str(nanoseconds(first + step)),
            end=str(nanoseconds(last)),
            step=f"{step.total_seconds():g}s",
        )
        return read_series(result, query.by, step)

    def records(
        self, query: Query, since: datetime, until: datetime, *, limit: int
    ) -> list[Record]:
        selection = Selection(since=since, until=until)
        return [_record(entry) for entry in self._engine.entries(query.logql, selection, limit)]

    def _query(self, path: str, **parameters: str) -> list[Any]:
        return _result(post_query(self._session, f"{self.url}/loki/api/v1/{path}", parameters))


def evaluator_of(target: Target) -> Evaluator:
    """The evaluator of the engine that the target's settings choose."""
    kind = kind_of(target.settings)
    evaluators: dict[Dialect, Callable[[str, Access | None], Evaluator]] = {
        "logql": LokiEvaluator,
        "logsql": VictoriaLogsEvaluator,
    }
    return evaluators[kind.dialect](target.url(kind.name), target.access)


def post_query(session: Session, url: str, parameters: Mapping[str, str]) -> requests.Response:
    """The answer to a query. Raises EngineError with the query and the engine's message."""
    try:
        answer = session.post(url, data=parameters, timeout=TIMEOUT)
    except requests.RequestException as error:
        raise EngineError(f"cannot query {url}: {shorten(error)}. Run: {session.advice}") from None
    if not answer.ok:
        raise EngineError(
            f"cannot query {url}: HTTP {answer.status_code}: {answer.text.strip()[:500]}\n"
            f"  query: {parameters['query']}"
        )
    return answer


def _result(answer: requests.Response) -> list[Any]:
    result: list[Any] = from_json(answer.content)["data"]["result"]
    return result


def read_samples(result: Iterable[Mapping[str, Any]], by: Sequence[str]) -> list[Sample]:
    """The numbers of an instant query's answer, without infinity and NaN."""
    found = [(_labels(row["metric"], by), _number(row["value"][1])) for row in result]
    return [Sample(labels, value) for labels, value in found if math.isfinite(value)]


def read_series(
    result: Iterable[Mapping[str, Any]], by: Sequence[str], ends_after: timedelta
) -> list[Series]:
    """The series of a range query's answer, whose times are `ends_after` after a step's start."""
    found = []
    for row in result:
        points = {
            datetime.fromtimestamp(float(time), UTC) - ends_after: _number(value)
            for time, value in row["values"]
            if math.isfinite(_number(value))
        }
        found.append(Series(_labels(row["metric"], by), points))
    return found


def _number(text: str) -> float:
    """VictoriaLogs answers with an empty text where no record had a number."""
    return float(text) if text else math.nan


def align(since: datetime, until: datetime, step: timedelta) -> tuple[datetime, datetime]:
    """The steps that cover a time range: start of the first one, end of the last one."""
    seconds = step.total_seconds()
    first = math.floor(since.timestamp() / seconds) * seconds
    last = math.ceil(until.timestamp() / seconds) * seconds
    return datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC)


def _labels(metric: Mapping[str, str], by: Sequence[str]) -> dict[str, str]:
    return {name: metric.get(name, "") for name in by}


def _record(entry: Entry) -> Record:
    """A record from an entry. Where the query replaced the line, the metadata has the fields."""
    found = record_from_entry(entry)
    if entry.line.startswith("{"):
        return found
    beside = {name: text for name, text in entry.metadata.items() if name not in found}
    return {**found, **parse_record(beside)}
