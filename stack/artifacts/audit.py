"""Asks for known vulnerabilities in what is pinned: `make audit`.

pip-audit reads requirements.lock, govulncheck the programs that are built. Both need their data
from the network; where they cannot reach it, that is printed and the exit status is 2.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from stack import artifacts
from stack.artifacts.go import GoError, go_environment
from stack.artifacts.outdated import all_programs
from stack.common import last_lines
from stack.settings import ROOT, Settings, load

GOVULNCHECK = "golang.org/x/vuln/cmd/govulncheck@v1.9.0"
CLEAN, FOUND, NOT_CHECKED = 0, 1, 2
GO_FOUND = 3  # govulncheck's exit status
SECONDS = 900


@dataclass(frozen=True)
class Audited:
    """What one check said; `status` is CLEAN, FOUND or NOT_CHECKED."""

    what: str
    status: int
    text: str


def check_packages() -> Audited:
    """The Python packages of requirements.lock."""
    argv = [sys.executable, "-m", "pip_audit", "--disable-pip", "--progress-spinner", "off"]
    lock = ROOT / "requirements.lock"
    done = _run([*argv, "--format", "json", "--require-hashes", "-r", str(lock)])
    return judge_packages(lock.name, done.stdout, done.stderr)


def judge_packages(what: str, printed: str, errors: str) -> Audited:
    """What pip-audit's JSON says. It calls a package clean that it could not ask about."""
    try:
        packages = json.loads(printed)["dependencies"]
    except (ValueError, KeyError):
        return Audited(what, NOT_CHECKED, last_lines(errors, 2))
    known = [
        f"    {package['name']} {package['version']}: {item['id']}, fixed in "
        f"{', '.join(item['fix_versions']) or 'no version'}"
        for package in packages
        for item in package.get("vulns", [])
    ]
    skipped = [package for package in packages if "skip_reason" in package]
    if known:
        return Audited(what, FOUND, "\n".join(known))
    if skipped:
        text = f"    {len(skipped)} of {len(packages)} packages: {skipped[0]['skip_reason']}"
        return Audited(what, NOT_CHECKED, text)
    return Audited(what, CLEAN, "")


def check_programs(settings: Settings) -> list[Audited]:
    """The programs in the cache that are built here."""
    cache = artifacts.cache_dir(settings)
    try:
        environment = go_environment(settings, cache, lambda text: None)
    except GoError as error:
        return [Audited("programs", NOT_CHECKED, str(error))]
    found = []
    for artifact in all_programs(settings):
        folder = artifacts.find(artifact, cache) if artifact.go else None
        for binary in artifact.binaries if folder else ():
            argv = [environment.go, "run", GOVULNCHECK, "-mode=binary", str(folder) + "/" + binary]
            done = _run(argv, environment.variables)
            statuses = {0: CLEAN, GO_FOUND: FOUND}
            status = statuses.get(done.returncode, NOT_CHECKED)
            text = done.stdout if status == FOUND else last_lines(done.stderr or done.stdout, 2)
            found.append(Audited(f"{binary} {artifact.version}", status, text))
    return found


def _run(
    argv: list[str], variables: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env=variables or {**os.environ},
        cwd="/",
    )


def main() -> None:
    """Print what is known; exits with 1 for a vulnerability, 2 where something is not checked."""
    words = {CLEAN: "none known", FOUND: "VULNERABLE", NOT_CHECKED: "not checked"}
    results = [check_packages(), *check_programs(load())]
    for item in results:
        sys.stdout.write(f"{item.what}: {words[item.status]}\n")
        if item.status != CLEAN:
            sys.stdout.write(f"{item.text.rstrip()}\n")
    found = {item.status for item in results}
    sys.exit(FOUND if FOUND in found else max(found))


if __name__ == "__main__":
    main()
