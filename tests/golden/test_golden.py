"""Nothing that the stack renders changes unseen."""

from __future__ import annotations

from tests.golden.texts import SUMS, sums


def test_every_rendered_text_is_the_accepted_one() -> None:
    accepted = set(SUMS.read_text(encoding="utf-8").splitlines())
    rendered = set(sums().splitlines())
    changed = sorted({line.split("  ", 1)[1] for line in accepted ^ rendered})
    assert not changed, (
        f"{len(changed)} rendered texts differ from the accepted ones: {', '.join(changed[:10])}. "
        "Run: make golden (shows the lines), then make golden ACCEPT=1"
    )
