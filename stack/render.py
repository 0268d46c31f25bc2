"""Settings and a target to files: `{path below the run folder: text}`. The only user of Jinja2.

Pure: the runtimes write the files. A value that a template names and nobody gives is an error.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from stack.components import NATIVE, VL_IGNORED_FIELDS, VL_STREAM_FIELDS, command
from stack.settings import ROOT, FileSource
from stack.targets import Target
from stack.units import parse_bytes, parse_duration

TEMPLATES = Path(__file__).parent / "templates"


def render_native(
    target: Target, binaries: Mapping[str, str], secrets: Mapping[str, str]
) -> dict[str, str]:
    """Every file of the native runtime. `secrets` are variables of the sample app."""
    return {
        "otelcol/config.yaml": render_otelcol(target),
        "alertmanager/alertmanager.yml": render_template("alertmanager/alertmanager.yml.j2"),
        "vmalert/rules/watchdog.yaml": render_template("vmalert/rules/watchdog.yaml.j2"),
        "supervisord.conf": render_supervisor(target, binaries, secrets),
    }


def render_otelcol(target: Target) -> str:
    """The collector's configuration."""
    settings = target.settings
    sample_app = FileSource(service=settings.sample_app.service, path=str(target.app_log_file))
    sources = (sample_app, *settings.agent.files)
    return render_template(
        "otelcol/config.yaml.j2",
        settings=settings,
        target=target,
        storage=str(target.storage_dir("otelcol")),
        sources=sources,
        receivers=[f"file_log/{number}" for number, _ in enumerate(sources, start=1)],
        queue_bytes=parse_bytes(settings.limits.queue),
        stream_fields=VL_STREAM_FIELDS,
        ignored_fields=VL_IGNORED_FIELDS,
    )


def render_supervisor(
    target: Target, binaries: Mapping[str, str], secrets: Mapping[str, str]
) -> str:
    """supervisord's configuration: one program per component."""
    programs = [
        {
            "name": component.name,
            "argv": command(component, target, binaries),
            "env": {
                **component.env(target),
                **(secrets if component.name == "sample_app" else {}),
            },
            "directory": ROOT,
        }
        for component in NATIVE
    ]
    stop_timeout = parse_duration(target.settings.timing.stop_timeout)
    return render_template(
        "supervisor/supervisord.conf.j2",
        target=target,
        programs=programs,
        stop_seconds=max(1, round(stop_timeout.total_seconds())),
    )


def render_template(name: str, **values: Any) -> str:
    """One template's text. Raises jinja2.UndefinedError for a value that is not given."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 -- YAML and INI, quoted by the filters below
    )
    environment.filters |= {
        "yaml": _yaml,
        "conf": _conf,
        "command": _command,
        "environment": _environment,
    }
    return environment.get_template(name).render(**values)


def _yaml(value: Any) -> str:
    """A YAML scalar or flow list: JSON is one, except that the collector expands `$` in it."""
    return json.dumps(value).replace("$", "$$")


def _conf(value: object) -> str:
    """Text in supervisord's configuration, where `%` begins an expansion."""
    return str(value).replace("%", "%%")


def _command(argv: list[str]) -> str:
    return _conf(shlex.join(argv))


def _environment(variables: Mapping[str, str]) -> str:
    """`NAME="value"` pairs, quoted for supervisor's shlex-based reader."""
    pairs = []
    for name, value in sorted(variables.items()):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"')
        pairs.append(f'{name}="{_conf(escaped)}"')
    return ",".join(pairs)
