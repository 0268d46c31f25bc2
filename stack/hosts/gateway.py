"""The gateway: who may do what, as a Caddyfile. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from stack.engines.kinds import kind_of
from stack.hosts import HostsError
from stack.hosts.roles import gateway_names, host_named, roles_of, runs_grafana, with_agent
from stack.hosts.secrets import SALT, reader_secret, secret, writer_secret
from stack.render.templates import render_template
from stack.settings import Settings
from stack.settings.targets import Target
from stack.settings.units import is_ip_address, join_host_port, parse_bytes

GRAFANA_PATH = "/grafana"
# Passwords are 32 random bytes, which no number of rounds makes harder to guess.
BCRYPT_COST = 10


# A record that has a field of its stream twice, which an OTLP body can have in its resource and in
# its record, ends VictoriaLogs 1.52 with a panic. Only an extra field is in a record once whatever
# the body says: the host, which is the writer's name. So it alone makes a stream here.


@dataclass(frozen=True)
class Entrance:
    """Paths that some people may use. `users` maps names to the hashes of their passwords.

    `headers` are what the engine gets, whatever the client sent. Where `is_fixed`, the client's
    query does not reach it either.
    """

    name: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    users: Mapping[str, str]
    upstream: str
    headers: Mapping[str, str]
    is_fixed: bool


def render_caddyfile(target: Target, name: str, secrets: Mapping[str, str]) -> str:
    """The gateway of the log server `name`."""
    settings = target.settings
    folder = target.config_dir("gateway")
    port = settings.ports.effective("gateway")
    names = gateway_names(settings, host_named(settings, name))
    has_grafana = runs_grafana(settings) and "dashboards" in roles_of(settings, name)
    return render_template(
        "caddy/Caddyfile.j2",
        settings=settings,
        storage=target.storage_dir("gateway"),
        addresses=[f"https://{join_host_port(address, port)}" for address in names],
        certificate=folder / "certificate.pem",
        key=folder / "key.pem",
        request_limit=parse_bytes(settings.gateway.request_limit),
        entrances=entrances(settings, target, secrets),
        ingestion=kind_of(settings).ingestion,
        grafana=target.address("grafana") if has_grafana else "",
        grafana_path=GRAFANA_PATH,
    )


def entrances(settings: Settings, target: Target, secrets: Mapping[str, str]) -> list[Entrance]:
    """Hosts write and cannot read; people read and cannot write. Nobody deletes."""
    engine = kind_of(settings)
    upstream = target.address(engine.name)
    writers = {name: writer_secret(name) for name in with_agent(settings)}
    readers = {name: reader_secret(name) for name in settings.gateway.readers}
    ways = (
        Entrance(
            "write",
            ("POST",),
            (engine.ingestion,),
            _hashes(writers, secrets),
            upstream,
            {**engine.headers, **engine.write_headers},
            is_fixed=True,
        ),
        Entrance(
            "read",
            ("GET", "HEAD", "POST"),
            engine.reading,
            _hashes(readers, secrets),
            upstream,
            engine.headers,
            is_fixed=False,
        ),
    )
    return [way for way in ways if way.users]


def basic_authorization(user: str, password: str) -> str:
    """The value of the header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def hashed(user: str, password: str, salt: str) -> str:
    """bcrypt with a salt that depends on the user, so that the same values give the same file."""
    digest = hashlib.sha256(f"{salt}\n{user}".encode()).digest()[:16]
    return bcrypt.hashpw(password.encode(), _bcrypt_salt(digest)).decode()


def _bcrypt_salt(digest: bytes) -> bytes:
    """16 bytes in bcrypt's own base64."""
    standard = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    own = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
    text = base64.b64encode(digest).rstrip(b"=").translate(bytes.maketrans(standard, own))
    return b"$2b$%02d$%s" % (BCRYPT_COST, text)


def _hashes(names: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    salt = secret(secrets, SALT)
    return {user: hashed(user, secret(secrets, key), salt) for user, key in names.items()}


def certificate_files(
    settings: Settings, name: str, secrets: Mapping[str, str], root: Path
) -> dict[str, str]:
    """`certificate.pem` and `key.pem` of a log server; none with ACME. Raises HostsError."""
    if settings.gateway.tls == "acme":
        _check_names(settings, name)
        return {}
    if settings.gateway.tls == "files":
        return {
            "certificate.pem": _given(settings, "certificate_file", root),
            "key.pem": _given(settings, "key_file", root),
        }
    return {
        "certificate.pem": secret(secrets, f"certificate_{name}"),
        "key.pem": secret(secrets, f"certificate_key_{name}"),
    }


def _check_names(settings: Settings, name: str) -> None:
    """Public authorities certify names that they can ask, and Caddy would make others up itself."""
    names = gateway_names(settings, host_named(settings, name))
    if numbers := [item for item in names if is_ip_address(item)]:
        raise HostsError(
            f"gateway.tls: wanted DNS names for every log server with acme, found {numbers[0]} of "
            f"hosts.{name}. Give it names, or set gateway.tls = own_ca"
        )


def _given(settings: Settings, key: str, root: Path) -> str:
    path = root / Path(getattr(settings.gateway, key)).expanduser()
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HostsError(
            f"gateway.{key}: wanted a PEM file with gateway.tls = files, found: {error}"
        ) from None
