"""Facts that the agent on a host reports. `program` is its path there; see run.py."""

from __future__ import annotations

import json
from typing import Any

from pyinfra.api.facts import FactBase

Json = dict[str, Any]


class _AgentFact(FactBase[Json]):
    """One action of the agent; its request is on standard input."""

    abstract = True
    action: str

    def command(self, program: str) -> str:
        return f"python3 -I {program} {self.action}"

    def process(self, output: list[str]) -> Json:
        answer: Json = json.loads(output[-1])
        return answer


class HostState(_AgentFact):
    """Files, links, folders, users and services, as changes.py compares them with a plan."""

    action = "inspect"


class HostFacts(_AgentFact):
    """The system, its resources and listeners, as preflight checks them."""

    action = "facts"


class FileTexts(_AgentFact):
    """The texts of files, for `--diff`."""

    action = "texts"


class LastRun(_AgentFact):
    """The components and files that the last run changed, for a rollback."""

    action = "last_run"
