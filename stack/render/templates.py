"""Renders a template, with filters that quote values for each format. The only user of Jinja2."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.settings.units import go_duration, is_ip_address, join_host_port, parse_bytes

TEMPLATES = Path(__file__).with_name("templates")


# supervisord takes ` #` and ` ;` for the start of a comment and cuts spaces at both ends.
UNREADABLE = re.compile(r"\s[#;]|^\s|\s$|[\x00-\x1f\x7f\ud800-\udfff]")


class RenderError(Exception):
    """A value cannot be written so that the program reads it back; the text says which."""


def render_template(name: str, **values: Any) -> str:
    """One template's text. Raises jinja2.UndefinedError for a value that is not given."""
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
    """A YAML scalar or flow list: JSON is one, except that the collector expands `$` in it.

    Characters are written as they are, because YAML knows no pairs of `\\u` escapes.
    """
    text = json.dumps(value, ensure_ascii=False).replace("$", "$$")
    return re.sub(r"[\x7f-\x9f]", lambda match: f"\\x{ord(match[0]):02x}", text)


def _systemd(text: str) -> str:
    """One word of a command line in a unit."""
    return _systemd_variable(text).replace("$", "$$")


def _systemd_variable(text: str) -> str:
    """An assignment in a unit, where `$` stands for itself."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


def _conf(value: object) -> str:
    """Text in supervisord's configuration, where `%` begins an expansion. Raises RenderError."""
    text = str(value)
    if UNREADABLE.search(text):
        raise RenderError(
            f"wanted a path that supervisord can read, found {text!r}: there must be no ` #`, ` ;` "
            "or control character in it and no space at either end. Move the checkout, or set "
            "paths.run, paths.data and paths.cache to other folders"
        )
    return text.replace("%", "%%")


def _command(argv: list[str]) -> str:
    return _conf(shlex.join(argv))


def _environment(variables: Mapping[str, str]) -> str:
    """`NAME="value"` pairs for supervisord, which knows no escapes and strips quotes at the ends.

    Raises RenderError, which does not show the value: it may be a secret.
    """
    pairs = []
    for name, value in sorted(variables.items()):
        quote = "'" if '"' in value else '"'
        if quote in value or value.strip("'\"") != value or UNREADABLE.search(value):
            raise RenderError(
                f"{name}: wanted a value that supervisord can read: not with both kinds of quotes, "
                "a quote or space at either end, ` #`, ` ;` or a control character"
            )
        pairs.append(f"{name}={quote}{_conf(value)}{quote}")
    return ",".join(pairs)
