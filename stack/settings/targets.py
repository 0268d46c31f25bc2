"""Where the components of one runtime listen, store and read their configuration.

A Target is made once per command; components and templates read it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack.settings import ROOT, Settings
from stack.settings.units import parse_bytes

# Linux allows 108 bytes for the path of a socket (unix(7), sun_path); supervisor adds a suffix.
SOCKET_PATH_BYTES = 90
# In a runtime's run folder: the settings that it was started with.
SETTINGS_FILE = "settings.json"
# Where the size of the disk is not known, as on hosts: 256 MiB of 12.5 GiB.
DISK_FULL = 0.98


@dataclass(frozen=True)
class Destination:
    """An engine that the agent sends to, through a gateway.

    `authorization_file` holds what the agent authenticates with as `user`: the header's value for
    the collector, the password for Promtail. `ca_file` is the CA to trust; empty: the system's CAs.
    """

    name: str
    url: str
    user: str
    authorization_file: str
    ca_file: str


@dataclass(frozen=True)
class Cluster:
    """The log servers that act as one. `own_address` and `peers` are without ports.

    `tls_dir` holds `ca.pem`, `certificate.pem` and `key.pem` below a component's folder.
    """

    own_address: str
    peers: tuple[str, ...]
    tls_dir: str = "tls"


@dataclass(frozen=True)
class Access:
    """The gateway of an environment's log server at `url`, for one of its readers.

    `ca` is the certificate to trust, as PEM; empty: the system's CAs.
    """

    environment: str
    url: str
    user: str
    password: str = field(repr=False)
    ca: str


@dataclass(frozen=True)
class Target:
    """Addresses and folders of one runtime, as its components see them.

    `host` is the address where this machine reaches them. In containers they reach each other by
    name, and `storage` names folders that are not below `data_dir`. Without `destinations` the
    agent sends to the engine beside it, without a `cluster` every component is a single instance,
    without a `public_url` users reach the engine at its local address. With an `access` this
    machine reaches engine and rules through that gateway, and nothing else. On a host, `archived`
    means that an archiver deletes days of its engine, `runs_apps` that applications log there,
    `runs_engine` that it is a log server. `disk_full` is the part of the data folder's file system
    that is used when limits.free_disk is left, for programs that know no other limit.
    """

    name: str
    host: str
    run_dir: Path
    data_dir: Path
    settings: Settings
    in_containers: bool = False
    storage: Mapping[str, str] = field(default_factory=dict)
    on_host: bool = False
    archived: bool = False
    runs_apps: bool = False
    runs_engine: bool = False
    disk_full: float = DISK_FULL
    destinations: tuple[Destination, ...] = ()
    cluster: Cluster | None = None
    public_url: str = ""
    access: Access | None = None

    @property
    def has_archive(self) -> bool:
        """Whether an archiver runs there, which deletes days once they are verified."""
        return self.archived if self.on_host else not self.in_containers

    @property
    def listen_host(self) -> str:
        """The address to listen on: all in a container, whose ports are published on loopback."""
        return "0.0.0.0" if self.in_containers else self.host  # noqa: S104

    def listen(self, port_name: str) -> str:
        """`host:port` for a component to listen on."""
        return f"{self.listen_host}:{self.port(port_name)}"

    def peer(self, component: str, path: str = "", port_name: str = "") -> str:
        """The URL where other components reach this one; the port has the component's name."""
        host = component if self.in_containers else self.host
        return f"http://{host}:{self.port(port_name or component)}{path}"

    def port(self, port_name: str) -> int:
        """The port of `port_name` in settings.ports, with the offset."""
        return self.settings.ports.effective(port_name)

    def address(self, port_name: str) -> str:
        """`host:port` of `port_name` in settings.ports."""
        return f"{self.host}:{self.port(port_name)}"

    def url(self, port_name: str, path: str = "") -> str:
        """The URL of `port_name` in settings.ports; that of the gateway where there is one."""
        base = self.access.url if self.access else f"http://{self.address(port_name)}"
        return f"{base}{path}"

    def config_dir(self, component: str) -> Path:
        """The folder of a component's configuration."""
        return self.run_dir / component

    def storage_dir(self, component: str) -> Path:
        """Where a component keeps its data; in a container the folder that its image prepares."""
        return Path(self.storage.get(component) or self.data_dir / component)

    def log_file(self, component: str) -> Path:
        """The output of the component itself."""
        return self.data_dir / "logs" / f"{component}.log"

    @property
    def app_log_file(self) -> Path:
        """Where the sample app writes its records."""
        return self.data_dir / "app-logs" / f"{self.settings.sample_app.service}.log"

    @property
    def archive_dir(self) -> Path:
        """The archiver's state, its work files and its cache of manifests."""
        return self.data_dir / "archive"

    @property
    def archiver_log_file(self) -> Path:
        """The archiver's own records, which the agent ships."""
        return self.archive_dir / "records.log"

    @property
    def monitor_log_file(self) -> Path:
        """The monitor's own records, which the agent ships."""
        return self.storage_dir("monitor") / "records.log"

    @property
    def supervisor_socket(self) -> Path:
        """In the run folder, or in a private folder when that path is too long for a socket."""
        usual = self.run_dir / "supervisor.sock"
        if len(os.fsencode(usual)) <= SOCKET_PATH_BYTES:
            return usual
        digest = hashlib.sha256(os.fsencode(self.run_dir)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"logstack-{os.getuid()}-{digest}" / "supervisor.sock"


def read_started_settings(settings: Settings, runtime: str) -> Settings | None:
    """The settings that a runtime (`native`, `docker`) was started with; None if it was not."""
    path = (ROOT / settings.paths.run / runtime / SETTINGS_FILE).absolute()
    try:
        return Settings.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def native(settings: Settings, root: Path = ROOT) -> Target:
    """Everything on this machine's loopback; relative settings.paths are below the checkout."""
    data_dir = (root / settings.paths.data / "native").absolute()
    return Target(
        name="native",
        host="127.0.0.1",
        run_dir=(root / settings.paths.run / "native").absolute(),
        data_dir=data_dir,
        settings=settings,
        disk_full=_disk_full(data_dir, parse_bytes(settings.limits.free_disk)),
    )


def _disk_full(folder: Path, free: int) -> float:
    """The part of the folder's file system that is used when `free` bytes are left for users."""
    place = next(path for path in (folder, *folder.parents) if path.exists())
    disk = shutil.disk_usage(place)
    used = disk.used + disk.free - free  # which leaves out what only root may use
    return max(0.5, used * 10_000 // disk.total / 10_000)


# Where released images keep their data, owned by the user that they run as; images of this project
# do the same.
IMAGE_STORAGE = {
    "loki": "/loki",
    "grafana": "/var/lib/grafana",
    "alertmanager": "/alertmanager",
}


def docker(settings: Settings) -> Target:
    """The same components in containers; folders are those inside the containers."""
    return Target(
        name="docker",
        host="127.0.0.1",
        run_dir=Path("/etc/logstack"),
        data_dir=Path("/data"),
        settings=settings,
        in_containers=True,
        storage=IMAGE_STORAGE,
    )


CONFIG_DIR = Path("/etc/logstack")
STATE_DIR = Path("/var/lib/logstack")


def host(
    settings: Settings,
    name: str,
    destinations: tuple[Destination, ...] = (),
    cluster: Cluster | None = None,
    public_url: str = "",
    *,
    archived: bool = False,
    runs_apps: bool = False,
    runs_engine: bool = False,
) -> Target:
    """One host of settings.hosts: everything except the gateway listens on loopback."""
    named = settings.stack.model_copy(update={"host": name})
    return Target(
        name="host",
        host="127.0.0.1",
        run_dir=CONFIG_DIR,
        data_dir=STATE_DIR,
        settings=settings.model_copy(update={"stack": named}),
        on_host=True,
        archived=archived,
        runs_apps=runs_apps,
        runs_engine=runs_engine,
        destinations=destinations,
        cluster=cluster,
        public_url=public_url,
    )
