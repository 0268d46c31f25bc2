"""Checks of the running stack: its programs, its records, its policies; `logstack doctor`.

A policy is read back from the engine or the store, not from a configuration file. What programs do
is what the monitor sees (stack/monitor), looked at once, with what it saw in the last minutes.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from stack.alerting.loaded import rule_differences
from stack.archive.checks import Finding, archive_findings
from stack.archive.context import Archive
from stack.common.counted import counted
from stack.components.monitor import plan_of
from stack.engines import EngineError
from stack.engines.http import open_session, send_request
from stack.engines.kinds import kind_of
from stack.monitor import history
from stack.monitor.look import look
from stack.monitor.model import Observation, Problem, from_json
from stack.runtimes.docker.engine import DockerError
from stack.runtimes.selection import Running
from stack.settings.targets import Target
from stack.settings.units import format_bytes

# A cause that ends with its command.
COMMAND = re.compile(r"(.*)\. Run(?: on [\w.-]+(?: host)?)?: (.*)", re.DOTALL)
# What a check covers, and the problems that it reports (docs/monitoring.md).
SUBJECTS: Mapping[str, tuple[str, ...]] = {
    "programs": ("component_restarting", "unclean_exit", "component_down", "memory_limit"),
    "disks": ("disk_full", "disk_filling", "engine_read_only"),
    "log files": ("file_refused", "file_unread", "no_files", "file_matched_twice"),
    "records": ("records_dropped", "queue_growing", "delivery_failing"),
    "notifications": ("notifications_failing",),
    "certificates": ("certificate_expires",),
    "clock": ("clock_skewed",),
    "services": ("service_silent",),
}

SUMMARIES: Mapping[str, tuple[str, str]] = {
    "programs": ("up", "{up} programs run and answer"),
    "disks": ("disk_free_bytes", "{disk_free_bytes} or more are free"),
    "log files": ("files", "the agent can read {files} log files"),
    "records": (
        "accepted_records_10m",
        "in ten minutes {accepted_records_10m} were accepted, {sent_records_10m} sent and none "
        "dropped; {queue_bytes} wait in the queue",
    ),
    "notifications": ("notifications_10m", "{notifications_10m} were sent in ten minutes"),
    "certificates": ("certificate_days", "valid for {certificate_days} days or more"),
    "clock": ("clock_offset_s", "it agrees with the log server's"),
    "services": ("services", "{services} known, {silent_services} of them silent"),
}
"""What is said of a subject without a problem, where this value is known: sums over everything."""
LEAST = ("disk_free_bytes", "certificate_days")  # of these the smallest


def run(archive: Archive, target: Target) -> list[Finding]:
    """Run every check. One that cannot be made because a program does not answer has failed."""
    policies = [check_alert_rules(target), *archive_findings(archive)]
    return [*health(observe(target)), *map(with_command, policies)]


def run_in_docker(now: Running) -> list[Finding]:
    """The same without an archive. The monitor's container looks, which reaches every program."""
    target, docker = now.target, now.docker
    if docker is None:
        raise ValueError("expected a stack in containers")
    stopped = [item for item in docker.status() if not item.is_good]
    findings = [
        Finding("programs", False, f"{item.name} is {item.state}", item.note, item.log)
        for item in stopped
    ]
    argv = ("python3", "-P", "-m", "stack.monitor", "look", str(target.config_dir("monitor")))
    try:
        findings += health(from_json(docker.exec("monitor", *argv)))
    except (DockerError, ValueError) as error:
        findings.append(Finding("programs", False, f"the monitor does not look: {error}"))
    policies = [check_alert_rules(target), check_retention(target)]
    return [*findings, *map(with_command, policies)]


def check_retention(target: Target) -> Finding:
    """The engine keeps records as long as the settings say, where no archiver deletes days."""
    kind = kind_of(target.settings)
    expected = target.settings.retention.engine_days(archived=False)

    def fetch(path: str) -> str:
        session = open_session()
        session.headers.update(kind.headers)
        base = target.url(kind.name)
        return send_request(session, kind.title, "GET", base, path, timeout=10).text

    try:
        days = kind.retention(fetch).days
    except EngineError as error:
        return Finding("retention", False, str(error))
    if days == expected:
        return Finding("retention", True, f"the engine keeps {counted(days, 'day')}")
    text = (
        f"the engine's retention: expected {counted(expected, 'day')}, got {counted(days, 'day')}"
    )
    return Finding("retention", False, text, f"{kind.title} says so", "make up")


def observe(target: Target) -> list[Observation]:
    """One look at the native stack."""
    plan = plan_of(target)
    view, found = look(plan, history.load(Path(plan.folder)))
    if any(process.pid for process in view.processes.values()):
        return found
    cause = "the stack does not run"
    evidence = f"{plan.supervisor} names no program that runs"
    return [Observation("", problems=(Problem("component_down", cause, evidence, plan.apply),))]


def health(observations: Iterable[Observation]) -> Iterator[Finding]:
    """A finding for each subject without a problem, and one for each problem."""
    seen = list(observations)
    problems = [(item, problem) for item in seen for problem in item.problems]
    for subject, names in SUBJECTS.items():
        found = [(item, problem) for item, problem in problems if problem.name in names]
        text = _summary(subject, seen)
        if text and all(problem.note for _, problem in found):
            yield Finding(subject, True, text)
        for _, problem in found:
            yield Finding(subject, problem.note, problem.cause, problem.evidence, problem.command)


def _summary(subject: str, seen: Iterable[Observation]) -> str:
    """What is right about a subject; empty where nothing of it was looked at."""
    numbers: dict[str, list[float]] = {}
    for item in seen:
        for name, value in item.values.items():
            if not isinstance(value, str):
                numbers.setdefault(name, []).append(value)
    field, text = SUMMARIES[subject]
    if field not in numbers:
        return ""
    shown = {n: min(found) if n in LEAST else sum(found) for n, found in numbers.items()}
    sizes = {n: format_bytes(v) for n, v in shown.items() if n.endswith("_bytes")}
    return text.format_map(defaultdict(int, {**shown, **sizes}))


def with_command(finding: Finding) -> Finding:
    """A finding whose text ends with the command has it apart."""
    found = COMMAND.fullmatch(finding.text)
    if finding.ok or finding.command or not found:
        return finding
    return replace(finding, text=found[1], command=found[2])


def check_alert_rules(target: Target) -> Finding:
    """The evaluator has loaded exactly the shipped rules."""
    problems = rule_differences(target)
    passed = f"{kind_of(target.settings).evaluator} has loaded exactly the rules of alerts/rules/"
    return Finding("alert rules", not problems, "; ".join(problems) or passed)
