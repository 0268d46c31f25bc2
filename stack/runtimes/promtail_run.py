"""Runs the real Promtail over one file, for `logstack explain`; single_run.py: the collector."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import yaml

from stack.components.component import as_pattern
from stack.components.promtail import render_promtail
from stack.engines.loki import Entry
from stack.engines.loki_push import parse_push
from stack.runtimes.loopback import Receiver
from stack.runtimes.single_run import AgentError, SingleRun, check_running, started
from stack.settings.secrets import write_private
from stack.settings.targets import native
from stack.settings.units import parse_duration

# Promtail does not say that it has read a file: it has when nothing comes for so many seconds more
# than it waits for the rest of a record.
QUIET = 1.0
PATIENCE = 20.0


def run_promtail(run: SingleRun, lines: int) -> list[Entry]:
    """The entries that the file's lines become. Raises AgentError."""
    entries: list[Entry] = []
    with Receiver(lambda body: entries.extend(parse_push(body))) as receiver:
        config = for_one_file(run, f"http://127.0.0.1:{receiver.port}")
        path = run.folder / "config.yaml"
        write_private(path, yaml.safe_dump(config, allow_unicode=True, width=10_000))
        with started([str(run.program), f"-config.file={path}"], {}, run.folder) as process:
            _wait(run, entries, lines, lambda: check_running(process, run.folder))
        if receiver.error:
            raise receiver.error
    return entries


def _wait(run: SingleRun, entries: list[Entry], lines: int, check: Callable[[], None]) -> None:
    """Until every line has its record, or no more come."""
    agent = run.settings.agent
    waits = parse_duration(agent.text_flush) + 2 * parse_duration(agent.flush_interval)
    seen, since, start = 0, time.monotonic(), time.monotonic()
    while len(entries) < lines:
        check()
        now = time.monotonic()
        if len(entries) > seen:
            seen, since = len(entries), now
        if seen and now - since > waits.total_seconds() + QUIET:
            return
        if now - start > PATIENCE and not seen:
            raise AgentError(f"cannot run Promtail: no record came within {PATIENCE:g} s")
        time.sleep(0.05)


def for_one_file(run: SingleRun, url: str) -> dict[str, Any]:
    """The rendered configuration with one source and one receiver."""
    settings = run.settings.model_copy(
        update={"agent": run.settings.agent.model_copy(update={"files": (run.source,)})}
    )
    config: dict[str, Any] = yaml.safe_load(render_promtail(native(settings)))
    [job] = [job for job in config["scrape_configs"] if _path(job) == run.source.path]
    labels = job["static_configs"][0]["labels"]
    labels |= {"__path__": as_pattern(run.file)}
    labels.pop("__path_exclude__", None)
    config["scrape_configs"] = [job]
    config["server"] |= {"http_listen_address": "127.0.0.1", "http_listen_port": 0}
    config["positions"]["filename"] = str(run.folder / "positions.yaml")
    config["clients"] = [{**config["clients"][0], "url": url}]
    return config


def _path(job: dict[str, Any]) -> str:
    for group in job.get("static_configs", ()):
        return str(group["labels"]["__path__"])
    return ""
