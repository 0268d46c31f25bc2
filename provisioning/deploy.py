"""The steps of a run, in order; each step is a module of deploys/.

plan       list the changes of a deploy and the failed preflight checks
deploy     preflight on every host; then log servers one at a time, then all others at once
rollback   undo the changes of the last run
"""

from __future__ import annotations

import getpass
import hashlib
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from provisioning import DeployError, changes, refuse_as_deploy
from provisioning.changes import Binary, Change
from provisioning.deploys import binary, config, files, preflight, service
from provisioning.fleet import Fleet, Remote, errors_of, results_of
from stack.artifacts import OnProgress
from stack.artifacts import host_programs as programs
from stack.hosts.plan import HostComponent, HostPlan, plan_for
from stack.records.timestamps import format_time
from stack.settings import Settings
from stack.settings.units import parse_duration

refuse_as_deploy(__name__)

KEPT_VERSIONS = 3  # of each artifact on a host


@dataclass
class Outcome:
    """The results of a run, by host."""

    changes: dict[str, list[Change]] = field(default_factory=dict)
    failed_checks: dict[str, list[str]] = field(default_factory=dict)  # of preflight
    failures: dict[str, str] = field(default_factory=dict)
    unreachable: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)  # after a failure

    @property
    def ok(self) -> bool:
        return not (self.failed_checks or self.failures or self.unreachable)


@dataclass(frozen=True)
class Deployment:
    """Everything that the hosts need from the control machine, prepared before connecting."""

    settings: Settings
    plans: Mapping[str, HostPlan]
    binaries: Mapping[str, changes.Binaries]  # by host, then by component
    sources: Mapping[str, Path]

    @property
    def timeout(self) -> float:
        return parse_duration(self.settings.timing.start_timeout).total_seconds()

    def order(self) -> tuple[list[str], list[str]]:
        """The hosts that are deployed one at a time, and the others."""
        serial = [name for name, plan in self.plans.items() if is_serial(plan)]
        return serial, [name for name in self.plans if name not in serial]


def is_serial(plan: HostPlan) -> bool:
    return any(component.serial for component in plan.components)


def prepare(settings: Settings, secrets: Mapping[str, str], on_progress: OnProgress) -> Deployment:
    """Render each host's plan and build its binaries. Raises HostsError and ArtifactError."""
    plans = {name: plan_for(settings, secrets, name) for name in settings.hosts}
    known = programs.catalogue(settings)
    needed = {c.artifact for plan in plans.values() for c in plan.components if c.artifact}
    folders = programs.ensure(settings, sorted(needed), on_progress)
    sources, sums = {}, {}
    for name in sorted(needed):
        for program in known[name].binaries:
            path = f"{changes.OPT}/{name}/{known[name].key}/{program}"
            sources[path] = folders[name] / program
            sums[path] = hashlib.sha256((folders[name] / program).read_bytes()).hexdigest()
    binaries = {
        host: {component.name: _binaries_of(component, sums) for component in plan.components}
        for host, plan in plans.items()
    }
    return Deployment(settings, plans, binaries, sources)


def _binaries_of(component: HostComponent, sums: Mapping[str, str]) -> list[Binary]:
    if not component.artifact:
        return []
    start = f"{changes.target_of(component)}/"
    return [Binary(path, digest) for path, digest in sums.items() if path.startswith(start)]


def plan(deployment: Deployment) -> Outcome:
    """Compare every host with its plan; nothing is changed."""
    with Fleet(deployment.settings) as fleet:
        outcome = Outcome(unreachable=dict(fleet.unreachable))
        _preflight(deployment, fleet, outcome)

        def compare(name: str) -> list[Change]:
            facts = facts_of(deployment, fleet.remotes[name])
            return changes.changes(deployment.plans[name], deployment.binaries[name], facts)

        found = fleet.on_each(list(fleet.remotes), compare)
        outcome.failures |= errors_of(found)
        outcome.changes = {
            n: item for n, item in found.items() if not isinstance(item, DeployError)
        }
        return outcome


def deploy(deployment: Deployment, on_progress: OnProgress) -> Outcome:
    """Bring every host to its plan. If a check fails on one host, no host is changed."""
    run = _new_run()
    with Fleet(deployment.settings) as fleet:
        outcome = Outcome(unreachable=dict(fleet.unreachable))
        with exclusive_lock(fleet, run, outcome):
            if not outcome.failures:
                _preflight(deployment, fleet, outcome)
            if not (outcome.failed_checks or outcome.failures):
                _deploy_all(deployment, fleet, run, outcome, on_progress)
        return outcome


def _deploy_all(
    deployment: Deployment, fleet: Fleet, run: str, outcome: Outcome, on_progress: OnProgress
) -> None:
    def deploy_one(name: str) -> list[Change]:
        return _deploy_host(deployment, fleet.remotes[name], run, on_progress)

    def deploy_to(batch: list[str]) -> dict[str, str]:
        found = fleet.on_each([name for name in batch if name in fleet.remotes], deploy_one)
        outcome.changes |= results_of(found)
        return errors_of(found)

    _run_in_order(deployment, outcome, deploy_to)


def _run_in_order(
    deployment: Deployment, outcome: Outcome, do: Callable[[list[str]], Mapping[str, str]]
) -> None:
    """Log servers one at a time, then the others at once; stop at the first failure."""
    serial, others = deployment.order()
    batches = [[name] for name in serial] + [others]
    for number, batch in enumerate(batches):
        outcome.failures |= do(batch)
        if outcome.failures:
            outcome.skipped = [n for rest in batches[number + 1 :] for n in rest]
            return


def _new_run() -> str:
    return format_time(datetime.now(UTC))


def rollback(
    deployment: Deployment, on_progress: OnProgress
) -> tuple[Outcome, dict[str, list[str]]]:
    """Undo the changes of the last run, in a deploy's order. Running it again redoes them."""
    run = _new_run()
    with Fleet(deployment.settings) as fleet:
        outcome = Outcome(unreachable=dict(fleet.unreachable))
        results: dict[str, list[str]] = {}
        with exclusive_lock(fleet, run, outcome):
            if not outcome.failures:
                results = _roll_back_all(deployment, fleet, run, outcome, on_progress)
        return outcome, results


def _roll_back_all(
    deployment: Deployment, fleet: Fleet, run: str, outcome: Outcome, on_progress: OnProgress
) -> dict[str, list[str]]:
    last = fleet.on_each(list(fleet.remotes), lambda name: fleet.remotes[name].ask("last_run"))
    outcome.failures |= errors_of(last)
    if outcome.failures:
        return {}
    runs = results_of(last)
    newest = max((item["run"] for item in runs.values()), default="")
    results: dict[str, list[str]] = {}

    def roll_back_one(name: str) -> list[str]:
        if not newest or runs[name]["run"] != newest:
            return []
        on_progress(name, "rolling back")
        remote = fleet.remotes[name]
        known = {component.name: component for component in deployment.plans[name].components}
        sentences, errors = [], []
        for component in filter(known.get, runs[name]["components"]):
            try:
                sentences.append(
                    service.roll_back(remote, known[component], deployment.timeout, run, keep=True)
                )
            except DeployError as error:
                errors.append(str(error))
        if changed := runs[name]["files"]:
            try:
                sentences.append(files.roll_back(remote, changed, run))
            except DeployError as error:
                errors.append(str(error))
        if errors:
            raise DeployError("\n".join([*errors, *(f"{name}: {text}" for text in sentences)]))
        return sentences

    def roll_back(batch: list[str]) -> dict[str, str]:
        found = fleet.on_each([name for name in batch if name in runs], roll_back_one)
        results.update(results_of(found))
        return errors_of(found)

    _run_in_order(deployment, outcome, roll_back)
    return results


@contextmanager
def exclusive_lock(fleet: Fleet, run: str, outcome: Outcome) -> Iterator[None]:
    """Hold every host's lock. Where another run holds one, the failure names its owner."""
    who = f"{getpass.getuser()}@{socket.gethostname()}"
    environment = fleet.settings.stack.environment

    def take(name: str) -> str:
        answer = fleet.remotes[name].ask("lock", run=run, who=who)
        return f"{answer['who']} ({answer['seconds']:.0f} s ago)" if answer["held"] else ""

    names = list(fleet.remotes)
    try:
        # When two runs start at once, the first host's lock decides, so that one of them continues.
        found = fleet.on_each(names[:1], take)
        if not any(found.values()):
            found |= fleet.on_each(names[1:], take)
        outcome.failures |= errors_of(found)
        outcome.failures |= {
            name: f"cannot deploy: the lock is held by {holder}. Nothing was changed. "
            f"Wait for that run. If it was killed, run: ./logstack hosts unlock {environment}"
            for name, holder in results_of(found).items()
            if holder
        }
        yield
    finally:
        fleet.on_each(list(fleet.remotes), lambda n: fleet.remotes[n].ask("unlock", run=run))


def unlock(deployment: Deployment) -> tuple[Outcome, dict[str, str]]:
    """Release the locks of a killed run; returns their owners, by host."""
    with Fleet(deployment.settings) as fleet:
        found = fleet.on_each(list(fleet.remotes), lambda n: fleet.remotes[n].ask("unlock", run=""))
        holders = {name: str(answer["who"]) for name, answer in results_of(found).items()}
        return Outcome(unreachable=dict(fleet.unreachable), failures=errors_of(found)), holders


def _preflight(deployment: Deployment, fleet: Fleet, outcome: Outcome) -> None:
    def check(name: str) -> list[str]:
        facts = fleet.remotes[name].ask("facts")
        return preflight.failed_checks(
            facts, deployment.plans[name], deployment.settings, time.time()
        )

    found = fleet.on_each(list(fleet.remotes), check)
    outcome.failures |= errors_of(found)
    outcome.failed_checks = {name: item for name, item in results_of(found).items() if item}


def facts_of(deployment: Deployment, remote: Remote) -> changes.Facts:
    """The state of a host, limited to what its plan covers."""
    request = changes.request_for(deployment.plans[remote.name], deployment.binaries[remote.name])
    return remote.ask("inspect", **request)


def _deploy_host(
    deployment: Deployment, remote: Remote, run: str, on_progress: OnProgress
) -> list[Change]:
    """Make every change of one host. Raises DeployError after rolling back what failed."""
    plan_of_host, binaries = deployment.plans[remote.name], deployment.binaries[remote.name]
    facts = facts_of(deployment, remote)
    found = changes.changes(plan_of_host, binaries, facts)
    if not found:
        on_progress(remote.name, "no changes")
        return []
    replaced = [c for c in plan_of_host.components if changes.replacements(c, facts)]
    for component in plan_of_host.components:
        config.ensure_user_and_directories(remote, component, facts)
        binary.install_binaries(remote, binaries[component.name], deployment.sources, facts)
    for component in replaced:
        on_progress(remote.name, f"checking {component.name}")
        config.stage_and_check(remote, component, _program(binaries[component.name]))
    for change in changes.removals(plan_of_host, facts):
        remote.ask("remove", name=change.component)
    changed = changes.changed_files(plan_of_host, facts)
    files.put_files(remote, changed, changes.obsolete_files(plan_of_host, facts), run)
    for component in plan_of_host.components:
        if component in replaced:
            on_progress(remote.name, f"starting {component.name}")
            _replace(deployment, remote, component, run)
            continue
        verbs = {change.action for change in found if change.component == component.name}
        if verbs & {"start", "restart"}:
            service.start(remote, component, deployment.timeout, restarted="restart" in verbs)
    on_progress(remote.name, "healthy")
    used = sorted({c.artifact for c in plan_of_host.components if c.artifact})
    remote.ask("prune", artifacts=used, keep=KEPT_VERSIONS)
    return found


def _replace(deployment: Deployment, remote: Remote, component: HostComponent, run: str) -> None:
    service.swap(remote, component, run)
    try:
        service.start(remote, component, deployment.timeout, restarted=True)
    except DeployError as error:
        try:
            back = service.roll_back(remote, component, deployment.timeout, run, keep=False)
        except DeployError as worse:
            raise DeployError(f"{error}\n{worse}") from None
        raise DeployError(f"{error}\n{remote.name}: {back}") from None


def _program(binaries: Sequence[Binary]) -> str:
    return Path(binaries[0].path).name if binaries else ""
