"""Every query of the project, once, by name, in both dialects.

Dashboards, alert rules, checks and the report call these functions. The LogQL and the LogsQL of a
Query give the same numbers; docs/decisions/0020-one-query-two-dialects.md says how.
"""

from __future__ import annotations

from collections.abc import Sequence

from stack.queries import shapes
from stack.queries.language import (
    Filter,
    Query,
    QueryError,
    Scope,
    Window,
    at_least,
    equals,
    group,
    grouping,
    over,
    present,
    stats,
)

ERROR_LEVELS = ("ERROR", "CRITICAL")
SECURITY_EVENTS = (
    *("user_login", "user_login_failed", "user_logout"),
    *("permission_denied", "role_changed", "data_exported"),
)
ADMIN_EVENTS = ("role_changed", "organization_created")
JOB_EVENTS = ("job_finished", "job_failed", "task_succeeded", "task_retried", "task_failed")
FAILED_JOB_EVENTS = ("job_failed", "task_failed")
# Events of the logging library and its handlers.
LOSS_EVENTS = ("log_records_lost", "log_records_suppressed", "log_record_unformattable")
DEPLOYED = "deployed"
REQUEST_FIELDS = ("request_id", "service_name", "organization_id", "method", "path", "status")
REQUESTS = equals("event_type", "request_finished")


# --- How much is logged
def records_by_level(scope: Scope, window: Window) -> Query:
    """Records per level; lines that were not JSON have the level ""."""
    return shapes.count("records_by_level", Filter(scope), window, by=("level",))


def record_count(scope: Scope, window: Window, *, levels: Sequence[str] = ()) -> Query:
    """All records, or those of some levels."""
    return shapes.count("record_count", shapes.select_levels(Filter(scope), levels), window, by=())


def records_by_field(
    scope: Scope, window: Window, *, field: str, limit: int = 10, levels: Sequence[str] = ()
) -> Query:
    """Records per value of a field such as logger_name, username or host: the largest ones."""
    where = shapes.select_levels(Filter(scope, (present(field),), (field,)), levels)
    return shapes.count("records_by_field", where, window, by=(field,), limit=limit)


def record_rate(scope: Scope, window: Window) -> Query:
    """Records per second and service."""
    return shapes.count("record_rate", Filter(scope), window, by=("service_name",), rate=True)


def active_services(scope: Scope, window: Window) -> Query:
    """The number of services that logged anything."""
    total = f"sum by (service_name) (count_over_time({shapes.logql_range(Filter(scope), window)}))"
    return Query(
        "active_services",
        logql=shapes.zero_logql(f"count({total})", window),
        logsql=f"{Filter(scope).logsql(window)} | stats count_uniq(service_name) as value",
    )


def bytes_by_field(
    scope: Scope, window: Window, *, field: str = "service_name", limit: int = 10
) -> Query:
    """Bytes logged per service, host or organization.

    Loki counts the lines; VictoriaLogs, which stores fields, the values of all fields.
    """
    where = Filter(scope, (present(field),), (field,))
    total = f"sum {group((field,))}(bytes_over_time({shapes.logql_range(where, window)}))"
    return Query(
        "bytes_by_field",
        logql=shapes.limit_logql(total, limit),
        logsql=f"{where.logsql(window)} | delete _stream, _stream_id "
        f"| {stats((field,), 'sum_len(*) as value')}" + shapes.limit_logsql(limit, (field,)),
        by=(field,),
    )


# --- Errors
def error_ratio(
    scope: Scope,
    window: Window,
    *,
    by: Sequence[str] = ("service_name",),
    at_least_records: int = 0,
) -> Query:
    """ERROR and CRITICAL records as a share of all, between 0 and 1."""
    errors = equals("level", *ERROR_LEVELS)
    return shapes.share("error_ratio", Filter(scope), errors, window, by, at_least_records)


def top_exception_types(
    scope: Scope, window: Window, *, limit: int = 10, exception_type: str = ""
) -> Query:
    """Records with an exception, per type: the most frequent ones."""
    where = shapes.select_exceptions(scope, exception_type)
    return shapes.count("top_exception_types", where, window, by=("exception_type",), limit=limit)


def exceptions_by_field(
    scope: Scope, window: Window, *, field: str, limit: int = 10, exception_type: str = ""
) -> Query:
    """Records with an exception, per value of a field such as logger_name or organization_id."""
    where = shapes.select_exceptions(scope, exception_type).narrow(present(field))
    return shapes.count("exceptions_by_field", where, window, by=(field,), limit=limit)


def new_exception_types(scope: Scope, window: Window, *, against: str = "24h") -> Query:
    """Records with an exception of a type that did not occur in the time `against` before."""
    if window.steps:
        raise QueryError(
            "window: expected over(...), because each step would compare with another day"
        )
    before = over(against)
    where = Filter(scope, (shapes.EXCEPTIONS,))
    count = f"sum by (exception_type) (count_over_time({where.logql()} [%s]%s))"
    now = count % (window.length, "")
    earlier = count % (before.length, f" offset {window.length}")
    # A subquery: one scan over both times would read the values of a day to find those of minutes.
    known = (
        f"_time:{before.length} offset {window.length} {where.logsql()} "
        "| uniq by (exception_type) | fields exception_type"
    )
    return Query(
        "new_exception_types",
        logql=f"{now} unless {earlier}",
        logsql=f"options(ignore_global_time_filter=true) {where.logsql(window)} "
        f"-exception_type:in({known}) | {stats(('exception_type',), 'count() as value')}",
        by=("exception_type",),
    )


def jobs_by_outcome(scope: Scope, window: Window) -> Query:
    """Background jobs and Celery tasks that ended, per event type."""
    return shapes.count_events("jobs_by_outcome", scope, window, JOB_EVENTS, by=("event_type",))


def failed_jobs(scope: Scope, window: Window, *, by: Sequence[str] = ()) -> Query:
    """Background jobs and Celery tasks that failed, all or by fields such as service_name."""
    return shapes.count_events("failed_jobs", scope, window, FAILED_JOB_EVENTS, by)


# --- HTTP
def requests_by_status_class(scope: Scope, window: Window) -> Query:
    """Requests per 2xx, 3xx, 4xx and 5xx."""
    where = Filter(scope, (REQUESTS,), ("status",))
    label = "label_format status_class=`{{ trunc 1 .status }}xx`"
    source = f"{where.logql()} | {label} [{window.length}]"
    return Query(
        "requests_by_status_class",
        logql=f"sum by (status_class) (count_over_time({source}))",
        logsql=f'{where.logsql(window)} | extract_regexp "^(?P<digit>[0-9])" from status '
        '| format "<digit>xx" as status_class '
        f"| {stats(('status_class',), 'count() as value')}",
        by=("status_class",),
    )


def request_rate(scope: Scope, window: Window) -> Query:
    """Requests per second and service."""
    where = Filter(scope, (REQUESTS,))
    return shapes.count("request_rate", where, window, by=("service_name",), rate=True)


def requests_by_field(
    scope: Scope, window: Window, *, field: str, at_least_status: int = 0, limit: int = 10
) -> Query:
    """Requests per route, method, user or status; `at_least_status=500` for failures only."""
    where = Filter(scope, (REQUESTS, present(field)), (field,))
    if at_least_status:
        where = where.narrow(at_least("status", at_least_status))
    return shapes.count("requests_by_field", where, window, by=(field,), limit=limit)


def server_error_ratio(
    scope: Scope, window: Window, *, by: Sequence[str] = ("service_name",)
) -> Query:
    """Requests answered with 5xx as a share of all, between 0 and 1."""
    failed = at_least("status", 500)
    return shapes.share("server_error_ratio", Filter(scope, (REQUESTS,)), failed, window, by)


def request_duration(
    scope: Scope,
    window: Window,
    *,
    quantile: float,
    by: Sequence[str] = ("route",),
    at_least_requests: int = 0,
) -> Query:
    """A quantile of duration_ms, in milliseconds, by route (or by other fields, or over all)."""
    if not 0 < quantile < 1:
        raise QueryError(f"quantile: expected a number between 0 and 1, got {quantile:g}")
    where = Filter(scope, (REQUESTS,), ("duration_ms", *by))
    source = f'{where.logql()} | unwrap duration_ms | __error__="" [{window.length}]'
    value = f"quantile_over_time({quantile:g}, {source}) {grouping(by)}"
    counted = f"sum {group(by)}(count_over_time({shapes.logql_range(where, window)}))"
    functions = [f"quantile({quantile:g}, duration_ms) as value"]
    enough = ""
    if at_least_requests:
        functions.append("count() as requests")
        enough = f" | filter requests:>={at_least_requests} | delete requests"
    return Query(
        "request_duration",
        logql=shapes.require_logql(value, counted, at_least_requests),
        logsql=f"{where.logsql(window)} duration_ms:* "
        f"| {stats(by, *functions)} | filter value:*{enough}",
        by=tuple(by),
    )


def slowest_requests(
    scope: Scope, window: Window, *, at_least_ms: float = 100, limit: int = 20
) -> Query:
    """The slowest requests with their duration in milliseconds.

    Loki makes a series of each request above `at_least_ms`: a low value may exceed its limit.
    """
    where = Filter(
        scope, (REQUESTS, at_least("duration_ms", at_least_ms)), ("duration_ms", *REQUEST_FIELDS)
    )
    source = f'{where.logql()} | unwrap duration_ms | __error__="" [{window.length}]'
    longest = f"max_over_time({source}) {grouping(REQUEST_FIELDS)}"
    return Query(
        "slowest_requests",
        logql=f"topk({limit}, {longest})",
        logsql=f"{where.logsql(window)} | {stats(REQUEST_FIELDS, 'max(duration_ms) as value')}"
        + shapes.limit_logsql(limit, REQUEST_FIELDS),
        by=REQUEST_FIELDS,
    )


# --- Organizations
def records_by_organization(
    scope: Scope, window: Window, *, limit: int = 10, levels: Sequence[str] = ()
) -> Query:
    """Records per organization, of all levels or of some: the largest ones."""
    query = records_by_field(scope, window, field="organization_id", limit=limit, levels=levels)
    return shapes.rename(query, "records_by_organization")


def errors_by_organization(scope: Scope, window: Window, *, limit: int = 10) -> Query:
    """ERROR and CRITICAL records per organization: the largest ones."""
    query = records_by_organization(scope, window, limit=limit, levels=ERROR_LEVELS)
    return shapes.rename(query, "errors_by_organization")


# --- Security. With `named`, only records that have the fields `by` count
def security_events(scope: Scope, window: Window) -> Query:
    """Logins, failed logins, logouts, refusals, changed roles and exports, per event type."""
    by = ("event_type",)
    return shapes.count_events("security_events", scope, window, SECURITY_EVENTS, by)


def login_failures(
    scope: Scope,
    window: Window,
    *,
    by: Sequence[str] = ("client_ip",),
    limit: int = 10,
    named: bool = False,
) -> Query:
    """Failed logins per address or user name that was tried: the most frequent ones."""
    events = ("user_login_failed",)
    return shapes.count_events("login_failures", scope, window, events, by, limit, named)


def permission_denials(
    scope: Scope,
    window: Window,
    *,
    by: Sequence[str] = ("username",),
    limit: int = 10,
    named: bool = False,
) -> Query:
    """Requests refused with 403 per user: the most frequent ones."""
    events = ("permission_denied",)
    return shapes.count_events("permission_denials", scope, window, events, by, limit, named)


def admin_actions(scope: Scope, window: Window, *, limit: int = 20) -> Query:
    """Changed roles and new organizations, by event type and user."""
    by = ("event_type", "username")
    return shapes.count_events("admin_actions", scope, window, ADMIN_EVENTS, by, limit)


def data_exports(scope: Scope, window: Window, *, limit: int = 20) -> Query:
    """Exports by user and organization."""
    by = ("username", "organization_id")
    return shapes.count_events("data_exports", scope, window, ("data_exported",), by, limit)


# --- Pipeline health
def unparsed_share(
    scope: Scope,
    window: Window,
    *,
    by: Sequence[str] = ("service_name",),
    at_least_records: int = 0,
) -> Query:
    """Lines of text whose level is not known as a share of all records, between 0 and 1."""
    total_source = shapes.logql_range(Filter(scope), window)
    # Only records without a level can be such lines, and in Loki the level is a label.
    unparsed_source = (
        f'{Filter(scope, (equals("level", ""),)).logql()} | json format="format" '
        f'| __error__!="" or format="text" [{window.length}]'
    )
    counted = f"sum {group(by)}(count_over_time({total_source}))"
    value = shapes.share_logql(unparsed_source, total_source, by)
    unparsed = 'format:=text level:=""'
    return Query(
        "unparsed_share",
        logql=shapes.require_logql(value, counted, at_least_records),
        logsql=f"{Filter(scope).logsql(window)} "
        f"| {shapes.share_logsql(unparsed, by, at_least_records)}",
        by=tuple(by),
    )


def record_age(scope: Scope, window: Window, *, by: Sequence[str] = ("service_name",)) -> Query:
    """Seconds since the newest record, of what logged anything within the window."""
    age = "{{ sub (now | unixEpochMillis) (__timestamp__ | unixEpochMillis) }}"
    source = (
        f"{Filter(scope).logql()} | label_format age_ms=`{age}` "
        f'| unwrap age_ms | __error__="" [{window.length}]'
    )
    return Query(
        "record_age",
        logql=f"min_over_time({source}) {grouping(by)} / 1000",
        logsql=f"{Filter(scope).logsql(window)} | {stats(by, 'max(_time) as newest')} "
        "| math (now() - newest) / 1000000000 as value | delete newest",
        by=tuple(by),
    )


def loss_events(scope: Scope, window: Window) -> Query:
    """Records that the logging library dropped, suppressed or could not write, per event type."""
    return shapes.count_events("loss_events", scope, window, LOSS_EVENTS, by=("event_type",))


# --- Whole records
def records(scope: Scope, *, levels: Sequence[str] = (), readable: bool = False) -> Query:
    """Records as they were logged, of all levels or of some."""
    return shapes.whole_records("records", shapes.select_levels(Filter(scope), levels), readable)


def records_of(scope: Scope, identifier: str, *, readable: bool = False) -> Query:
    """All records of one request_id or trace_id, of all services."""
    ids = [equals("request_id", identifier), equals("trace_id", identifier)]
    base = Filter(scope)
    query = Query(
        "records_of",
        logql=f"{base.logql()} | {' or '.join(item.logql() for item in ids)}",
        logsql=f"{base.logsql()} ({' or '.join(item.logsql() for item in ids)})",
        kind="records",
    )
    return shapes.readable_records(query) if readable else query


def exception_records(scope: Scope, *, exception_type: str = "", readable: bool = False) -> Query:
    """Records with an exception, of any type or of one."""
    where = shapes.select_exceptions(scope, exception_type)
    return shapes.whole_records("exception_records", where, readable)


def event_records(scope: Scope, *, events: Sequence[str], readable: bool = False) -> Query:
    """Records of some event types."""
    where = Filter(scope, (equals("event_type", *events),))
    return shapes.whole_records("event_records", where, readable)


def unparsed_records(scope: Scope, *, readable: bool = False) -> Query:
    """Records without a level: lines that were not JSON, and JSON of another shape."""
    return shapes.whole_records("unparsed_records", Filter(scope, (equals("level", ""),)), readable)


def deployments(scope: Scope) -> Query:
    """Records of finished deployments, which dashboards mark in charts."""
    query = event_records(scope, events=(DEPLOYED,), readable=True)
    return shapes.rename(query, "deployments")
