"""The very first start: a fresh clone, an empty home and empty caches.

`python -m bench cold` downloads everything again and takes minutes.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path

from bench.table import Row, print_table
from stack.settings import ROOT, variable_name
from stack.settings.tables import Ports
from tests.support.ports import free_ports


def main() -> None:
    """Clone HEAD, run `make up` with nothing cached, and print how long it took."""
    with tempfile.TemporaryDirectory(prefix="cold ") as folder:
        clone, home = Path(folder) / "clone", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        names = Ports.names()
        ports = dict(zip(names, free_ports(len(names)), strict=True))
        environ = {
            **{name: value for name, value in os.environ.items() if name not in ("GOFLAGS",)},
            **{variable_name("ports", name): str(port) for name, port in ports.items()},
            variable_name("stack", "runtime"): "native",
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "GOFLAGS": "-modcacherw",  # or the folder could not be removed afterwards
        }
        began = time.monotonic()
        try:
            subprocess.run(["make", "up"], cwd=clone, env=environ, check=True)
            seconds = time.monotonic() - began
        finally:
            subprocess.run(["make", "down"], cwd=clone, env=environ, check=False)
    print_table("Cold start", [Row("first start, empty caches", f"{seconds:.0f} s", "<= 360 s")])


if __name__ == "__main__":
    main()
