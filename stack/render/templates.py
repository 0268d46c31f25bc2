"""Renders templates, with filters that quote values for each format. The only user of Jinja2."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.settings.units import go_duration, is_ip_address, join_host_port, parse_bytes

TEMPLATES = Path(__file__).with_name("templates")


# supervisord starts a comment at ` #` and ` ;`, and strips spaces at both ends.
UNREADABLE = re.compile(r"\s[#;]|^\s|\s$|[\x00-\x1f\x7f\ud800-\udfff]")


class RenderError(Exception):
    """A value cannot be written in the program's format; the text says which and why."""


def render_template(name: str, **values: Any) -> str:
    """The text of a template. Raises jinja2.UndefinedError for a missing value."""
    # Imported here: most commands render nothing.
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 -- YAML and INI, quoted by the filters below
    )
    environment.tests["ip_address"] = is_ip_address
    environment.filters |= {
        "yaml": _yaml,
        "conf": _conf,
        "command": _command,
        "environment": _environment,
        "systemd": _systemd,
        "systemd_variable": _systemd_variable,
        "with_port": join_host_port,
        "duration": go_duration,
        "bytes": parse_bytes,
    }
    return environment.get_template(name).render(**values)


def _yaml(value: Any) -> str:
    """A YAML scalar or flow list. It is JSON with `$$` for `$`, which the collector expands.

    Characters are not escaped, because YAML has no pairs of `\\u` escapes.
    """
    text = json.dumps(value, ensure_ascii=False).replace("$", "$$")
    return re.sub(r"[\x7f-\x9f]", lambda match: f"\\x{ord(match[0]):02x}", text)


def _systemd(text: str) -> str:
    """One word of a command line in a unit."""
    return _systemd_variable(text).replace("$", "$$")


def _systemd_variable(text: str) -> str:
    """An assignment in a unit, where `$` needs no escape."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _conf(value: object) -> str:
    """Text in supervisord's configuration, which expands `%`. Raises RenderError."""
    text = str(value)
    if UNREADABLE.search(text):
        raise RenderError(
            f"supervisor: expected a path without ` #`, ` ;`, control characters and spaces at its "
            f"ends, got {text!r}. Move the checkout, or set paths.run, paths.data and paths.cache "
            "to other folders"
        )
    return text.replace("%", "%%")


def _command(argv: list[str]) -> str:
    return _conf(shlex.join(argv))


def _environment(variables: Mapping[str, str]) -> str:
    """`NAME="value"` pairs for supervisord, which has no escapes and strips quotes at the ends.

    Raises RenderError without the value, which may be a secret.
    """
    pairs = []
    for name, value in sorted(variables.items()):
        quote = "'" if '"' in value else '"'
        if quote in value or value.strip("'\"") != value or UNREADABLE.search(value):
            raise RenderError(
                f"{name}: expected a value without quotes of both kinds, quotes and spaces at its "
                "ends, ` #`, ` ;` and control characters, which supervisord cannot read"
            )
        pairs.append(f"{name}={quote}{_conf(value)}{quote}")
    return ",".join(pairs)
