"""The secrets of an environment: generated once, kept in one file of mode 0600, read by name.

`logstack secrets` calls `init` and `rotate`; a plan reads them with `read`. The variable
LOGSTACK_SECRET_<NAME> overrides the file.
"""

from __future__ import annotations

import json
import os
import re
import secrets as random
import stat
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from stack.engines.kinds import kind_of
from stack.hosts import HostsError
from stack.hosts.certificates import Authority, is_valid, issue, make_authority
from stack.hosts.roles import gateway_names, hosts_with_agent, hosts_with_role, runs_grafana
from stack.settings import ROOT, Settings
from stack.settings.secrets import ARCHIVE_SECRETS, write_private

PREFIX = "LOGSTACK_SECRET_"
SALT = "gateway_salt"
CA_CERTIFICATE, CA_KEY = "ca_certificate", "ca_key"
LOKI_STORAGE = "loki_storage"  # key:secret of Loki's object store; never generated
GRAFANA_ADMIN = "grafana_admin"
# The names of the archive's keys, by the archiver's variables.
ARCHIVE_KEYS = {name: name.removeprefix("LOGSTACK_").lower() for name in ARCHIVE_SECRETS}
ARCHIVE_SIGNING_KEY = "archive_signing_key"


def writer_secret(host: str) -> str:
    """The name of the secret that holds a host's password for writing."""
    return f"writer_{host}"


def reader_secret(user: str) -> str:
    """The name of the secret that holds a user's password for reading."""
    return f"reader_{user}"


def variable_of(name: str) -> str:
    """The variable of a secret: LOGSTACK_SECRET_WRITER_APP_1 for `writer_app-1`."""
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def secret(secrets: Mapping[str, str], name: str) -> str:
    """One secret. Raises HostsError, which says how to generate it."""
    if not secrets.get(name):
        raise HostsError(
            f"secret {name}: expected a value, got none. Run: ./logstack secrets init ENV, "
            f"or set {variable_of(name)}"
        )
    return secrets[name]


def secrets_path(
    environment: str, environ: Mapping[str, str] = os.environ, root: Path = ROOT
) -> Path:
    """LOGSTACK_SECRETS, or secrets.<environment>.json in the checkout, which git ignores."""
    path = environ.get("LOGSTACK_SECRETS")
    return root / Path(path).expanduser() if path else root / f"secrets.{environment}.json"


def generated_names(settings: Settings) -> list[str]:
    """Names of the secrets that the fleet needs and `init` generates, certificates last."""
    servers = hosts_with_role(settings, "log_server")
    return [
        SALT,
        *(writer_secret(name) for name in hosts_with_agent(settings)),
        *(reader_secret(name) for name in settings.gateway.readers),
        *_archive_keys(settings),
        *([GRAFANA_ADMIN] if runs_grafana(settings) else []),
        *(CA_CERTIFICATE, CA_KEY),
        *(f"certificate_{name}" for name in servers),
        *(f"certificate_key_{name}" for name in servers),
    ]


def _archive_keys(settings: Settings) -> list[str]:
    """The generated ones: keys of an external store are not."""
    return [ARCHIVE_SIGNING_KEY] if settings.archive.endpoint else list(ARCHIVE_KEYS.values())


def external_names(settings: Settings) -> list[str]:
    """Names of the secrets that the operator has to provide: keys of external stores."""
    archive = [ARCHIVE_KEYS["LOGSTACK_ARCHIVE_WRITER"]] if settings.archive.endpoint else []
    shared = kind_of(settings).is_cluster and settings.loki_storage.bucket
    return [*archive, *([LOKI_STORAGE] if shared else [])]


def read_all(
    path: Path, settings: Settings, environ: Mapping[str, str] = os.environ, remedy: str = ""
) -> dict[str, str]:
    """As `read`, but every secret must exist. Raises HostsError, which names all missing ones.

    `remedy`: the command that generates them, where it is not `logstack secrets init`.
    """
    known = read(path, settings, environ)
    generated = [name for name in generated_names(settings) if not known.get(name)]
    external = [name for name in external_names(settings) if not known.get(name)]
    if generated or external:
        hints = []
        if external:
            variables = ", ".join(variable_of(name) for name in external)
            hints.append(f"Set {variables} to key:secret of your store")
        if generated:
            command = remedy or f"./logstack secrets init {settings.stack.environment}"
            hints.append(f"Run: {command}")
        raise HostsError(
            f"secrets: expected {', '.join([*generated, *external])}, got none, neither in "
            f"{path.name} nor in the environment. {'. '.join(hints)}"
        )
    return known


def read(path: Path, settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The secrets of the file, overridden by those of the environment. Raises HostsError."""
    values = read_file(path) if path.exists() else {}
    names = (*generated_names(settings), LOKI_STORAGE, *ARCHIVE_KEYS.values())
    variables = {name: environ.get(variable_of(name)) for name in names}
    return {**values, **{name: value for name, value in variables.items() if value}}


def init(path: Path, settings: Settings, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Generate missing or expired secrets; returns their names. A second run changes nothing."""
    known = {**read(path, settings, environ)}
    for name in _outdated(read_file(path) if path.exists() else {}, settings):
        del known[name]
    made: dict[str, str] = {}
    for name in generated_names(settings):
        if not known.get(name) and name not in made:
            made |= _generate(name, settings, {**known, **made})
    if made:
        _write(path, {**(read_file(path) if path.exists() else {}), **made})
    return list(made)


def _outdated(kept: Mapping[str, str], settings: Settings) -> list[str]:
    """Certificates in the file that are for other addresses or expire soon."""
    servers = {f"certificate_{name}": name for name in hosts_with_role(settings, "log_server")}
    now = datetime.now(UTC)
    return [
        name
        for name, server in servers.items()
        if kept.get(name)
        and not is_valid(kept[name], gateway_names(settings, settings.hosts[server]), now)
    ]


def rotate(
    path: Path, settings: Settings, name: str, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Replace one secret, with a certificate also its key; returns the names.

    Raises HostsError for one that is unknown, or that the operator provides.
    """
    names = generated_names(settings)
    variable = variable_of(name)
    if environ.get(variable) or name in external_names(settings):
        raise HostsError(
            f"cannot rotate secret {name}: it does not come from {path.name}. Change the value of "
            f"{variable}"
        )
    if name not in names:
        raise HostsError(f"secret: expected one of {', '.join(names)}, got {name!r}")
    known = read_file(path) if path.exists() else {}
    made = _generate(name, settings, known)
    _write(path, {**known, **made})
    return list(made)


def read_file(path: Path) -> dict[str, str]:
    """The secrets of a file, with sops decrypted if its name ends so. Raises HostsError."""
    if path.name.endswith(".sops.json"):
        text = _decrypt(path)
    else:
        if not path.is_file():
            raise HostsError(f"{path}: expected a file of secrets, got another kind of file")
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise HostsError(f"{path}: expected mode 0600, got {mode:04o}. Run: chmod 600 '{path}'")
        text = path.read_text(encoding="utf-8")
    expected = f"{path}: expected a JSON object whose values are strings, got"
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise HostsError(f"{expected} no JSON (line {error.lineno})") from None
    if not isinstance(values, dict):
        raise HostsError(f"{expected} another value")
    if others := [name for name, item in values.items() if not isinstance(item, str)]:
        raise HostsError(f"{expected} another value for {', '.join(others)}")
    return values


def _decrypt(path: Path) -> str:
    argv = ["sops", "--decrypt", "--output-type", "json", str(path)]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        raise HostsError(f"cannot decrypt {path}: sops is not on PATH") from None
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostsError(f"cannot decrypt {path}: sops failed: {reason}")
    return result.stdout


def _write(path: Path, values: Mapping[str, str]) -> None:
    if path.name.endswith(".sops.json"):
        raise HostsError(
            f"cannot write {path}: it is encrypted with sops. Decrypt it, set LOGSTACK_SECRETS to "
            "the plain file, run the command again, and encrypt the file"
        )
    write_private(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def _generate(name: str, settings: Settings, known: Mapping[str, str]) -> dict[str, str]:
    makers: dict[str, Callable[[], dict[str, str]]] = {
        CA_CERTIFICATE: lambda: _authority(settings),
        CA_KEY: lambda: _authority(settings),
        **{
            name: lambda name=name, make=ARCHIVE_SECRETS[variable]: {name: make()}  # type: ignore[misc]
            for variable, name in ARCHIVE_KEYS.items()
        },
    }
    if name in makers:
        return makers[name]()
    if name.startswith("certificate_"):
        server = name.removeprefix("certificate_").removeprefix("key_")
        authority = Authority(secret(known, CA_CERTIFICATE), secret(known, CA_KEY))
        issued = issue(authority, server, gateway_names(settings, settings.hosts[server]))
        return {
            f"certificate_{server}": issued.certificate,
            f"certificate_key_{server}": issued.key,
        }
    return {name: random.token_urlsafe(32)}


def _authority(settings: Settings) -> dict[str, str]:
    """A new authority, and new certificates for every log server: it invalidates the old ones."""
    authority = make_authority(settings.stack.environment)
    made = {CA_CERTIFICATE: authority.certificate, CA_KEY: authority.key}
    for server in hosts_with_role(settings, "log_server"):
        issued = issue(authority, server, gateway_names(settings, settings.hosts[server]))
        made[f"certificate_{server}"] = issued.certificate
        made[f"certificate_key_{server}"] = issued.key
    return made
