"""What a look at the stack gives: an observation per component and destination, with problems."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Union

Value = Union[int, float, str]


@dataclass(frozen=True)
class Problem:
    """Something wrong. `name` is what alert rules ask for; `command` shows more, or ends it.

    `service` is the one whose records it is about. A `note` is worth saying and no failure.
    """

    name: str
    cause: str
    evidence: str
    command: str
    service: str = ""
    note: bool = False


@dataclass(frozen=True)
class Observation:
    """The values of one component, or of one destination of it; units are in their names."""

    component: str
    destination: str = ""
    values: Mapping[str, Value] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def merged(observations: Iterable[Observation]) -> list[Observation]:
    """One observation per component and destination, in the order of their first."""
    found: dict[tuple[str, str], Observation] = {}
    for item in observations:
        key = (item.component, item.destination)
        before = found.get(key, Observation(*key))
        values = {**before.values, **item.values}
        found[key] = Observation(*key, values, (*before.problems, *item.problems))
    return list(found.values())


def to_json(observations: Iterable[Observation]) -> str:
    """Observations as one line."""
    return json.dumps([asdict(item) for item in observations])


def from_json(text: str) -> list[Observation]:
    """What to_json made. Raises ValueError for anything else."""
    try:
        return [
            Observation(
                item["component"],
                item["destination"],
                item["values"],
                tuple(Problem(**problem) for problem in item["problems"]),
            )
            for item in json.loads(text)
        ]
    except (KeyError, TypeError) as error:
        raise ValueError(f"expected observations, got {text[:200]!r}: {error}") from None
