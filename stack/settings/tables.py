"""The tables of the settings, each a frozen model, but for those in alerts.py and hosts.py."""

from __future__ import annotations

import os
import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, create_model, model_validator

from stack.settings.base import (
    Bucket,
    Endpoint,
    FilePattern,
    Folder,
    OptionalServiceName,
    PortNumber,
    Section,
    ServiceName,
    TimeZone,
    match,
)
from stack.settings.units import (
    Bytes,
    Duration,
    between,
    format_bytes,
    parse_bytes,
    parse_duration,
)

# The longest lines that are in one item of the agent's queue: it reads 100, and queues up to twice
# as much of each, with room for what it adds.
READ_AT_ONCE = 256
SHIPPED = Path(__file__).parents[1] / "settings.toml"
EnvironmentName = Annotated[
    str,
    match(
        r"[a-z0-9][a-z0-9_.-]{0,62}",
        "a name of lower-case letters, digits, `_`, `.` and `-`, at most 63 characters",
    ),
]
HostLabel = Annotated[
    str,
    match(
        r"[A-Za-z0-9_.-]{0,253}",
        "a name of letters, digits, `_`, `.` and `-`, at most 253 characters, or ''",
    ),
]
Mirror = Annotated[str, match(r"(https?://\S+)?", "an http address, or ''")]
Version = Annotated[str, match(r"[0-9]+\.[0-9]+(\.[0-9]+)?", "a version such as 1.2 or 1.2.3")]


class StackSettings(Section):
    """The programs that run, and the labels of records."""

    engine: Literal["victorialogs", "loki"]
    agent: Literal["otelcol", "promtail"]
    runtime: Literal["auto", "native", "docker"]
    grafana: Literal["on", "off", "auto"]
    environment: EnvironmentName
    host: HostLabel

    @model_validator(mode="after")
    def _agent_fits_engine(self) -> StackSettings:
        if self.agent == "promtail" and self.engine != "loki":
            raise ValueError(
                "agent: expected otelcol, because promtail ships to loki only, got promtail with "
                f"stack.engine = {self.engine}"
            )
        return self


class Paths(Section):
    """Folders, relative to the checkout or absolute."""

    run: Folder = Field(min_length=1)
    data: Folder = Field(min_length=1)
    cache: Folder
    mirror: Mirror

    @model_validator(mode="after")
    def _run_and_data_stand_apart(self) -> Paths:
        """A component's configuration and its data have the same name below them."""
        run, data = (Path(os.path.normpath(Path("/", path))) for path in (self.run, self.data))
        if run.is_relative_to(data) or data.is_relative_to(run):
            raise ValueError(
                f"data: expected a folder neither in paths.run nor around it, got {self.data} "
                f"with paths.run = {self.run}"
            )
        return self


def _keys_of(table: str, annotation: Any, **others: Any) -> Any:
    """A base with one field per key of a table of settings.toml, which alone lists the keys."""
    keys = tomllib.loads(SHIPPED.read_text(encoding="utf-8"))[table]
    fields = {key: others.get(key, annotation) for key in keys}
    return create_model(f"_{table}", __base__=Section, **fields)


_PORTS: Any = _keys_of("ports", PortNumber, offset=Annotated[int, Field(ge=0, le=50000)])


class Ports(_PORTS):  # type: ignore[misc]
    """The port of each name; all differ."""

    @model_validator(mode="after")
    def _each_port_once(self) -> Ports:
        taken: dict[int, str] = {}
        for name in self.names():
            port = self.effective(name)
            if port > 65535:
                raise ValueError(f"{name}: expected a port up to 65535 with the offset, got {port}")
            if port in taken:
                raise ValueError(
                    f"{name}: expected a different port for each name, got {port}, "
                    f"which ports.{taken[port]} also has"
                )
            taken[port] = name
        return self

    @classmethod
    def names(cls) -> list[str]:
        """All names of ports."""
        return [name for name in cls.model_fields if name != "offset"]

    def effective(self, name: str) -> int:
        """The port that a component listens on: the setting plus the offset."""
        port: int = getattr(self, name)
        offset: int = self.offset
        return port + offset


_VERSIONS: Any = _keys_of("versions", Version)


class Versions(_VERSIONS):  # type: ignore[misc]
    """The version of each program."""

    def __getitem__(self, program: str) -> str:
        version: str = getattr(self, program)
        return version


_ARCHIVE_URL = Annotated[str, match(r"https?://\S+", "an http address")]
_RELEASES: Any = _keys_of("releases", _ARCHIVE_URL)
_SUM = Annotated[str, match(r"([0-9a-f]{64})?", "64 hexadecimal digits in lower case, or ''")]
_RELEASE_SUMS: Any = _keys_of("release_sums", _SUM)


class Releases(_RELEASES):  # type: ignore[misc]
    """The address of each program's released archive."""


class ReleaseSums(_RELEASE_SUMS):  # type: ignore[misc]
    """The sha256 of each released archive, by program and architecture; empty: not pinned."""


class ShorterRetention(Section):
    """Records that the engine keeps for fewer days: of a service, of a level, or of both."""

    service: OptionalServiceName = ""
    level: Literal["", "DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = ""
    days: int = Field(ge=1, le=3650)

    @model_validator(mode="after")
    def _selects_something(self) -> ShorterRetention:
        if not (self.service or self.level):
            raise ValueError("a service, a level or both")
        return self

    @property
    def name(self) -> str:
        """For messages: `DEBUG of erp-backend-api`."""
        return f"{self.level or 'everything'}{f' of {self.service}' if self.service else ''}"


class Retention(Section):
    """How long records are kept."""

    hot_days: int = Field(ge=1, le=3650)
    margin_days: int = Field(ge=1, le=365)
    allow_delete: bool
    shorter: tuple[ShorterRetention, ...] = Field(default=(), strict=False)

    def engine_days(self, *, archived: bool) -> int:
        """After how many days the engine itself deletes a record.

        With an archiver, it deletes a day after hot_days, once its archive is verified, and the
        margin is the last resort.
        """
        return self.hot_days + (self.margin_days if archived else 0)

    @model_validator(mode="after")
    def _shorter_is_shorter(self) -> Retention:
        for kind in self.shorter:
            if kind.days >= self.hot_days:
                raise ValueError(
                    f"shorter: expected fewer days for {kind.name} than "
                    f"hot_days = {self.hot_days}, got {kind.days}"
                )
        return self


class Limits(Section):
    """Sizes, rates and times beyond which components refuse work."""

    line: Annotated[Bytes, between("4KiB", "1536KiB")]
    queue: Bytes
    free_disk: Annotated[Bytes, between("32MiB")]
    hot_disk: Bytes
    query: Annotated[Duration, between("1s", "1d")]
    # Loki never takes a request that is larger than its burst, twice the rate; a batch has 8 MB.
    ingestion_rate: Annotated[Bytes, between("8MiB", "64GiB")]
    streams: int = Field(ge=100, le=1_000_000)

    @model_validator(mode="after")
    def _a_reading_fits_into_the_queue(self) -> Limits:
        """The collector waits without end to queue what is larger than the queue.

        It reads 100 lines at a time, and what it queues of a line may be twice as long.
        """
        least = READ_AT_ONCE * parse_bytes(self.line)
        if parse_bytes(self.queue) < least:
            raise ValueError(
                f"queue: expected at least {format_bytes(least)}, {READ_AT_ONCE} times "
                f"limits.line = {self.line}, got {self.queue}"
            )
        return self


def _check_image(name: str) -> str:
    if not re.fullmatch(r"[\w.:/@-]+", name.replace("{version}", "1")):
        raise ValueError("the name of an image, in which {version} is the version's place")
    return name


_IMAGES: Any = _keys_of(
    "images",
    Annotated[str, AfterValidator(_check_image)],
    memory=Annotated[Bytes, between("64MiB")],
)


class Images(_IMAGES):  # type: ignore[misc]
    """The image of each component."""

    def __getitem__(self, component: str) -> str:
        pattern: str = getattr(self, component)
        return pattern


class FileSource(Section):
    """A log file, or a pattern of them, and the service of its lines."""

    service: ServiceName
    path: FilePattern
    # That of its access logs; `text`: lines without a level are right here.
    format: Literal["auto", "nginx", "apache", "gunicorn", "text"] = "auto"
    # Names of IANA that both agents and Python know.
    encoding: Literal["utf-8", "utf-16le", "utf-16be", "iso-8859-1", "windows-1252"] = "utf-8"


class Agent(Section):
    """How the agent reads, batches and sends."""

    poll_interval: Annotated[Duration, between("10ms", "1m")]
    fingerprint: Annotated[Bytes, between("1000B", "1MiB")]
    flush_interval: Annotated[Duration, between("10ms", "1m")]
    line_flush: Annotated[Duration, between("100ms", "5m")]
    text_flush: Annotated[Duration, between("100ms", "5m")]
    compression: Literal["zstd", "gzip", "none"]
    fsync: bool
    gc_percent: int = Field(ge=20, le=1000)
    timezone: TimeZone
    files: tuple[FileSource, ...] = Field(default=(), strict=False)

    @model_validator(mode="after")
    def _each_path_once(self) -> Agent:
        services: dict[str, str] = {}
        for file in self.files:
            if file.path in services:
                raise ValueError(
                    f"files: expected each path once, got {file.path} for {services[file.path]} "
                    f"and for {file.service}; the first would have all of its lines"
                )
            services[file.path] = file.service
        return self


class Archive(Section):
    """The object store of the archive, and when hours are exported."""

    endpoint: Endpoint
    region: str = Field(min_length=1)
    bucket: Bucket
    tenant: ServiceName
    days: int = Field(ge=1, le=3650)
    lock: Literal["governance", "compliance", "none"]
    interval: Annotated[Duration, between("1s", "1d")]
    settle: Annotated[Duration, between("0s", "1d")]
    lateness: Annotated[Duration, between("1h", "3650d")]
    part: Annotated[Bytes, between("64KiB", "4GiB")]  # S3 takes 5 GiB in one request
    own_part: int = Field(ge=1)
    copies: Bytes
    level: int = Field(ge=1, le=19)


class Timing(Section):
    """How long components may take, and intervals."""

    start_timeout: Annotated[Duration, between("1s", "1h")]
    stop_timeout: Annotated[Duration, between("1s", "1h")]
    flush_interval: Duration
    alert_interval: Annotated[Duration, between("1s", "1d")]

    @model_validator(mode="after")
    def _everything_is_on_disk_before_a_stop_ends(self) -> Timing:
        """VictoriaLogs exits without writing what it holds in memory when a request stays open.

        A record is on disk at most two intervals and a second after its arrival.
        """
        flush, stop = parse_duration(self.flush_interval), parse_duration(self.stop_timeout)
        if not timedelta(seconds=1) <= flush <= stop / 8:
            raise ValueError(
                "flush_interval: expected 1s or more, and at most an eighth of "
                f"timing.stop_timeout = {self.stop_timeout}, got {self.flush_interval}"
            )
        return self


class Monitor(Section):
    """How often the stack watches itself, and what it reports."""

    # A look takes some seconds, and differences are those of ten minutes.
    interval: Annotated[Duration, between("1s", "2m")]
    queue: Annotated[Duration, between("10s", "1d")]
    disk: Annotated[Duration, between("1h", "365d")]
    clock: Annotated[Duration, between("1s", "1h")]
    certificate_days: int = Field(ge=1, le=365)
    settle: Annotated[Duration, between("10s", "1d")]


class SampleApp(Section):
    """The sample application and its traffic."""

    service: ServiceName
    workers: int = Field(ge=1, le=64)
    threads: int = Field(ge=1, le=64)
    traffic: float = Field(ge=0, le=50, strict=False)
