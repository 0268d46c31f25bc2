"""A value stands in one place: stack/settings.toml."""

from __future__ import annotations

import re
import subprocess
import tomllib
from collections.abc import Iterator

from stack.settings import ROOT

SOURCE = "stack/settings.toml"
# Resolved versions of Python packages; what happened when; the version of the library itself.
EXCEPTIONS = {SOURCE, "requirements.lock", "CHANGELOG.md", "logstack_django/pyproject.toml"}


def values() -> dict[str, str]:
    """Every port and version as text, with the key that it belongs to."""
    document = tomllib.loads((ROOT / SOURCE).read_text(encoding="utf-8"))
    ports = {str(port): f"ports.{key}" for key, port in document["ports"].items() if port >= 1000}
    return ports | {text: f"versions.{key}" for key, text in document["versions"].items()}


def pattern(texts: list[str]) -> re.Pattern[str]:
    """Matches the texts as whole numbers: neither in 18000 nor in 1.2.8000."""
    # A round number is a port only behind a colon: others are limits and sizes.
    alternatives = "|".join(
        f"(?<=:){text}" if re.fullmatch(r"\d000", text) else re.escape(text) for text in texts
    )
    return re.compile(rf"(?<![\w.])v?({alternatives})(?!\w|\.\d)")


def tracked_files() -> Iterator[str]:
    names = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return (name for name in names.stdout.split("\0") if name and name not in EXCEPTIONS)


def test_no_tracked_file_repeats_a_port_or_a_version() -> None:
    """A value changed in settings.toml is changed everywhere."""
    keys = values()
    repeated = pattern(list(keys))
    found = []
    looked_at = 0
    for name in tracked_files():
        path = ROOT / name
        if not path.is_file() or b"\0" in path.read_bytes():
            continue
        looked_at += 1
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in repeated.finditer(line):
                found.append(f"{name}:{number}: repeats {keys[match[1]]}: {line.strip()[:100]}")
    assert looked_at > 50
    assert not found, "\n" + "\n".join(found)


def test_a_repeated_value_would_be_found() -> None:
    """In an address, behind a `v` and at the end of a sentence, but not inside another number."""
    repeated = pattern(["4711", "1.2.3", "7000"])
    lines = [
        "localhost:4711/",
        "localhost:7000",
        "x@v1.2.3",
        "Use 1.2.3.",
        "[-7000:]",
        "14711",
        "47110",
        "1.2.3.4",
        "0.1.2.3",
    ]
    assert [line for line in lines if repeated.search(line)] == lines[:4]
