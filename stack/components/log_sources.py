"""What the agents read: log files, Docker's, the journal. Pure; every agent's module uses it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from stack.components.component import as_pattern
from stack.engines.kinds import kind_of
from stack.records.contract import ARCHIVER_SERVICE
from stack.settings.tables import FileSource
from stack.settings.targets import Target
from stack.settings.units import (
    parse_duration,
)

# Where the agent's container sees Docker's json-file logs, and the label of the containers that it
# ships: its value is the service of lines that do not name one.
CONTAINER_LOGS = "/var/lib/docker/containers"


SERVICE_LABEL = "logstack.service"


# Lines that agents join to one record.
MOST_LINES = 10_000


# Beside a log file, and not text: rotated files that are compressed, files of an editor.
UNREADABLE_FILES = "{gz,zst,xz,bz2,lz4,lzma,Z,zip,7z,swp,swo,swx}"


# The year that logrotate's `dateext` begins the ending of a rotated file with; no log of another
# program, such as app.log-audit.log beside app.log, looks like it.
ROTATED_BY_DATE = "-[0-9][0-9][0-9][0-9]*"


# What clocks and ways may differ by.
CLOCKS = timedelta(hours=1)


@dataclass(frozen=True)
class Source:
    """Something that the agent reads. `service` is that of lines which do not name one.

    `excluded` are patterns of files that it does not read, though they match.
    """

    kind: Literal["file", "docker", "journal"]
    service: str
    path: str
    receiver: str = ""
    excluded: tuple[str, ...] = ()

    @property
    def patterns(self) -> tuple[str, ...]:
        """The log files and what they are renamed to when they are rotated."""
        return (self.path, f"{self.path}.*", f"{self.path}{ROTATED_BY_DATE}")


def log_sources(target: Target) -> tuple[Source, ...]:
    """What the agent reads, numbered per kind."""
    files = [Source("file", file.service, file.path) for file in _log_files(target)]
    docker = Source("docker", "container", f"{CONTAINER_LOGS}/*/*-json.log")
    if target.in_containers:
        sources = [docker]
    else:
        has_docker = target.runs_apps and target.settings.app_hosts.docker_logs
        sources = [*files, *([docker] if has_docker else [])]
    numbered: list[Source] = []
    for number, source in enumerate(sources, start=1):
        # What is no text, and what an entry before this one reads: no file is read twice.
        unreadable = f"{source.path}*.{UNREADABLE_FILES}"
        excluded = (unreadable, *(pattern for other in numbered for pattern in other.patterns))
        numbered.append(replace(source, receiver=f"file_log/{number}", excluded=excluded))
    journal = [Source("journal", "journal", "", "journald")] if reads_journal(target) else []
    return (*numbered, *journal)


def reads_journal(target: Target) -> bool:
    """Log servers always do: the engine, the gateway and the archiver log there."""
    return target.runs_engine or (target.runs_apps and target.settings.app_hosts.journal)


def _log_files(target: Target) -> tuple[FileSource, ...]:
    """The applications' log files, those of the settings, the archiver's."""
    if target.on_host:
        apps = [
            FileSource(service=app.service, path=f"{app_log_dir(app.service)}/*.log")
            for app in (target.settings.app_hosts.apps if target.runs_apps else ())
        ]
        return (*apps, *target.settings.agent.files)
    # The path of a log file is a pattern; this one is meant as it is.
    path = as_pattern(target.app_log_file)
    sample_app = FileSource(service=target.settings.sample_app.service, path=path)
    files = (sample_app, *target.settings.agent.files)
    if target.in_containers:
        return files
    archiver = FileSource(service=ARCHIVER_SERVICE, path=as_pattern(target.archiver_log_file))
    return (*files, archiver)


def app_log_dir(service: str) -> str:
    """Where an application of a host writes its log files."""
    return f"/var/log/{service}"


def window(target: Target) -> tuple[timedelta, timedelta]:
    """How far before and after now a record's own time may be; the agent replaces another one.

    A record waits while the engine is down: the engine and the archive take what is a day older.
    """
    lateness = parse_duration(target.settings.archive.lateness)
    kept = min(lateness, timedelta(days=target.settings.retention.hot_days))
    return kept - min(timedelta(days=1), kept / 4), kind_of(target.settings).ahead - CLOCKS
