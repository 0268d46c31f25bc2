"""Secrets of the local runtimes: made on first start, in a file that only its owner reads."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

GRAFANA_PASSWORD = "GF_SECURITY_ADMIN_PASSWORD"  # noqa: S105 -- the name of a variable
SAMPLE_APP_SECRETS = ("LOGSTACK_SAMPLE_SECRET_KEY", "LOGSTACK_SAMPLE_PASSWORD")


class SecretsError(Exception):
    """The secrets file cannot be used; the text says why and what to do."""


def sample_app_secrets(data_dir: Path) -> dict[str, str]:
    """The sample app's secrets as variables; missing ones are made. Raises SecretsError."""
    return _known_or_made(
        data_dir, {name: lambda: secrets.token_urlsafe(32) for name in SAMPLE_APP_SECRETS}
    )


def grafana_secrets(data_dir: Path) -> dict[str, str]:
    """The password of Grafana's user `admin` as its variable; made on first use."""
    return _known_or_made(data_dir, {GRAFANA_PASSWORD: lambda: secrets.token_urlsafe(24)})


def archive_secrets(data_dir: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The archive's keys as variables, for who uses the object store. Raises SecretsError.

    Each is `key:secret` of the object store, and the signing key 32 bytes in base64. Where the
    environment gives one of the store's keys, the others are those that it gives, or empty: a
    machine that has only the writer's key must not find a reader's. Otherwise they are the local
    store's.
    """
    secrets_of_store = local_store_secrets(data_dir, environ)
    if any(environ.get(name) for name in STORE_KEYS):
        return secrets_of_store | {name: environ.get(name, "") for name in STORE_KEYS}
    return secrets_of_store


def local_store_secrets(data_dir: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """All keys, for who starts the local store: from the environment, else made."""
    given = {name: environ[name] for name in ARCHIVE_SECRETS if environ.get(name)}
    made = {name: make for name, make in ARCHIVE_SECRETS.items() if name not in given}
    return {**_known_or_made(data_dir, made), **given}


def access_key() -> str:
    """A key of an object store, as `key:secret`."""
    return f"{secrets.token_hex(10)}:{secrets.token_urlsafe(32)}"


def signing_key() -> str:
    """32 bytes in base64, for an Ed25519 key."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


STORE_KEYS = ("LOGSTACK_ARCHIVE_WRITER", "LOGSTACK_ARCHIVE_READER", "LOGSTACK_ARCHIVE_ADMIN")
ARCHIVE_SECRETS: dict[str, Callable[[], str]] = {
    **dict.fromkeys(STORE_KEYS, access_key),
    "LOGSTACK_ARCHIVE_SIGNING_KEY": signing_key,
}


def _known_or_made(data_dir: Path, makers: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """The values of the file; those that it lacks are made and written to it."""
    path = secrets_file(data_dir)
    known = _read(path) if path.exists() else {}
    missing = [name for name in makers if not known.get(name)]
    if missing:
        known |= {name: makers[name]() for name in missing}
        write_private(path, json.dumps(known, indent=2) + "\n")
    return {name: known[name] for name in makers}


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
