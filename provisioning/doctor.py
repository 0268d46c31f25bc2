"""Diagnose the hosts of an environment: `logstack doctor --env`."""

from __future__ import annotations

import time
from collections.abc import Iterator

from provisioning import DeployError, changes, refuse_as_deploy, verify
from provisioning.deploy import Deployment, facts_of
from provisioning.deploys import preflight
from provisioning.fleet import Fleet, Remote
from provisioning.verify import HostFinding

refuse_as_deploy(__name__)

JOURNAL_LINES = 5


def examine(deployment: Deployment) -> list[HostFinding]:
    """Run every check on every host. Records are checked last, and only if all else passed."""
    environment = deployment.settings.stack.environment
    with Fleet(deployment.settings) as fleet:
        findings = [
            HostFinding(
                name, False,
                f"cannot connect by SSH: {reason}. Check hosts.{name} in the settings, "
                "then try ssh",
            )
            for name, reason in fleet.unreachable.items()
        ]  # fmt: skip
        examined = fleet.on_each(
            list(fleet.remotes), lambda n: list(_examine_host(deployment, fleet.remotes[n]))
        )
        for name, found in examined.items():
            if isinstance(found, DeployError):
                findings.append(HostFinding(name, False, str(found)))
            else:
                findings += found
        if all(finding.ok for finding in findings):
            findings += verify.checks(deployment, fleet)
        else:
            text = f"fix the failed checks first. Run: make verify ENV={environment}"
            findings.append(HostFinding("records", False, f"skipped: {text}"))
    return findings


def _examine_host(deployment: Deployment, remote: Remote) -> Iterator[HostFinding]:
    began = time.monotonic()
    plan = deployment.plans[remote.name]

    def finding(ok: bool, text: str) -> HostFinding:
        return HostFinding(remote.name, ok, text, time.monotonic() - began)

    failed = preflight.failed_checks(remote.ask("facts"), plan, deployment.settings, time.time())
    for text in failed:
        yield finding(False, text)
    if not failed:
        yield finding(True, "preflight checks passed")
    facts = facts_of(deployment, remote)
    for component in plan.components:
        service = facts["services"][component.name]
        if component.name not in facts["installed"]:
            yield finding(False, f"{component.name} is not deployed. {_deploy(deployment)}")
        elif not service["active"]:
            lines = remote.ask("journal", name=component.name, lines=JOURNAL_LINES)["text"]
            text = "\n".join(f"    {line}" for line in lines.splitlines())
            yield finding(
                False, f"{component.name} is {service['state']}. {_deploy(deployment)}\n{text}"
            )
        else:
            answer = remote.ask("probe", name=component.name, url=component.health, timeout=2)
            text = "is healthy" if answer["ok"] else f"is running but not healthy: {answer['text']}"
            yield finding(answer["ok"], f"{component.name} {text}")
    differing = changes.changes(plan, deployment.binaries[remote.name], facts)
    if differing:
        first = ", ".join(str(change) for change in differing[:3])
        yield finding(
            False, f"{len(differing)} differences from its plan ({first}, …). {_deploy(deployment)}"
        )
    else:
        yield finding(True, "no drift from the plan")


def _deploy(deployment: Deployment) -> str:
    return f"Run: make deploy ENV={deployment.settings.stack.environment}"
