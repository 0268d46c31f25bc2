"""Secrets of the local runtimes: made on first start, in a file that only its owner reads."""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path

SAMPLE_APP_SECRETS = ("LOGSTACK_SAMPLE_SECRET_KEY", "LOGSTACK_SAMPLE_PASSWORD")


class SecretsError(Exception):
    """The secrets file cannot be used; the text says why and what to do."""


def sample_app_secrets(data_dir: Path) -> dict[str, str]:
    """The sample app's secrets as variables; missing ones are made. Raises SecretsError."""
    path = secrets_file(data_dir)
    known = _read(path) if path.exists() else {}
    missing = [name for name in SAMPLE_APP_SECRETS if not known.get(name)]
    if missing:
        known |= {name: secrets.token_urlsafe(32) for name in missing}
        write_private(path, json.dumps(known, indent=2) + "\n")
    return {name: known[name] for name in SAMPLE_APP_SECRETS}


def secrets_file(data_dir: Path) -> Path:
    return data_dir / "secrets.json"


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step: readers see the old text or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    scratch = path.with_name(f".{path.name}.new")
    scratch.unlink(missing_ok=True)
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    scratch.rename(path)


def _read(path: Path) -> dict[str, str]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SecretsError(f"{path}: wanted mode 0600, found {mode:04o}. Type: chmod 600 '{path}'")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
        raise SecretsError(
            f"{path}: wanted a JSON object of secrets, found something else. "
            "Restore it, or remove it to have new secrets made"
        )
    return values
