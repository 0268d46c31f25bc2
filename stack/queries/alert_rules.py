"""Queries of alert rules alone: what is missing, what must not occur.

Like those of catalogue.py, each is one query in every dialect.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from stack.common import quote
from stack.engines.facts import VL_SEARCHED_FIELDS
from stack.queries.language import (
    Filter,
    Query,
    Scope,
    Window,
    equals,
    group,
    over,
    stats,
    sum_lengths,
)
from stack.queries.shapes import count

# Secrets that records must not contain, as RE2 patterns. `[redacted]` does not match.
SECRETS = (
    # password=..., "api_key": "...", also inside JSON inside a string
    r"(?i:password|passwd|secret|api_?key|access_?token|client_?secret)"
    r"""["'\\]{0,4}(?:=|:|": |': |\\": )["'\\]{0,4}[^\s"'\\,;&<>{}()\[\]*]{6,}""",
    r"\b(?i:bearer|basic) [A-Za-z0-9._~+/=-]{20,}",
    r"\beyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}\.",  # a JSON web token
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",  # an access key of AWS
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY",
)
PERSONAL_DATA = (
    # card numbers of the large issuers; IBANs of some countries
    r"\b(?:4[0-9]{3}|5[1-5][0-9]{2}|6011)[ -]?[0-9]{4}[ -]?[0-9]{4}[ -]?[0-9]{4}\b",
    r"\b(?:AT|BE|CH|DE|ES|FR|GB|IE|IT|LU|NL|PL|PT)[0-9]{2}"
    r"(?: ?[0-9A-Z]{4}){3,6}(?: ?[0-9A-Z]{1,3})?\b",
)


def heartbeat(scope: Scope, window: Window) -> Query:
    """The number of records, which is 0 rather than missing while the engine works."""
    return count("heartbeat", Filter(scope), window, by=())


def fell_silent(
    scope: Scope,
    window: Window,
    *,
    by: Sequence[str] = ("service_name",),
    against: str = "24h",
    events: Sequence[str] = (),
    begun: Sequence[str] = (),
) -> Query:
    """Records in the time `against` before the window, of series that have none within it.

    With `events`, only records of these event types count; before the window also those of the
    types `begun`. `by` is one field, or several labels.
    """
    before = over(against)
    expected = Filter(scope, (equals("event_type", *events),) if events else ())
    where = Filter(scope, (equals("event_type", *events, *begun),) if events else ())
    total = f"sum {group(by)}(count_over_time(%s [%s]%s))"
    earlier = total % (where.logql(), before.length, f" offset {window.length}")
    recent = total % (expected.logql(), window.length, "")
    of_events = f" {equals('event_type', *events).logsql()}" if events else ""
    counts = stats(
        by,
        f"count() if (_time:{window.length}{of_events}) as recent",
        f"count() if (_time:{before.length} offset {window.length}) as value",
    )
    return Query(
        "fell_silent",
        logql=f"{earlier} unless {recent}",
        logsql=f"_time:{sum_lengths(window.length, before.length)} {where.logsql()} "
        f"| {counts} | filter recent:=0 | delete recent",
        by=tuple(by),
    )


def never_reported(
    scope: Scope, window: Window, *, service: str, before: str = "1h", against: str = "7d"
) -> Query:
    """Records in the time `before` the window, if there is none of `service`.

    Records of `service` are searched in the window and in the time `against` before it. Records
    before the window prove that the stack has run that long; without any there is no number.
    """
    earlier, whole = over(before), sum_lengths(window.length, against)
    everything, own = Filter(scope), Filter(replace(scope, services=(service,)))
    total = f"sum(count_over_time({everything.logql()} [{earlier.length}] offset {window.length}))"
    reported = f"sum(count_over_time({own.logql()} [{whole}]))"
    of_service = equals("service_name", service).logsql()
    of_earlier = f"_time:{earlier.length} offset {window.length}"
    counts = stats(
        (), f"count() if ({of_service}) as reported", f"count() if ({of_earlier}) as value"
    )
    return Query(
        "never_reported",
        logql=f"{total} unless {reported}",
        logsql=f"_time:{whole} {everything.logsql()} ({of_earlier} or {of_service}) "
        f"| {counts} | filter reported:=0 | delete reported",
    )


def sensitive_records(
    scope: Scope, window: Window, *, by: Sequence[str] = ("service_name",)
) -> Query:
    """Records that contain a likely secret, card number or account number.

    Loki searches the whole line, VictoriaLogs message, exception message and stack trace.
    """
    pattern = quote("|".join((*SECRETS, *PERSONAL_DATA)))
    anywhere = " or ".join(f"{name}:~{pattern}" for name in VL_SEARCHED_FIELDS)
    source = f"{Filter(scope).logql()} |~ {pattern} [{window.length}]"
    return Query(
        "sensitive_records",
        logql=f"sum {group(by)}(count_over_time({source}))",
        logsql=f"{Filter(scope).logsql(window)} ({anywhere}) | {stats(by, 'count() as value')}",
        by=tuple(by),
    )


def expired_records(scope: Scope, window: Window, *, hot_days: int, margin_days: int) -> Query:
    """Records within the window that ends `hot_days` + `margin_days` and a day ago.

    There should be none. The extra day is there because engines delete whole days.
    """
    offset = f"{hot_days + margin_days + 1}d"
    source = Filter(scope)
    return Query(
        "expired_records",
        logql=f"sum(count_over_time({source.logql()} [{window.length}] offset {offset}))",
        logsql=f"_time:{window.length} offset {offset} {source.logsql()} | stats count() as value",
    )


def message_samples(records: Query, window: Window, limit: int = 3) -> Query:
    """The most frequent messages of whole records, as a label, with their counts."""
    source = f'{records.logql} | json message="message" | __error__="" [{window.length}]'
    return Query(
        "message_samples",
        logql=f"topk({limit}, sum by (message) (count_over_time({source})))",
        logsql=f"_time:{window.length} {records.logsql} | stats by (_msg) count() as value "
        f"| first {limit} by (value desc)",
        by=("message",),
    )
