"""Queries of alert rules that compare one time with another: new, grown, used up."""

from __future__ import annotations

from collections.abc import Sequence

from stack.queries.catalogue import DEPLOYED, REQUESTS
from stack.queries.language import (
    Filter,
    Query,
    Scope,
    Window,
    at_least,
    equals,
    group,
    over,
    present,
    stats,
    sum_lengths,
)
from stack.queries.shapes import share_logql
from stack.queries.where import SERVICE, Where, filter_of
from stack.settings.units import parse_duration


def first_seen(
    scope: Scope,
    window: Window,
    *,
    where: Where,
    by: Sequence[str],
    against: str,
    known: str = "",
) -> Query:
    """Records of values of `by` that do not occur in the time `against` before the window.

    With `known`, of those that do occur in the time `known` before that: they come back.
    """
    before = over(against)
    source = filter_of(scope, where, by)
    total = f"sum {group(by)}(count_over_time({source.logql()} [%s]%s))"
    back = sum_lengths(window.length, before.length)
    recent, missing = f"_time:{window.length}", f"_time:{before.length} offset {window.length}"
    counts = [f"count() if ({recent}) as value", f"count() if ({missing}) as between"]
    earlier = total % (before.length, f" offset {window.length}")
    logql = f"{total % (window.length, '')} unless {earlier}"
    wanted, whole = "", back
    if known:
        logql = f"({logql}) and {total % (over(known).length, f' offset {back}')}"
        whole = sum_lengths(back, known)
        counts.append(f"count() if (_time:{known} offset {back}) as earlier")
        wanted = " earlier:>0"
    return Query(
        "first_seen",
        logql=logql,
        logsql=f"_time:{whole} {source.logsql()} | {stats(by, *counts)} "
        f"| filter value:>0 between:=0{wanted} | delete between{', earlier' if known else ''}",
        by=tuple(by),
    )


def growth(
    scope: Scope,
    window: Window,
    *,
    at_least_records: int,
    where: Where | None = None,
    by: Sequence[str] = SERVICE,
    against: Sequence[str] = ("1d", "7d"),
    deployed_within: str = "",
) -> Query:
    """The number of records divided by the largest one of the same window `against` earlier.

    Below `at_least_records` in the window there is no number. Lower earlier counts are raised to
    `at_least_records`, so that a new service can be compared. With `deployed_within` there is a
    number only if a deployment was recorded in that time.
    """
    source = filter_of(scope, where or {}, by)
    total = f"sum {group(by)}(count_over_time({source.logql()} [{window.length}]%s))"
    recent = total % ""
    largest = f"({recent} * 0 + {at_least_records})"
    for earlier in against:
        largest = f"({total % f' offset {over(earlier).length}'} > {largest} or {largest})"
    logql = f"({recent} >= {at_least_records}) / {largest}"
    times = {"recent": f"_time:{window.length}"}
    times |= {f"before{n}": f"_time:{window.length} offset {o}" for n, o in enumerate(against)}
    deployed = ""
    if deployed_within:
        event = Filter(scope, (equals("event_type", DEPLOYED),))
        logql += f" and on() (sum(count_over_time({event.logql()} [{deployed_within}])) > 0)"
        found = event.logsql(over(deployed_within))
        deployed = f" environment:in({found} | fields environment)"
    longest = max(against, key=parse_duration)
    counts = [f"count() if ({time}) as {name}" for name, time in times.items()]
    befores = ", ".join(name for name in times if name != "recent")
    return Query(
        "growth",
        logql=logql,
        logsql="options(ignore_global_time_filter=true) "
        f"_time:{sum_lengths(window.length, longest)} ({' or '.join(times.values())}) "
        f"{source.logsql()}{deployed} | {stats(by, *counts)} "
        f"| filter recent:>={at_least_records} "
        f"| math recent / max({befores}, {at_least_records}) as value | delete recent, {befores}",
        by=tuple(by),
    )


def burn_rate(
    scope: Scope, window: Window, *, short: str, budget: float, at_least_requests: int
) -> Query:
    """How many times as many requests fail as `budget`, a share, permits; per service.

    The lower one of the window and of the time `short`, so that it falls soon after the failures
    end (Site Reliability Workbook, chapter 5). Without `at_least_requests` in the window there is
    no number.
    """
    requests = Filter(scope, (REQUESTS,), ("status",))
    failed = requests.narrow(at_least("status", 500))
    logql = []
    for length in (window.length, over(short).length):
        ranges = [f"{source.logql()} [{length}]" for source in (failed, requests)]
        logql.append(f"({share_logql(ranges[0], ranges[1], SERVICE)})")
    enough = f"sum {group(SERVICE)}(count_over_time({requests.logql()} [{window.length}]))"
    has_failed = at_least("status", 500).logsql()
    counts = stats(
        SERVICE,
        f"count() if ({has_failed}) as failed",
        "count() as requests",
        f"count() if (_time:{short} {has_failed}) as failed_now",
        f"count() if (_time:{short}) as requests_now",
    )
    return Query(
        "burn_rate",
        logql=f"(({logql[0]} < {logql[1]} or {logql[1]}) / {budget}) "
        f"and ({enough} >= {at_least_requests})",
        logsql=f"{requests.logsql(window)} | {counts} "
        f"| filter requests:>={at_least_requests} requests_now:>0 "
        f"| math min(failed / requests, failed_now / requests_now) / {budget} as value "
        "| delete failed, requests, failed_now, requests_now",
        by=SERVICE,
    )


def logins_after_failures(scope: Scope, window: Window, *, failures: int) -> Query:
    """Logins of users who failed to log in at least `failures` times in the window."""
    by = ("username",)
    names = ("user_login", "user_login_failed")
    login, failed = (
        Filter(scope, (equals("event_type", name), present("username")), by) for name in names
    )
    both = Filter(scope, (equals("event_type", *names), present("username")), by)
    counts = stats(
        by,
        f"count() if ({equals('event_type', names[0]).logsql()}) as value",
        f"count() if ({equals('event_type', names[1]).logsql()}) as failures",
    )
    total = f"sum {group(by)}(count_over_time(%s [{window.length}]))"
    return Query(
        "logins_after_failures",
        logql=f"{total % login.logql()} and ({total % failed.logql()} >= {failures})",
        logsql=f"{both.logsql(window)} | {counts} "
        f"| filter value:>0 failures:>={failures} | delete failures",
        by=by,
    )
