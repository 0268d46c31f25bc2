"""The archive on a host: what `logstack-archiver.service` and `logstack hosts verify` run there.

A host has neither a checkout nor a virtual environment: stack/artifacts/bundles.py packs this
module with its imports, for any supported Python of the host. `archiver_files` is called to plan a
host, the rest runs on the host.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from stack.archive import ArchiveError, checks, service, verify
from stack.archive.context import Archive, open_with
from stack.common.counted import counted
from stack.engines import EngineError
from stack.settings import Settings
from stack.settings.secrets import ARCHIVE_SECRETS
from stack.settings.tables import Archive as ArchiveTable
from stack.settings.tables import Limits, Ports, Retention, StackSettings, Timing
from stack.settings.targets import CONFIG_DIR, host

SETTINGS_FILE, KEYS_FILE = "settings.json", "keys.json"
TABLES: Mapping[str, type[BaseModel]] = {
    "stack": StackSettings,
    "ports": Ports,
    "retention": Retention,
    "limits": Limits,
    "archive": ArchiveTable,
    "timing": Timing,
}
# Only these settings reach the archiver, so that a change of others does not restart it.
USED: Mapping[str, tuple[str, ...]] = {
    "stack": ("engine", "environment", "host"),
    "ports": ("offset", "victorialogs", "loki", "restored", "seaweedfs"),
    "retention": tuple(Retention.model_fields),
    "limits": ("hot_disk",),
    "archive": tuple(ArchiveTable.model_fields),
    "timing": ("start_timeout",),
}


class OnHostError(ArchiveError):
    """The archiver's files cannot be used; the text names the file and the cause."""


def archiver_files(settings: Settings, keys: Mapping[str, str]) -> dict[str, str]:
    """The texts of `settings.json`, and of `keys.json`, which is secret."""
    tables = {
        table: getattr(settings, table).model_dump(mode="json", include=set(names))
        for table, names in USED.items()
    }
    return {
        SETTINGS_FILE: json.dumps(tables, indent=2, sort_keys=True) + "\n",
        KEYS_FILE: json.dumps(dict(keys), indent=2, sort_keys=True) + "\n",
    }


def open_archive(folder: Path = CONFIG_DIR / "archiver") -> Archive:
    """The archive of this host. Raises ArchiveError."""
    settings = _settings(_read(folder / SETTINGS_FILE))
    keys = _read(folder / KEYS_FILE)
    if missing := sorted(set(ARCHIVE_SECRETS) - set(keys)):
        raise OnHostError(f"{folder / KEYS_FILE}: expected {', '.join(missing)}, got nothing")
    target = host(settings, settings.stack.host, archived=True, runs_engine=True)
    return open_with(target, keys, None)


def main(arguments: list[str]) -> int:
    """The exit status: 0, or 1 when a check failed. Raises SystemExit(2) for a usage error."""
    parser = argparse.ArgumentParser(prog="logstack-archiver", allow_abbrev=False)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, text: str, run: Callable[[argparse.Namespace], int]) -> Any:
        command = commands.add_parser(name, help=text, allow_abbrev=False)
        command.set_defaults(run=run)
        return command

    add("run", "archive at every interval until stopped", lambda given: _run())
    add("once", "archive once", lambda given: _once())
    deep = add("verify", "verify the archive", lambda given: _verify(deep=given.deep))
    deep.add_argument("--deep", action="store_true", help="read every part back")
    add("doctor", "print the checks as JSON", lambda given: _doctor())
    check = add("check", "validate a folder of settings", lambda given: _check(given.folder))
    check.add_argument("folder", type=Path)
    given = parser.parse_args(arguments)
    try:
        status: int = given.run(given)
        return status
    except (ArchiveError, EngineError, OSError) as error:
        _print(str(error))
        return 1


def _run() -> int:
    service.run_forever(open_archive, _print)
    return 0


def _once() -> int:
    exported = service.run(open_archive()).exported
    _print(f"archived {counted(exported.records, 'record')} of {counted(exported.hours, 'hour')}")
    return 0


def _verify(*, deep: bool) -> int:
    report = verify.run(open_archive(), deep=deep)
    _print(json.dumps(report.as_dict(), indent=2))
    return 0 if report.ok else 1


def _doctor() -> int:
    findings = list(checks.archive_findings(open_archive()))
    _print(json.dumps([asdict(item) for item in findings]))
    return 0 if all(item.ok for item in findings) else 1


def _check(folder: Path) -> int:
    open_archive(folder)
    return 0


def _print(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _settings(values: Mapping[str, Any]) -> Settings:
    """The tables that the archiver uses, which archiver_files() wrote from validated settings."""
    tables: dict[str, Any] = {
        name: model.model_validate(values[name])
        if set(values[name]) == set(model.model_fields)
        else model.model_construct(**values[name])
        for name, model in TABLES.items()
    }
    return Settings.model_construct(**tables)


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise OnHostError(f"{path}: expected a readable JSON file, got: {error}") from None
    if not isinstance(values, dict):
        raise OnHostError(f"{path}: expected a JSON object, got something else")
    return values
