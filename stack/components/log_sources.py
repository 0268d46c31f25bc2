"""The sources of the agents: log files, Docker's log files, the journal. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

from stack.components.component import as_pattern
from stack.engines.kinds import kind_of
from stack.records.contract import ARCHIVER_SERVICE, MONITOR_SERVICE
from stack.settings.tables import FileSource
from stack.settings.targets import Target
from stack.settings.units import (
    parse_duration,
)

# Docker's json-file logs, in the agent's container.
CONTAINER_LOGS = "/var/lib/docker/containers"
# The label of containers that the agent ships; its value is the service of lines without one.
SERVICE_LABEL = "logstack.service"
# Lines that agents join to one record.
MOST_LINES = 10_000
# Files beside a log file that are not text: compressed rotated files, files of an editor.
UNREADABLE_FILES = "{gz,zst,xz,bz2,lz4,lzma,Z,zip,7z,swp,swo,swx}"
# logrotate's `dateext` begins with the year. The pattern matches no logs of other programs, such as
# app.log-audit.log beside app.log.
ROTATED_BY_DATE = "-[0-9][0-9][0-9][0-9]*"
# The largest difference of clocks, with the time of delivery.
CLOCKS = timedelta(hours=1)


@dataclass(frozen=True)
class Source:
    """A source of the agent. `service` is that of lines without one.

    `excluded` are patterns of matching files that are not read, `format` and `encoding` are those
    of FileSource.
    """

    kind: Literal["file", "docker", "journal"]
    service: str
    path: str
    receiver: str = ""
    excluded: tuple[str, ...] = ()
    format: str = "auto"
    encoding: str = "utf-8"

    @property
    def patterns(self) -> tuple[str, ...]:
        """The log files and their names after rotation."""
        return (self.path, f"{self.path}.*", f"{self.path}{ROTATED_BY_DATE}")

    def receiver_for(self, destination: str) -> str:
        """The receiver of one destination; empty: the only one. Its positions have this name."""
        if not destination:
            return self.receiver
        return f"{self.receiver}{'_' if '/' in self.receiver else '/'}{destination}"


def log_sources(target: Target) -> tuple[Source, ...]:
    """The sources of the agent, each with its receiver."""
    files = [
        Source("file", file.service, file.path, format=file.format, encoding=file.encoding)
        for file in _log_files(target)
    ]
    docker = Source("docker", "container", f"{CONTAINER_LOGS}/*/*-json.log")
    if target.in_containers:
        sources = [docker]
    else:
        has_docker = target.runs_apps and target.settings.app_hosts.docker_logs
        sources = [*files, *([docker] if has_docker else [])]
    numbered: list[Source] = []
    for number, source in enumerate(sources, start=1):
        # Files that are not text, and files of an earlier source: no file is read twice.
        unreadable = f"{source.path}*.{UNREADABLE_FILES}"
        excluded = (unreadable, *(pattern for other in numbered for pattern in other.patterns))
        numbered.append(replace(source, receiver=f"file_log/{number}", excluded=excluded))
    journal = [Source("journal", "journal", "", "journald")] if reads_journal(target) else []
    return (*numbered, *journal)


def source_of(target: Target, file: FileSource) -> Source:
    """The source that the agent has for `file`, if nothing else is set."""
    agent = target.settings.agent.model_copy(update={"files": (file,)})
    settings = target.settings.model_copy(update={"agent": agent})
    sources = log_sources(replace(target, settings=settings))
    return next(source for source in reversed(sources) if source.path == file.path)


def reads_journal(target: Target) -> bool:
    """Whether the agent reads the journal. On log servers always: components log there."""
    return target.runs_engine or (target.runs_apps and target.settings.app_hosts.journal)


def _log_files(target: Target) -> tuple[FileSource, ...]:
    """The log files of applications, of the settings, of the archiver and the monitor."""
    if target.on_host:
        apps = [
            FileSource(service=app.service, path=f"{app_log_dir(app.service)}/*.log")
            for app in (target.settings.app_hosts.apps if target.runs_apps else ())
        ]
        return (*apps, *target.settings.agent.files)
    # The path of a source is a pattern; this one is a literal path.
    path = as_pattern(target.app_log_file)
    sample_app = FileSource(service=target.settings.sample_app.service, path=path)
    files = (sample_app, *target.settings.agent.files)
    if target.in_containers:
        return files
    archiver = FileSource(service=ARCHIVER_SERVICE, path=as_pattern(target.archiver_log_file))
    monitor = FileSource(service=MONITOR_SERVICE, path=as_pattern(target.monitor_log_file))
    return (*files, archiver, monitor)


def app_log_dir(service: str) -> str:
    """Where an application of a host writes its log files."""
    return f"/var/log/{service}"


def window(target: Target) -> tuple[timedelta, timedelta]:
    """How far a record's time may be before and after now; the agent replaces other times.

    The engine and the archive accept records that are a day older, for records that wait while the
    engine is down.
    """
    lateness = parse_duration(target.settings.archive.lateness)
    kept = min(lateness, timedelta(days=target.settings.retention.hot_days))
    return kept - min(timedelta(days=1), kept / 4), kind_of(target.settings).ahead - CLOCKS


def import_window(target: Target) -> tuple[timedelta, timedelta]:
    """How far the times of imported records may be before and after now.

    With an archive it is what the agents may send: it looks for late records no further back, and
    a day that it has not verified is not deleted. Without one it is the whole retention.
    """
    past, ahead = window(target)
    if not target.has_archive:
        past = timedelta(days=target.settings.retention.hot_days) - CLOCKS
    return past, ahead
