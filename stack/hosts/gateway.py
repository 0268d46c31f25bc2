"""The gateway's Caddyfile: which users may send which requests. Pure."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import bcrypt

from stack.components.gateway_passwords import MOST_PER_MINUTE
from stack.engines.kinds import kind_of
from stack.hosts import HostsError
from stack.hosts.roles import find_host, gateway_names, hosts_with_agent, roles_of, runs_grafana
from stack.hosts.secrets import SALT, reader_secret, secret, writer_secret
from stack.render.templates import render_template
from stack.settings import Settings
from stack.settings.targets import Target
from stack.settings.units import is_ip_address, join_host_port, parse_bytes

GRAFANA_PATH = "/grafana"
REFUSAL = (
    f"wrong user or password; after {MOST_PER_MINUTE} of them in a minute, none is compared for "
    "the rest of it"
)
# Passwords are 32 random bytes: more rounds do not make them harder to guess.
BCRYPT_COST = 10


@dataclass(frozen=True)
class Route:
    """Paths that some users may request. `users` maps names to the hashes of their passwords.

    `headers` reach the engine whatever the client sent. With `is_fixed` the client's query string
    does not reach it either. `own_host` is the format of batches in which the host is compared.
    """

    name: str
    methods: tuple[str, ...]
    paths: tuple[str, ...]
    users: Mapping[str, str]
    upstream: str
    headers: Mapping[str, str]
    is_fixed: bool
    own_host: str = ""


def render_caddyfile(target: Target, name: str, secrets: Mapping[str, str]) -> str:
    """The gateway of the log server `name`."""
    settings = target.settings
    folder = target.config_dir("gateway")
    port = settings.ports.effective("gateway")
    names = gateway_names(settings, find_host(settings, name))
    has_grafana = runs_grafana(settings) and "dashboards" in roles_of(settings, name)
    return render_template(
        "caddy/Caddyfile.j2",
        settings=settings,
        storage=target.storage_dir("gateway"),
        addresses=[f"https://{join_host_port(address, port)}" for address in names],
        certificate=folder / "certificate.pem",
        key=folder / "key.pem",
        request_limit=parse_bytes(settings.gateway.request_limit),
        routes=routes(settings, target, name, secrets),
        services=only_services(settings),
        refusal=REFUSAL,
        ingestion=sorted(kind_of(settings).ingestion.values()),
        grafana=target.address("grafana") if has_grafana else "",
        grafana_path=GRAFANA_PATH,
    )


def routes(
    settings: Settings, target: Target, name: str, secrets: Mapping[str, str]
) -> list[Route]:
    """Hosts write and cannot read, users read and cannot write; deleting is not possible.

    Every agent may write: while `stack.agent` is changed, some hosts still have the former one. The
    rules and their states show what readers may query anyway.
    """
    engine = kind_of(settings)
    upstream = target.address(engine.name)
    writers = {host: writer_secret(host) for host in hosts_with_agent(settings)}
    hashes = _hashes(writers, secrets)
    readers = _hashes({user: reader_secret(user) for user in settings.gateway.readers}, secrets)
    evaluates = "alerting" in roles_of(settings, name)
    found = (
        *(
            Route(
                f"write_{agent}",
                ("POST",),
                (path,),
                hashes,
                upstream,
                {**engine.headers, **engine.write_headers},
                is_fixed=True,
                own_host=engine.own_host.get(agent, ""),
            )
            for agent, path in engine.ingestion.items()
        ),
        Route(
            "read",
            ("GET", "HEAD", "POST"),
            engine.reading,
            readers,
            upstream,
            engine.headers,
            is_fixed=False,
        ),
        Route(
            "rules",
            ("GET", "HEAD"),
            (engine.rules,),
            readers if evaluates else {},
            target.address(engine.evaluator),
            engine.headers,
            is_fixed=False,
        ),
    )
    return [route for route in found if route.users]


def only_services(settings: Settings) -> dict[str, str]:
    """The hosts that run one application and ship nothing else, each with its service."""
    apps = settings.app_hosts
    is_only = not (apps.docker_logs or apps.journal or settings.agent.files)
    if len(apps.apps) != 1 or not is_only:
        return {}
    hosts = (name for name in settings.hosts if roles_of(settings, name) == ("app_host",))
    return dict.fromkeys(hosts, apps.apps[0].service)


def basic_authorization(user: str, password: str) -> str:
    """The value of an `Authorization` header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def password_hash(user: str, password: str, salt: str) -> str:
    """A bcrypt hash whose salt depends on the user: the same values give the same Caddyfile.

    The hash is not kept beside the password in the secrets file, because passwords may come from
    the environment or from a file that sops encrypted, and Logstack writes to neither.
    """
    # bcrypt's salt has 22 characters of an alphabet that includes the hexadecimal digits; only two
    # bits of the last one count. The other 21 are 84 bits, enough to differ for every user.
    digest = hashlib.sha256(f"{salt}\n{user}".encode()).hexdigest()[:21]
    parameters = f"$2b${BCRYPT_COST:02d}${digest}."
    return bcrypt.hashpw(password.encode(), parameters.encode()).decode()


def _hashes(names: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    salt = secret(secrets, SALT)
    return {user: password_hash(user, secret(secrets, key), salt) for user, key in names.items()}


def certificate_files(
    settings: Settings, name: str, secrets: Mapping[str, str], root: Path
) -> dict[str, str]:
    """`certificate.pem` and `key.pem` of a log server; none with ACME. Raises HostsError."""
    if settings.gateway.tls == "acme":
        _check_names(settings, name)
        return {}
    if settings.gateway.tls == "files":
        return {
            "certificate.pem": _read_pem(settings, "certificate_file", root),
            "key.pem": _read_pem(settings, "key_file", root),
        }
    return {
        "certificate.pem": secret(secrets, f"certificate_{name}"),
        "key.pem": secret(secrets, f"certificate_key_{name}"),
    }


def certificate_command(settings: Settings, name: str) -> str:
    """What to run for a new certificate of a log server."""
    deploy = f"make deploy ENV={settings.stack.environment}"
    return {
        "own_ca": (
            f"./logstack secrets rotate {settings.stack.environment} certificate_{name} && {deploy}"
        ),
        "files": f"{deploy} # once gateway.certificate_file is a new one",
        "acme": "journalctl -u logstack-gateway",
    }[settings.gateway.tls]


def _check_names(settings: Settings, name: str) -> None:
    """Public authorities certify DNS names; Caddy would certify addresses by itself."""
    names = gateway_names(settings, find_host(settings, name))
    if numbers := [item for item in names if is_ip_address(item)]:
        raise HostsError(
            f"hosts.{name}: expected DNS names, because gateway.tls is acme, got {numbers[0]}. "
            "Use names, or set gateway.tls = own_ca"
        )


def _read_pem(settings: Settings, key: str, root: Path) -> str:
    path = root / Path(getattr(settings.gateway, key)).expanduser()
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HostsError(
            f"gateway.{key}: cannot read the PEM file that gateway.tls = files needs: {error}"
        ) from None
