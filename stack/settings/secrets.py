"""Secrets of the local runtimes: generated on first start, in a file that only its owner reads."""

from __future__ import annotations

import base64
import json
import os
import secrets
import stat
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from stack.common import exclusive_lock

GRAFANA_PASSWORD = "GF_SECURITY_ADMIN_PASSWORD"  # noqa: S105 -- the name of a variable
SAMPLE_APP_SECRETS = ("LOGSTACK_SAMPLE_SECRET_KEY", "LOGSTACK_SAMPLE_PASSWORD")


class SecretsError(Exception):
    """The secrets file cannot be used; the text says why and what to do."""


def sample_app_secrets(data_dir: Path) -> dict[str, str]:
    """The sample app's secrets as variables; missing ones are generated. Raises SecretsError."""
    return _load_or_generate(
        data_dir, {name: lambda: secrets.token_urlsafe(32) for name in SAMPLE_APP_SECRETS}
    )


def grafana_secrets(data_dir: Path) -> dict[str, str]:
    """The password of Grafana's user `admin` as a variable; generated on first use."""
    return _load_or_generate(data_dir, {GRAFANA_PASSWORD: lambda: secrets.token_urlsafe(24)})


def archive_secrets(
    data_dir: Path, environ: Mapping[str, str] = os.environ, *, endpoint: str = ""
) -> dict[str, str]:
    """The archive's keys as variables, for clients of the object store. Raises SecretsError.

    Each is `key:secret` of the object store; the signing key is 32 bytes in base64. When the
    environment sets one of the store's keys, the others come from there or are empty: a machine
    with only the writer's key must not use a reader's. Otherwise they are the local store's.

    A signing key is generated for a local store only. With `endpoint` (archive.endpoint) or a key
    of the store in the environment, another machine may write the archive, and a new signing key
    would make all its manifests look forged: a missing one is an error.
    """
    given = any(environ.get(name) for name in STORE_KEYS)
    if not given and not endpoint:
        signing = _from_environment(environ, (SIGNING_KEY,)) or _load_or_generate(
            data_dir, {SIGNING_KEY: signing_key}
        )
        return {**local_store_secrets(data_dir, environ), **signing}
    path = secrets_file(data_dir)
    known = _read(path) if path.exists() else {}
    if not environ.get(SIGNING_KEY) and not known.get(SIGNING_KEY):
        raise SecretsError(
            f"{SIGNING_KEY}: expected the key that signs the manifests of this archive, got none "
            f"from the environment or {path}. Set it to the key of the machine that writes the "
            "archive. Only for a new archive, run: openssl rand -base64 32"
        )
    if given:
        known |= dict.fromkeys(STORE_KEYS, "")
    return {name: environ.get(name) or known.get(name, "") for name in (*STORE_KEYS, SIGNING_KEY)}


def local_store_secrets(data_dir: Path, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The keys to start the local store with: from the environment, else generated."""
    given = _from_environment(environ, STORE_KEYS)
    made = dict.fromkeys((name for name in STORE_KEYS if name not in given), access_key)
    return {**_load_or_generate(data_dir, made), **given}


def access_key() -> str:
    """A new key of an object store, as `key:secret`."""
    return f"{secrets.token_hex(10)}:{secrets.token_urlsafe(32)}"


def signing_key() -> str:
    """A new Ed25519 key: 32 bytes in base64."""
    return base64.b64encode(secrets.token_bytes(32)).decode()


STORE_KEYS = ("LOGSTACK_ARCHIVE_WRITER", "LOGSTACK_ARCHIVE_READER", "LOGSTACK_ARCHIVE_ADMIN")
SIGNING_KEY = "LOGSTACK_ARCHIVE_SIGNING_KEY"
# Of the keys of all objects that the writer stores.
WRITER_PREFIXES = ("v1/", "probes/")
ARCHIVE_SECRETS: dict[str, Callable[[], str]] = {
    **dict.fromkeys(STORE_KEYS, access_key),
    SIGNING_KEY: signing_key,
}


def _from_environment(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    return {name: environ[name] for name in names if environ.get(name)}


def _load_or_generate(data_dir: Path, makers: Mapping[str, Callable[[], str]]) -> dict[str, str]:
    """The values of the file; missing ones are generated and written to it.

    Of processes that miss the same values at once, one generates them and the others read them.
    """
    path = secrets_file(data_dir)
    known = _read(path) if path.exists() else {}
    if any(not known.get(name) for name in makers):
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        with exclusive_lock(data_dir):
            known = _read(path) if path.exists() else {}
            missing = [name for name in makers if not known.get(name)]
            known |= {name: makers[name]() for name in missing}
            if missing:
                write_private(path, json.dumps(known, indent=2) + "\n")
    return {name: known[name] for name in makers}


def secrets_file(data_dir: Path) -> Path:
    """The file of the secrets of a data folder."""
    return data_dir / "secrets.json"


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 in one step: readers see the old text or the new one.

    When several processes write at once, the last complete text stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    scratch = Path(name)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        scratch.rename(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _read(path: Path) -> dict[str, str]:
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        raise SecretsError(f"{path}: expected mode 0600, got {mode:04o}. Run: chmod 600 '{path}'")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        values = None
    if not isinstance(values, dict) or not all(isinstance(text, str) for text in values.values()):
        raise SecretsError(
            f"{path}: expected a JSON object of secrets, got something else. "
            "Restore it, or remove it to generate new secrets"
        )
    return values
