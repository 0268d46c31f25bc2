"""When a rule would have fired on the records that an engine has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain

from stack.alerting.expressions import expression
from stack.alerting.rule_tests import as_query
from stack.alerting.rules import Rule
from stack.queries.evaluate import Evaluator
from stack.settings.units import parse_duration

EPOCH = datetime.fromtimestamp(0, UTC)
Labels = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Firing:
    """One alert, from the first evaluation at which it fired to the last one."""

    rule: str
    labels: Labels
    began: datetime
    ended: datetime
    highest: float


def step_of(rule: Rule, interval: timedelta) -> timedelta:
    """The time between two evaluations: half of the window, so that every record is in two.

    Never shorter than `interval`, that of the running stack.
    """
    return max(interval, parse_duration(rule.window) / 2)


def firings(
    evaluator: Evaluator,
    rule: Rule,
    environment: str,
    times: tuple[datetime, datetime],
    interval: timedelta,
    report: Callable[[str], None],
) -> list[Firing]:
    """The alerts of a rule between two times, oldest first. Raises EngineError."""
    since, until = times
    step = step_of(rule, interval)
    hold = parse_duration(rule.hold)
    query = rule.query(environment)
    query = as_query(query, expression(rule, environment, evaluator.dialect), evaluator.dialect)
    last = until - (until - EPOCH) % step
    steps = int((last - since) / step) + 1
    moments = [last - (steps - 1 - number) * step for number in range(steps)]
    at_end = ((until, evaluator.instant(query, until)) for _ in range(until > last))
    open_: dict[Labels, Firing] = {}
    found: list[Firing] = []
    for number, (at, samples) in enumerate(chain(evaluator.repeated(query, moments), at_end)):
        if number % 100 == 0:
            report(f"{number} of {steps} evaluations")
        now = {tuple(sorted(s.labels.items())): s.value for s in samples}
        for labels in [labels for labels in open_ if labels not in now]:
            found.append(open_.pop(labels))
        for labels, value in now.items():
            held = open_.get(labels) or Firing(rule.name, labels, at, at, value)
            highest = max(held.highest, value)
            open_[labels] = Firing(rule.name, labels, held.began, at, highest)
    found += open_.values()
    fired = [
        Firing(item.rule, item.labels, item.began + hold, item.ended, item.highest)
        for item in found
        if item.ended - item.began >= hold
    ]
    return sorted(fired, key=lambda item: (item.began, item.labels))
