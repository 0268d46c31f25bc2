"""`logstack settings`: every value and where it comes from."""

from __future__ import annotations

import typer
from rich.table import Table

from stack import settings
from stack.cli import text
from stack.cli.console import AsJson, out, print_json


def register(app: typer.Typer) -> None:
    app.command("settings")(show)


def show(as_json: AsJson = False) -> None:
    """List every setting, its value and where it comes from.

    Example: LOGSTACK_PORTS__OFFSET=1000 logstack settings
    """
    layers = settings.read_layers()
    values = settings.validate(layers).model_dump(mode="json")
    rows = [
        (key, values[section][name], settings.origin(layers, section, name))
        for key in settings.setting_keys()
        for section, _, name in [key.partition(".")]
    ]
    if as_json:
        print_json({key: {"value": value, "from": where} for key, value, where in rows})
        return
    table = Table("setting", "value", "from", box=None, pad_edge=False, header_style="bold")
    for key, value, where in rows:
        table.add_row(key, text.as_json(value), where)
    out.print(table)
