"""What `--diff` prints of a file."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from provisioning.operations import diff
from stack.hosts.files import HostFile


@pytest.mark.parametrize(
    ("secret", "expected"),
    [
        (
            False,
            ["app: /a: mode 0777 -> 0644", "--- app:/a", "+++ plan", "@@ -1 +1 @@", "-b", "+c"],
        ),
        (True, ["app: /a: mode 0777 -> 0644", "app: /a: secret, not shown"]),
    ],
)
def test_a_mode_is_a_difference_like_a_line(
    monkeypatch: pytest.MonkeyPatch, secret: bool, expected: list[str]
) -> None:
    monkeypatch.setattr(diff, "host", SimpleNamespace(name="app"))
    file = HostFile("/a", "c\n", "0644", "root", secret)
    assert list(diff._lines(file, {"mode": "0777", "owner": "root"}, "b\n")) == expected
    assert "mode" not in "".join(diff._lines(file, {}, ""))
