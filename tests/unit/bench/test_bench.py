"""Every measurement can be started by its name: `make bench BENCH=name`."""

from __future__ import annotations

import pytest

from bench import library, library_peers
from bench.__main__ import ALL, main


@pytest.mark.parametrize("name", ALL)
def test_a_measurement_is_started_by_its_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its exit status is that of the whole."""
    monkeypatch.setattr(f"bench.{name}.main", lambda: 1)
    assert main([name]) == 1


def test_the_measurement_of_the_library_leaves_the_command_line_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It has options of its own, and fails when a promised ratio was missed."""
    monkeypatch.setattr("sys.argv", ["bench", "library"])
    monkeypatch.setattr(library, "run", lambda repeats: {"repeats": repeats})
    monkeypatch.setattr(library, "verdicts", lambda results: [("a ratio", 2.0, 1.0)])
    monkeypatch.setattr(library_peers, "middleware_costs", lambda *_: ([], {}))
    monkeypatch.setattr(library, "report", lambda *_: "")
    assert main(["library"]) == 1


def test_an_unknown_measurement_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With the names of those that exist."""
    assert main(["speed"]) == 2
    assert "got speed" in capsys.readouterr().err
