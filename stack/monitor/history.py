"""Samples of the last minutes, so that differences over time can be told; kept in a file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stack.monitor.metrics import Samples

KEPT_S = 600.0
FILE = "state.json"


@dataclass
class History:
    """Looks, the newest last: each the time and the samples of every program that answered.

    `notes` are what probes remember: positions in files, alerts, since when a queue is not empty.
    """

    looks: list[tuple[float, dict[str, Samples]]] = field(default_factory=list)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, now: float, samples: Mapping[str, Samples]) -> None:
        """Add a look and forget those older than KEPT_S; of these the newest stays, to compare."""
        self.looks.append((now, dict(samples)))
        while len(self.looks) > 2 and self.looks[1][0] <= now - KEPT_S:
            del self.looks[0]

    def series(self, program: str, field: str, label: str = "") -> Iterator[tuple[float, float]]:
        """The times and values of one series, the oldest first."""
        for moment, samples in self.looks:
            if program in samples and label in samples[program].get(field, {}):
                yield moment, samples[program][field][label]

    def increase(self, program: str, field: str, label: str = "") -> float:
        """By how much a counter has grown within KEPT_S, also when the program restarted.

        A series that appears while its program is watched has begun with 0.
        """
        values = [
            samples[program].get(field, {}).get(label, 0.0)
            for _, samples in self.looks
            if program in samples
        ]
        return sum(
            now - before if now >= before else now  # it restarted
            for before, now in zip(values, values[1:])
        )

    def save(self, folder: Path) -> None:
        """Write the state, readable for its owner alone, in one step. Raises OSError."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        scratch = folder / f"{FILE}.new"
        descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump({"looks": self.looks, "notes": self.notes}, file)
        scratch.replace(folder / FILE)


def load(folder: Path) -> History:
    """The saved state; an empty one where there is none that can be read."""
    try:
        values = json.loads((folder / FILE).read_text(encoding="utf-8"))
        looks = [(float(moment), samples) for moment, samples in values["looks"]]
        return History(looks, dict(values["notes"]))
    except (OSError, ValueError, KeyError, TypeError):
        return History()
