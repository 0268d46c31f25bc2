"""Loki's configuration for hosts, judged by Loki where it is on PATH."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from stack.hosts import secrets
from stack.hosts.plan import plan_for
from tests.support.host_checks import check
from tests.support.host_processes import fleet_settings, made_secrets

pytestmark = [pytest.mark.native, pytest.mark.own_stack]

CLUSTER = {
    f"logs-{n}": {"address": f"127.0.0.{n}", "roles": ["log_server", "alerting"]} for n in (1, 2, 3)
}
SINGLE = {"logs-1": {"address": "127.0.0.1", "roles": ["log_server"]}}
BUCKET = {"bucket": "shelf", "endpoint": "http://127.0.0.1:1"}


@pytest.mark.parametrize(
    ("hosts", "storage"), [(SINGLE, {}), (SINGLE, BUCKET), (CLUSTER, BUCKET)],
    ids=["alone", "alone with a bucket", "three"],
)  # fmt: skip
def test_loki_takes_its_configuration(
    tmp_path: Path, hosts: dict[str, dict[str, object]], storage: dict[str, str]
) -> None:
    """Every key is known and fits the others; one that is not is refused."""
    values = fleet_settings(stack={"engine": "loki"}, hosts=hosts, loki_storage=storage)
    known = {**made_secrets(tmp_path, values), secrets.LOKI_STORAGE: "key-1:secret-1"}
    component = plan_for(values, known, "logs-1").components[0]
    assert component.name == "loki"
    result = check(component, values, tmp_path / "staged")
    assert result.returncode == 0, result.stdout + result.stderr
    files = tuple(replace(file, text=f"{file.text}\nunknown: 1\n") for file in component.files)
    refused = check(replace(component, files=files), values, tmp_path / "broken")
    assert refused.returncode != 0
