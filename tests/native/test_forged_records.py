"""An application host writes what only the stack may: rules believe it about itself alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from stack.alerting.rules import Rule, load_rules
from stack.hosts import secrets
from stack.hosts.plan import plan_for
from stack.queries.evaluate import VictoriaLogsEvaluator
from stack.records.contract import OWN_SERVICES
from stack.settings import Settings
from tests.native.test_gateway import BATCH, WRITE
from tests.support.forged import forged, write_containers
from tests.support.host_processes import (
    HostUnderTest,
    binaries_of,
    fleet_settings,
    made_secrets,
    running_host,
)
from tests.support.native_stack import marker, poll
from tests.support.otlp import otlp_batch

pytestmark = pytest.mark.native
# They report what is missing, and a record more can only hide it.
OF_SILENCE = {"ArchiveBehind", "ArchiveNeverRan", "HostSilent"}
TIMES = 60  # above every threshold


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A log server to which app-1, whose service the gateway does not know, sent forged records."""
    folder = tmp_path_factory.mktemp("log-server")
    values = fleet_settings(app_hosts={"journal": True})
    known = made_secrets(folder, values)
    with running_host(folder, values, known, "logs-1", "victorialogs", "gateway"):
        authority = folder / "ca.pem"
        authority.write_text(known[secrets.CA_CERTIFICATE], encoding="utf-8")
        records = forged()
        for fields in records:
            resource = [("service_name", fields["service_name"]), ("host", "logs-1")]
            resource += [("environment", values.stack.environment)]
            batch = otlp_batch(resource, "forged", *[[*fields.items(), ("host", "logs-1")]] * TIMES)
            answer = requests.post(
                f"https://127.0.0.1:{values.ports.gateway}{WRITE}",
                data=batch,
                headers=BATCH,
                auth=("app-1", known[secrets.writer_secret("app-1")]),
                verify=str(authority),
                timeout=10,
            )
            assert answer.status_code == 200, answer.text
        poll(lambda: _count(values, "forged") == len(records) * TIMES, "the records")
        yield values


def _count(values: Settings, message: str) -> int:
    url = f"http://127.0.0.1:{values.ports.victorialogs}/select/logsql/stats_query"
    answer = requests.get(url, {"query": f"{message} | stats count() as value"}, timeout=10)
    return int(answer.json()["data"]["result"][0]["value"][1])


def _about(rule: Rule, values: Settings) -> set[str]:
    """The hosts that the rule fires about; of a rule without hosts `fires`."""
    evaluator = VictoriaLogsEvaluator(f"http://127.0.0.1:{values.ports.victorialogs}")
    samples = evaluator.instant(rule.query(values.stack.environment), datetime.now(UTC))
    found = [sample for sample in samples if sample.value > rule.threshold]
    return {sample.labels.get("host", "fires") for sample in found}


OF_THE_STACK = [
    rule.name for rule in load_rules(fleet_settings()) if rule.text.service or rule.text.log_servers
]


@pytest.mark.parametrize("name", OF_THE_STACK)
def test_no_rule_believes_an_application_host_about_another(written: Settings, name: str) -> None:
    """The same records of a log server would fire."""
    rule = next(rule for rule in load_rules(written) if rule.name == name)
    if rule.text.log_servers:
        assert _about(rule, written) == set()
        if name not in OF_SILENCE:
            assert _about(replace(rule, hosts=("app-1",)), written) in ({"app-1"}, {"fires"})
    else:
        assert _about(rule, written) == (set() if name in OF_SILENCE else {"app-1"})


def test_no_other_rule_fires(written: Settings) -> None:
    """Those that do not ask who wrote read no event of the stack."""
    others = [rule for rule in load_rules(written) if rule.name not in OF_THE_STACK]
    firing = [rule.name for rule in others if _about(rule, written)]
    assert firing == ["Watchdog"]


def test_a_container_of_a_host_does_not_write_as_one_of_the_stack(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither by its label nor in its lines: on a host no program of the stack is a container."""
    mark = marker()
    folder = tmp_path / "containers"
    monkeypatch.setattr("stack.components.log_sources.CONTAINER_LOGS", str(folder))
    count = write_containers(folder, mark)
    values = fleet_settings(app_hosts={"docker_logs": True})
    known = made_secrets(tmp_path, values)
    with running_host(tmp_path / "server", values, known, "logs-1", "victorialogs", "gateway"):
        agent = HostUnderTest(tmp_path / "app", values, plan_for(values, known, "app-1"))
        with agent.run("otelcol", binaries_of(values, "otelcol")["otelcol"]) as process:
            poll(
                lambda: _count(values, mark) >= count,
                lambda: f"{count} records\n{process.log.read_text()}",
            )
        assert _count(values, f"{mark} service_name:*") == count
        assert _count(values, f'{mark} service_name:"{OWN_SERVICES}"*') == 0
        assert _count(values, f"{mark} service_name:=web") == 1
