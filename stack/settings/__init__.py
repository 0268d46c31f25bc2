"""The values of the stack, typed and frozen. Everything else reads them from here.

`load()` merges the layers that the head of settings.toml lists and refuses unknown keys. An error
names the key, what was expected, the value and the layer that it comes from.
"""

from __future__ import annotations

import os
import re
import socket
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from pydantic import ValidationError

from stack.common import suggest
from stack.settings.alerts import AlertSettings, Receivers, Thresholds
from stack.settings.base import Section
from stack.settings.hosts import AppHosts, Fleet, Gateway, LokiStorage, Services
from stack.settings.tables import (
    Agent,
    Archive,
    Images,
    Limits,
    Monitor,
    Paths,
    Ports,
    Releases,
    ReleaseSums,
    Retention,
    SampleApp,
    StackSettings,
    Timing,
    Versions,
)

ROOT = Path(__file__).resolve().parents[2]
ENV_PREFIX = "LOGSTACK_"
ENV_VARIABLE = "LOGSTACK_ENV"
READER_VARIABLE = "LOGSTACK_READER"
# Short for LOGSTACK_STACK__RUNTIME, for one command: `RUNTIME=native make up`.
RUNTIME_VARIABLE = "RUNTIME"
# Variables with the prefix that are not settings; every other one must be a setting.
OTHER_VARIABLES = frozenset(
    {
        ENV_VARIABLE,
        "LOGSTACK_SETTINGS",
        "LOGSTACK_SECRETS",
        READER_VARIABLE,
        "LOGSTACK_TEST_REQUIRE",
        "LOGSTACK_PYTHON",
        "LOGSTACK_VENV",
        "LOGSTACK_TRACEBACK",
        "LOGSTACK_ARCHIVE_WRITER",
        "LOGSTACK_ARCHIVE_READER",
        "LOGSTACK_ARCHIVE_ADMIN",
        "LOGSTACK_ARCHIVE_SIGNING_KEY",
        "LOGSTACK_ARCHIVE_FAILPOINT",  # tests only: stack/archive/failpoints.py
    }
)
OTHER_PREFIXES = ("LOGSTACK_DJANGO_", "LOGSTACK_SAMPLE_", "LOGSTACK_SECRET_")
INVENTORY = "the inventory"  # the layer of a pyinfra inventory: provisioning/fleet.py
# Tables that a later layer replaces as a whole: hosts of two layers are never mixed.
REPLACED = frozenset({"hosts"})


class SettingsError(Exception):
    """A setting cannot be used; the text says which, what is expected and how to set it."""


class Settings(Section):
    """All settings, one field per table."""

    stack: StackSettings
    paths: Paths
    ports: Ports
    versions: Versions
    releases: Releases
    release_sums: ReleaseSums
    retention: Retention
    limits: Limits
    images: Images
    agent: Agent
    archive: Archive
    timing: Timing
    monitor: Monitor
    alerts: AlertSettings
    thresholds: Thresholds
    receivers: Receivers
    sample_app: SampleApp
    gateway: Gateway
    app_hosts: AppHosts
    services: Services
    loki_storage: LokiStorage
    hosts: Fleet

    @property
    def host(self) -> str:
        """The value of the label `host` in this machine's records."""
        return self.stack.host or socket.gethostname()


@dataclass(frozen=True)
class Layer:
    """One source of values: a file, or the environment."""

    name: str
    values: Mapping[str, Any]


def load(environ: Mapping[str, str] = os.environ, root: Path = ROOT) -> Settings:
    """Merge all layers and validate them. Raises SettingsError."""
    return validate(read_layers(environ, root))


def load_for_hosts(
    name: str,
    environ: Mapping[str, str] = os.environ,
    root: Path = ROOT,
    last: Layer | None = None,
) -> Settings:
    """The settings of the environment `name`, for its hosts. Raises SettingsError.

    settings.local.toml describes this machine, so it is not among the layers. `last`: one that
    ranks above all others.
    """
    layers = read_layers({**environ, ENV_VARIABLE: name}, root, for_hosts=True)
    settings = validate([*layers, last] if last else layers)
    if settings.stack.environment != name:
        raise SettingsError(
            f"stack.environment: expected {name}, the name that commands use and records carry, "
            f"got {settings.stack.environment!r}. Remove the setting"
        )
    if not settings.hosts:
        raise SettingsError(
            f"hosts: expected at least one host in the environment {name}, got none. "
            f"Describe your hosts in settings.{name}.local.toml, as "
            "stack/settings.staging.toml does"
        )
    return settings


def read_layers(
    environ: Mapping[str, str] = os.environ, root: Path = ROOT, *, for_hosts: bool = False
) -> list[Layer]:
    """The layers, lowest rank first. Raises SettingsError for a file that cannot be read."""
    base = root / "stack" / "settings.toml"
    files: list[Path] = []
    named: list[Layer] = []
    local = [] if for_hosts else [root / "settings.local.toml"]
    if name := environ.get(ENV_VARIABLE):
        named = [Layer(ENV_VARIABLE, {"stack": {"environment": name}})]
        files.append(_overlay(root, name))
        local.append(root / f"settings.{name}.local.toml")
    files += [path for path in local if path.exists() and path not in files]
    if own := environ.get("LOGSTACK_SETTINGS"):
        files.append(root / Path(own).expanduser())
    layers = [Layer(_shorten(path, root), _read_toml(path)) for path in files]
    lowest = Layer(_shorten(base, root), _read_toml(base))
    chosen = environ.get(RUNTIME_VARIABLE, "")
    runtime = Layer(RUNTIME_VARIABLE, {"stack": {"runtime": chosen}})
    highest = [runtime] if chosen and not for_hosts else []
    return [lowest, *named, *layers, layer_of(environ, "the environment"), *highest]


def validate(layers: list[Layer]) -> Settings:
    """Merge `layers` and check every value. Raises SettingsError."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for section, values in layer.values.items():
            if isinstance(values, Mapping):
                before = {} if section in REPLACED else merged.get(section, {})
                merged[section] = {**before, **values}
            elif section in Settings.model_fields:
                raise SettingsError(
                    f"{section}: expected a table, got {_shown([section], values)} "
                    f"(from {layer.name})."
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
    if path.exists():
        return path
    own = root / f"settings.{name}.local.toml"
    if re.fullmatch(r"[a-z0-9][a-z0-9-]*", name) and own.exists():
        return own  # an environment that the operator added
    known = sorted(p.name.split(".")[1] for p in (root / "stack").glob("settings.*.toml"))
    raise SettingsError(
        f"LOGSTACK_ENV: expected one of {', '.join(known) or '(there is no overlay yet)'}, "
        f"got {name!r}. An overlay is a file stack/settings.<name>.toml."
    )


def _shorten(path: Path, root: Path) -> str:
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"{path}: expected a readable TOML file, got: {error}") from None


def is_setting(name: str) -> bool:
    """Whether a variable has to be a setting."""
    if not name.startswith(ENV_PREFIX) or name in OTHER_VARIABLES:
        return False
    return "__" in name or not name.startswith(OTHER_PREFIXES)  # sample_app is a section, too


def layer_of(variables: Mapping[str, object], source: str) -> Layer:
    """The settings among variables: text is read as TOML would, any other value taken as it is."""
    values: dict[str, dict[str, Any]] = {}
    for name, value in variables.items():
        if not is_setting(name):
            continue
        section, separator, key = name.removeprefix(ENV_PREFIX).lower().partition("__")
        if not separator or section not in Settings.model_fields:
            raise SettingsError(_unknown(name, [*_variables(), *OTHER_VARIABLES], source))
        if section in REPLACED:
            raise SettingsError(
                f"{name}: expected [{section}] in a file, got a variable. "
                "stack/settings.staging.toml is an example"
            )
        typed = _toml_value(value, _sections()[section], key) if isinstance(value, str) else value
        values.setdefault(section, {})[key] = typed
    return Layer(source, values)


def _toml_value(text: str, section: type[Section], key: str) -> Any:
    """A value as TOML would read it (`30`, `true`); any other text stays text (`30s`)."""
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
            hint = _how_to_set(layers, *location[:2]) if len(location) > 1 else ""
            yield f"{dotted}: expected a value, got nothing. {hint}".rstrip()
        elif item["type"] == "value_error" and len(location) == 1:  # two keys contradict each other
            section, text = location[0], str(item["ctx"]["error"])
            key = text.partition(":")[0]
            source = origin(layers, section, "" if section in REPLACED else key)
            yield f"{section}.{text} (from {source}). {_how_to_set(layers, section, key)}"
        else:
            hint = _how_to_set(layers, *location[:2]) if len(location) > 1 else ""
            got = f"got {_shown(location, item['input'])} (from {where})"
            yield f"{dotted}: expected {_expected(item, location)}, {got}. {hint}".rstrip()


def _shown(location: list[str], value: object) -> str:
    """A value for a message, unless it may be a secret that stands where its file should."""
    text = repr(value)
    looks_so = re.search(r"://|xox[a-z]-|[A-Za-z0-9+/_-]{24,}", text)
    if location[-1].endswith("_file") or (location[0] == "receivers" and looks_so):
        return "a text that is not shown here, as it may be a secret"
    return text


def _expected(item: Any, location: list[str]) -> str:
    """What pydantic expected, in words that do not need its documentation."""
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
        "finite_number": "a number that is neither infinite nor nan",
        "tuple_type": "a list of tables" if _takes_tables(*location) else "a list",
        "too_short": "a list with at least one entry",
    }
    if kind in named:
        return named[kind]
    if kind == "literal_error":
        return f"one of {context['expected']}"
    bounds = {
        "greater_than_equal": ("ge", "of at least"),
        "less_than_equal": ("le", "of at most"),
        "greater_than": ("gt", "above"),
        "less_than": ("lt", "below"),
    }
    if kind in bounds:
        key, words = bounds[kind]
        return f"a number {words} {context[key]}"
    if kind == "value_error":
        return str(context["error"])
    return str(item["msg"])


def _takes_tables(section: str, key: str = "", *deeper: str) -> bool:
    """Whether a setting is a list of tables, as agent.files is."""
    field = _sections()[section].model_fields.get(key) if section in _sections() else None
    entry = next(iter(get_args(field.annotation)), None) if field and not deeper else None
    return isinstance(entry, type) and issubclass(entry, Section)


def _how_to_set(layers: list[Layer], section: str, key: str) -> str:
    if origin(layers, section, "" if section in REPLACED else key) == INVENTORY:
        variable = "" if section in REPLACED else f" as {variable_name(section, key)}"
        return f"Set it in the data of the inventory{variable}."
    if section in REPLACED:
        return "Fix it in that file; stack/settings.staging.toml is an example."
    names = [layer.values["stack"]["environment"] for layer in layers if layer.name == ENV_VARIABLE]
    local = ".".join(("settings", *names, "local", "toml"))
    return f"Set it in stack/settings.toml, in {local} or as {variable_name(section, key)}."


def _unknown(name: str, known: list[str], where: str) -> str:
    return (
        f"{name}: unknown setting (from {where}).{suggest(name, known)} "
        "`./logstack settings` lists all settings."
    )
