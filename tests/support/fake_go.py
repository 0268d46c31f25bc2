"""A stand-in for the go command: a shell script that makes scripts instead of programs.

It notes each call in a file and is told by variables how to behave:
FAKE_GO_VERSION, FAKE_GO_BREAKS (a package whose build fails, printing FAKE_GO_SAYS),
FAKE_GO_HANGS (a package whose build writes half a binary and does not end),
FAKE_GO_WAITS (a package whose build waits until `go_on` is called) and FAKE_GO_BINARY (the text
of the programs made).
"""

from __future__ import annotations

from pathlib import Path

from stack.components import alertmanager, host_names, otelcol, victorialogs_patches
from stack.settings import load

SCRIPT = """#!/bin/sh
calls=$(dirname "$0")/calls
case "$1" in
env)
    echo "${FAKE_GO_VERSION:-go99.0.0}"
    exit ;;
mod)
    echo "{\\"Dir\\": \\"$(dirname "$0")/module\\"}"
    exit ;;
list)
    echo v1.2.3
    exit ;;
install)
    for last; do :; done
    package=${last%@*}
    binary=$GOBIN/${package##*/} ;;
run)
    package=${2%@*}
    mkdir "$GOBIN/source"
    binary=$GOBIN/source/otelcol-logstack ;;
esac
echo "$1 ${package##*/} $$" >> "$calls"
echo "compiling ${package##*/}"
case "$package" in
*"${FAKE_GO_HANGS:-nothing}")
    printf '#!/bin' > "$binary"
    chmod 755 "$binary"
    echo "$$" > "$calls.hangs"
    exec sleep 60 ;;
*"${FAKE_GO_WAITS:-nothing}")
    while [ ! -e "$calls.go-on" ]; do sleep 0.05; done ;;
*"${FAKE_GO_BREAKS-nothing}")
    printf '#!/bin' > "$binary"
    echo "${FAKE_GO_SAYS:-undefined: x}"
    exit 3 ;;
esac
printf '%s\\n' "${FAKE_GO_BINARY:-#!/bin/true}" > "$binary"
chmod 755 "$binary"
"""


class FakeGo:
    """The script in a folder, and what it was called for."""

    def __init__(self, folder: Path):
        self.program = folder / "go"
        write_program(self.program, SCRIPT)
        self.module = folder / "module"  # those that are patched, in Go's cache
        of_engine = (*victorialogs_patches.PATCHES, host_names.VICTORIA_METRICS)
        for patch in (*otelcol.PATCHES, *of_engine, alertmanager.REFUSES_NAMES):
            patched = self.module / patch.file
            patched.parent.mkdir(parents=True, exist_ok=True)
            with patched.open("a", encoding="utf-8") as file:
                file.write(patch.before)
        for added in alertmanager.program(load({})).added:
            if added.of:
                complete = self.module / added.file
                complete.parent.mkdir(parents=True, exist_ok=True)
                complete.touch()
        self._calls = folder / "calls"
        self._go_on = folder / "calls.go-on"
        self.hangs = folder / "calls.hangs"

    def calls(self) -> list[str]:
        """What was built, sorted: `install vmalert`, `run builder`."""
        if not self._calls.exists():
            return []
        lines = self._calls.read_text(encoding="utf-8").splitlines()
        return sorted(line.rpartition(" ")[0] for line in lines)

    def go_on(self) -> None:
        """Let a build that waits go on."""
        self._go_on.touch()


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
