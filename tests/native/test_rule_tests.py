"""`logstack alerts test`, and that a wrong expectation fails."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace

import pytest

from stack import artifacts, settings
from stack.alerting.cases import load_cases
from stack.alerting.rule_tests import run_with_victorialogs
from stack.settings import ROOT
from tests.support.native_stack import logstack_argv

pytestmark = pytest.mark.native


def test_every_case_passes(binaries: None) -> None:
    """With VictoriaLogs, and with Loki where it is on PATH."""
    result = subprocess.run(
        logstack_argv("alerts", "test", "--json"),
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 0, f"{result.stdout}{result.stderr}"
    found = json.loads(result.stdout)
    assert found["missing"] == {}
    engines = {case["engine"] for case in found["cases"]}
    there = artifacts.is_available("loki", settings.load({}))
    assert engines == {"victorialogs", *(["loki"] if there else [])}
    assert len(found["cases"]) == len(load_cases()) * len(engines)


def test_a_wrong_expectation_fails(binaries: None) -> None:
    """An alert that does not come, and one that nobody expects."""
    cases = [
        case
        for case in load_cases()
        if case.rule == "ErrorRatioHigh" and case.text.kind in ("firing", "boundary")
    ]
    turned = [
        replace(
            case,
            text=case.text.model_copy(
                update={"kind": "firing", "alerts": ({"service_name": "billing"},)}
            ),
        )
        for case in cases
    ]
    outcomes = run_with_victorialogs(settings.load({}), turned)
    problems = {item.case.text.about: item.problem for item in outcomes}
    assert (
        "expected service_name=billing, got service_name=erp-backend-api"
        in (problems["10 of 100 records are errors, and only of one service"])
    )
    assert (
        "expected service_name=billing, got no alert"
        in (problems["exactly 5 of 100 records are errors"])
    )


def test_an_unknown_rule_is_named() -> None:
    """With those that there are."""
    result = subprocess.run(
        logstack_argv("alerts", "test", "--rule", "Nothing"),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert result.returncode == 1
    assert result.stderr.startswith("rule: expected one of ArchiveFailed, ")
