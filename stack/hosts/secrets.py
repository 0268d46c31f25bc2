"""The secrets of an environment: made once, kept in one file of mode 0600, read by name.

`logstack secrets` calls `init` and `rotate`; a plan reads them with `read`. A secret of the
environment (LOGSTACK_SECRET_<NAME>) wins over the file.
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
from stack.hosts.certificates import Authority, is_good, issue, make_authority
from stack.hosts.roles import gateway_names, runs_grafana, with_agent, with_role
from stack.settings import ROOT, Settings
from stack.settings.secrets import ARCHIVE_SECRETS, write_private

PREFIX = "LOGSTACK_SECRET_"
SALT = "gateway_salt"
CA_CERTIFICATE, CA_KEY = "ca_certificate", "ca_key"
LOKI_STORAGE = "loki_storage"  # key:secret of Loki's object store; given, never made
GRAFANA_ADMIN = "grafana_admin"
# The archive's keys by the variables that the archiver knows them by.
ARCHIVE_KEYS = {name: name.removeprefix("LOGSTACK_").lower() for name in ARCHIVE_SECRETS}
ARCHIVE_SIGNING_KEY = "archive_signing_key"


def writer_secret(host: str) -> str:
    """The name of the password that a host writes with."""
    return f"writer_{host}"


def reader_secret(person: str) -> str:
    return f"reader_{person}"


def variable_of(name: str) -> str:
    """The environment variable that gives a secret: `writer_app-1` is LOGSTACK_SECRET_WRITER_APP_1."""  # noqa: E501
    return PREFIX + re.sub(r"[^A-Z0-9]", "_", name.upper())


def secret(secrets: Mapping[str, str], name: str) -> str:
    """One secret. Raises HostsError, which says how to make it."""
    if not secrets.get(name):
        raise HostsError(
            f"secret {name}: wanted a value, found nothing. Type: ./logstack secrets init ENV, "
            f"or set {variable_of(name)}"
        )
    return secrets[name]


def secrets_path(
    environment: str, environ: Mapping[str, str] = os.environ, root: Path = ROOT
) -> Path:
    """LOGSTACK_SECRETS, or secrets.<environment>.json in the checkout, which git ignores."""
    given = environ.get("LOGSTACK_SECRETS")
    return root / Path(given).expanduser() if given else root / f"secrets.{environment}.json"


def wanted(settings: Settings) -> list[str]:
    """Names of every secret that the fleet needs, certificates last."""
    servers = with_role(settings, "log_server")
    return [
        SALT,
        *(writer_secret(name) for name in with_agent(settings)),
        *(reader_secret(name) for name in settings.gateway.readers),
        *_archive_keys(settings),
        *([GRAFANA_ADMIN] if runs_grafana(settings) else []),
        *(CA_CERTIFICATE, CA_KEY),
        *(f"certificate_{name}" for name in servers),
        *(f"certificate_key_{name}" for name in servers),
    ]


def _archive_keys(settings: Settings) -> list[str]:
    """What is made: the keys of a store of others are given."""
    return [ARCHIVE_SIGNING_KEY] if settings.archive.endpoint else list(ARCHIVE_KEYS.values())


def given(settings: Settings) -> list[str]:
    """Names of the secrets that the fleet needs and that nothing here can make: keys of stores of
    others."""
    archive = [ARCHIVE_KEYS["LOGSTACK_ARCHIVE_WRITER"]] if settings.archive.endpoint else []
    shared = kind_of(settings).is_cluster and settings.loki_storage.bucket
    return [*archive, *([LOKI_STORAGE] if shared else [])]


def read_all(
    path: Path, settings: Settings, environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """As `read`, for who needs every secret. Raises HostsError, which names all that is missing."""
    known = read(path, settings, environ)
    make = [name for name in wanted(settings) if not known.get(name)]
    ask = [variable_of(name) for name in given(settings) if not known.get(name)]
    if make or ask:
        environment = settings.stack.environment
        hints = [f"Type: ./logstack secrets init {environment}"] if make else []
        hints += [f"Set {', '.join(ask)} to key:secret of your store"] if ask else []
        missing = [*make, *(name for name in given(settings) if not known.get(name))]
        raise HostsError(
            f"secrets: wanted {', '.join(missing)}, found none in {path.name} and none in the "
            f"environment. {'. '.join(hints)}"
        )
    return known


def read(path: Path, settings: Settings, environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Everything in the file, and over it what the environment gives. Raises HostsError."""
    values = read_file(path) if path.exists() else {}
    names = (*wanted(settings), LOKI_STORAGE, *ARCHIVE_KEYS.values())
    given = {name: environ[variable_of(name)] for name in names if environ.get(variable_of(name))}
    return {**values, **given}


def init(path: Path, settings: Settings, environ: Mapping[str, str] = os.environ) -> list[str]:
    """Make what is missing or worth nothing any more; the names of what was made.

    A second run makes nothing.
    """
    known = {**read(path, settings, environ)}
    for name in _outdated(read_file(path) if path.exists() else {}, settings):
        del known[name]
    made: dict[str, str] = {}
    for name in wanted(settings):
        if not known.get(name) and name not in made:
            made |= _made(name, settings, {**known, **made})
    if made:
        _write(path, {**(read_file(path) if path.exists() else {}), **made})
    return list(made)


def _outdated(kept: Mapping[str, str], settings: Settings) -> list[str]:
    """Certificates that the file holds for other addresses, or that end soon."""
    servers = {f"certificate_{name}": name for name in with_role(settings, "log_server")}
    now = datetime.now(UTC)
    return [
        name
        for name, server in servers.items()
        if kept.get(name)
        and not is_good(kept[name], gateway_names(settings, settings.hosts[server]), now)
    ]


def rotate(
    path: Path, settings: Settings, name: str, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Make one secret anew, and with a certificate its key. The names of what was made.

    Raises HostsError for one that is unknown or given from outside.
    """
    names = wanted(settings)
    variable = variable_of(name)
    if environ.get(variable) or name in given(settings):
        raise HostsError(
            f"secret {name}: wanted one that is kept in {path.name}, found one that is given. "
            f"Change the value of {variable}"
        )
    if name not in names:
        raise HostsError(f"secret: wanted one of {', '.join(names)}, found {name!r}")
    known = read_file(path) if path.exists() else {}
    made = _made(name, settings, known)
    _write(path, {**known, **made})
    return list(made)


def read_file(path: Path) -> dict[str, str]:
    """The secrets of a file; one that sops encrypted is decrypted by it. Raises HostsError."""
    if path.name.endswith(".sops.json"):
        text = _decrypted(path)
    else:
        mode = stat.S_IMODE(path.stat().st_mode)
        if mode & 0o077:
            raise HostsError(
                f"{path}: wanted mode 0600, found {mode:04o}. Type: chmod 600 '{path}'"
            )
        text = path.read_text(encoding="utf-8")
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict) or not all(isinstance(item, str) for item in values.values()):
        raise HostsError(f"{path}: wanted a JSON object of texts, found something else")
    return values


def _decrypted(path: Path) -> str:
    argv = ["sops", "--decrypt", "--output-type", "json", str(path)]
    try:
        result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        raise HostsError(f"{path}: wanted the program sops to decrypt it, found none") from None
    if result.returncode != 0:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise HostsError(f"{path}: wanted that sops decrypts it, found: {reason}")
    return result.stdout


def _write(path: Path, values: Mapping[str, str]) -> None:
    if path.name.endswith(".sops.json"):
        raise HostsError(
            f"{path}: wanted a plain file to write to, found one of sops. Decrypt it, write to "
            "the plain file with LOGSTACK_SECRETS, and encrypt that again"
        )
    write_private(path, json.dumps(values, indent=2, sort_keys=True) + "\n")


def _made(name: str, settings: Settings, known: Mapping[str, str]) -> dict[str, str]:
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
    """A new authority, and certificates of it for every log server: old ones are worth nothing."""
    authority = make_authority(settings.stack.environment)
    made = {CA_CERTIFICATE: authority.certificate, CA_KEY: authority.key}
    for server in with_role(settings, "log_server"):
        issued = issue(authority, server, gateway_names(settings, settings.hosts[server]))
        made[f"certificate_{server}"] = issued.certificate
        made[f"certificate_key_{server}"] = issued.key
    return made
