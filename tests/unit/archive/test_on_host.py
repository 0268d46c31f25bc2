"""The archiver's own command line on a host."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.archive import on_host


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify", "--depp"], "unrecognized arguments: --depp"),
        (["verify", "--dee"], "unrecognized arguments: --dee"),
        (["check"], "the following arguments are required: folder"),
        (["once", "now"], "unrecognized arguments: now"),
        (["nosuch"], "invalid choice: 'nosuch'"),
        ([], "the following arguments are required: COMMAND"),
    ],
)
def test_a_wrong_argument_is_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A word that is not known would otherwise choose the shallow check in silence."""
    with pytest.raises(SystemExit) as exit_:
        on_host.main(arguments)
    assert exit_.value.code == 2
    assert message in capsys.readouterr().err


def test_a_folder_without_settings_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert on_host.main(["check", str(tmp_path)]) == 1
    assert "settings.json" in capsys.readouterr().out
