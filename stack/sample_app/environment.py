"""The environment variables that configure the sample app, read once and typed.

settings.py and the `seed` command call this. A missing or malformed variable is rejected with its
name, the expected value and the command that sets it. Secrets have no default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

PREFIX = "LOGSTACK_SAMPLE_"
SHORTEST_SECRET_KEY = 32
SHORTEST_PASSWORD = 8
REMEDY = "make up (generates it), or: export {name}=..."


@dataclass(frozen=True)
class Environment:
    """Everything that settings.py needs to know from outside."""

    secret_key: str
    database: Path
    log_file: Path | None
    environment: str
    service: str
    allowed_hosts: tuple[str, ...]


def read_environment(variables: Mapping[str, str]) -> Environment:
    """Return the typed configuration; raises ImproperlyConfigured with the invalid variable."""
    log_file = variables.get(f"{PREFIX}LOG_FILE", "").strip()
    hosts = variables.get(f"{PREFIX}ALLOWED_HOSTS", "127.0.0.1,localhost,[::1]")
    return Environment(
        secret_key=_required(
            variables, "SECRET_KEY", SHORTEST_SECRET_KEY, "Django's key for signing sessions"
        ),
        database=Path(_required(variables, "DATABASE", 1, "the path of the SQLite file")),
        log_file=Path(log_file) if log_file else None,
        environment=variables.get(f"{PREFIX}ENVIRONMENT", "").strip() or "dev",
        service=variables.get(f"{PREFIX}SERVICE", "").strip() or "erp-backend-api",
        allowed_hosts=tuple(host.strip() for host in hosts.split(",") if host.strip()),
    )


def read_password(variables: Mapping[str, str]) -> str:
    """Return the password of the demo users, or raise ImproperlyConfigured."""
    return _required(variables, "PASSWORD", SHORTEST_PASSWORD, "the password of the demo users")


def _required(variables: Mapping[str, str], key: str, shortest: int, meaning: str) -> str:
    name = f"{PREFIX}{key}"
    value = variables.get(name, "")
    if len(value.strip()) >= shortest:
        return value
    got = f"{len(value)} characters" if value else "nothing"
    raise ImproperlyConfigured(
        f"{name}: expected {meaning}, at least {shortest} characters, got {got}. "
        f"Run: {REMEDY.format(name=name)}"
    )
