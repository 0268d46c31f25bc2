"""What a rollback asks of a host."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from provisioning.operations import commands, roll_back
from provisioning.operations.commands import AgentCommand


def test_services_that_the_settings_no_longer_have_are_rolled_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By their state alone; one that the deploy removed is named."""
    last = {"run": "1", "components": ["loki", "gone"], "removed": ["vmalert"], "files": []}
    notes: list[str] = []
    run: Any = SimpleNamespace(
        id="2",
        state=SimpleNamespace(is_executing=True),
        deployment=SimpleNamespace(timeout=9.0),
        report=SimpleNamespace(entered=set(), note=lambda _, text: notes.append(text)),
        proceed=lambda: None,
        last_runs=lambda: {"logs": last},
        plan=lambda _: SimpleNamespace(
            components=[SimpleNamespace(name="loki", health="http://h")]
        ),
    )
    monkeypatch.setattr(commands, "current_run", lambda: run)
    monkeypatch.setattr(roll_back, "host", SimpleNamespace(name="logs"))
    asked = list(roll_back.roll_back._inner())
    assert [item.values["url"] for item in asked if isinstance(item, AgentCommand)] == [
        "http://h",
        "",
    ]
    assert notes == ["vmalert was removed by the last deploy and is not restored"]
