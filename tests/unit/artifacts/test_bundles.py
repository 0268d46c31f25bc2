"""What hosts get as one file: complete, and the same each time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from stack.artifacts import bundles, host_programs
from stack.artifacts.lockfile import locked_packages
from stack.common import exclusive_lock
from tests.support.example import settings_with

IMPORTED = """
import json, sys
for optional in ("OpenSSL", "bcrypt"):  # others of our packages have them; hosts do not
    sys.modules[optional] = None
from importlib.metadata import packages_distributions
before = set(sys.modules)
from stack.archive import on_host
assert on_host.__file__.startswith(sys.argv[1]), on_host.__file__
names = {name.partition(".")[0] for name in set(sys.modules) - before}
known = packages_distributions()
print(json.dumps(sorted({d for name in names for d in known.get(name, ())})))
"""


def test_the_archiver_imports_nothing_that_its_bundle_lacks(tmp_path: Path) -> None:
    """It runs from the bundle's own files; a module, file or package left out fails here too."""
    bundles.copy_sources(tmp_path)
    argv = [sys.executable, "-P", "-c", IMPORTED, str(tmp_path)]
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    result = subprocess.run(
        argv, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    found = {name.lower().replace("_", "-") for name in json.loads(result.stdout)}
    assert found - {"logstack"} <= set(bundles.PACKAGES)
    assert {"boto3", "pydantic", "zstandard"} <= found


def test_the_monitor_runs_from_its_bundle_with_the_standard_library_alone(tmp_path: Path) -> None:
    """Isolated, as on a host: nothing of this checkout, no package."""
    bundle = tmp_path / "monitor.tar.gz"
    bundles.make_monitor(bundle, lambda name, text: None)
    with tarfile.open(bundle) as tar:
        tar.extractall(tmp_path, filter="data")
    python = Path(sys.executable).resolve()  # that of the system, without this environment
    argv = [str(python), "-I", "-S", str(tmp_path / "lib"), "look", str(tmp_path)]
    result = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert "cannot watch the stack: [Errno 2]" in result.stderr


def test_every_package_is_pinned_with_hashes() -> None:
    """Nothing else than what requirements.lock says gets to a host."""
    entries = locked_packages(bundles.PACKAGES)
    assert {entry.partition("==")[0] for entry in entries} == set(bundles.PACKAGES)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_same_files_give_the_same_bundle(tmp_path: Path) -> None:
    """Whenever and by whom they were written: a second deploy changes nothing."""
    folder = tmp_path / "lib"
    files = {
        "stack/a.py": "a = 1\n",
        "bin/grafana": "#!/bin/sh\n",
        "botocore/data/s3/service.json": "{}",
        "botocore/data/ec2/service.json": "{}",
        "stack/__pycache__/a.pyc": "",
        "zstandard/tests/test_a.py": "",
    }
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    (folder / "bin" / "grafana").chmod(0o750)
    bundles.pack(folder, tmp_path / "one.tar.gz")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    bundles.pack(folder, tmp_path / "two.tar.gz")
    assert (tmp_path / "one.tar.gz").read_bytes() == (tmp_path / "two.tar.gz").read_bytes()
    with tarfile.open(tmp_path / "one.tar.gz") as tar:
        modes = {entry.name: entry.mode for entry in tar.getmembers()}
    assert modes == {
        "lib/bin/grafana": 0o755,
        "lib/botocore/data/s3/service.json": 0o644,
        "lib/stack/a.py": 0o644,
    }


def test_a_bundle_that_is_there_waits_for_nobody_who_packs_another(tmp_path: Path) -> None:
    """Another checkout may pack its version for minutes."""
    values = settings_with(paths={"cache": str(tmp_path)})
    first = host_programs.ensure(values, ["monitor"], lambda name, text: None)
    lock = first["monitor"].parent / ".lock"
    with ThreadPoolExecutor(1) as pool, exclusive_lock(lock):
        waiting = pool.submit(host_programs.ensure, values, ["monitor"], lambda name, text: None)
        assert waiting.result(timeout=30) == first
