"""What is wrong on the hosts of an environment and how to mend it: `logstack doctor --env`."""

from __future__ import annotations

import time
from collections.abc import Iterator

from provisioning import DeployError, changes, refuse_as_deploy, verify
from provisioning.deploy import Work, facts_of
from provisioning.deploys import preflight
from provisioning.fleet import Fleet, Remote
from provisioning.verify import Finding

refuse_as_deploy(__name__)

JOURNAL_LINES = 5


def examine(work: Work) -> list[Finding]:
    """Every check of every host; those of records last, and only where the services run."""
    environment = work.settings.stack.environment
    with Fleet(work.settings) as fleet:
        findings = [
            Finding(
                name, False,
                f"wanted an answer by SSH, found: {reason}. Look at hosts.{name} in the settings "
                "and try: ssh", 0.0,
            )
            for name, reason in fleet.silent.items()
        ]  # fmt: skip
        examined = fleet.on_each(list(fleet.remotes), lambda n: list(_host(work, fleet.remotes[n])))
        for name, found in examined.items():
            if isinstance(found, DeployError):
                findings.append(Finding(name, False, str(found), 0.0))
            else:
                findings += found
        if all(finding.ok for finding in findings):
            findings += verify.checks(work, fleet)
        else:
            text = f"mend the above first, then: make verify ENV={environment}"
            findings.append(Finding("records", False, f"not tried: {text}", 0.0))
    return findings


def _host(work: Work, remote: Remote) -> Iterator[Finding]:
    began = time.monotonic()
    plan = work.plans[remote.name]

    def finding(ok: bool, text: str) -> Finding:
        return Finding(remote.name, ok, text, time.monotonic() - began)

    problems = preflight.problems(remote.ask("facts"), plan, work.settings, time.time())
    for problem in problems:
        yield finding(False, problem)
    if not problems:
        yield finding(True, "the machine has what it needs")
    facts = facts_of(work, remote)
    for component in plan.components:
        service = facts["services"][component.name]
        if component.name not in facts["installed"]:
            yield finding(False, f"{component.name} is not deployed. {_deploy(work)}")
        elif not service["active"]:
            lines = remote.ask("journal", name=component.name, lines=JOURNAL_LINES)["text"]
            text = "\n".join(f"    {line}" for line in lines.splitlines())
            yield finding(False, f"{component.name} is {service['state']}. {_deploy(work)}\n{text}")
        else:
            answer = remote.ask("probe", name=component.name, url=component.health, timeout=2)
            text = "is healthy" if answer["ok"] else f"runs and is not healthy: {answer['text']}"
            yield finding(answer["ok"], f"{component.name} {text}")
    differing = changes.changes(plan, work.binaries[remote.name], facts)
    if differing:
        first = ", ".join(str(change) for change in differing[:3])
        yield finding(
            False, f"{len(differing)} differences to its plan ({first}, …). {_deploy(work)}"
        )
    else:
        yield finding(True, "it is as its plan says")


def _deploy(work: Work) -> str:
    return f"Type: make deploy ENV={work.settings.stack.environment}"
