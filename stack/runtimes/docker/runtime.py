"""The Docker runtime: the same components in containers, started with Compose.

`up`, `down`, `clean` and `status` mean what they mean in native.py. What containers read is
rendered into folders of the run folder, which only its owner enters; the environment file beside
them, which holds the secrets, is of mode 0600.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from stack import artifacts
from stack.alerting.files import SECRETS, alert_files
from stack.alerting.loaded import rule_differences
from stack.common import wait_until
from stack.common.counted import counted
from stack.components.catalogue import by_name, selected
from stack.components.component import Component
from stack.engines.kinds import kind_of
from stack.monitor.processes import RESTARTS, RESTARTS_S
from stack.runtimes.docker.checks import check_log_mount, check_room, explain, log_hint
from stack.runtimes.docker.compose import compose_document
from stack.runtimes.docker.engine import DockerError, ask, compose_command, run
from stack.runtimes.files import render_components
from stack.runtimes.native import OnProgress, Status, UpResult
from stack.settings import ROOT, Settings
from stack.settings.secrets import SecretsError, grafana_secrets, sample_app_secrets, write_private
from stack.settings.targets import SETTINGS_FILE, Target, read_started_settings
from stack.settings.targets import docker as docker_target
from stack.settings.units import parse_duration

# In the run folder beside what is mounted: the Compose document, and the secrets that it names.
DOCUMENT = "compose.json"
VARIABLES = "compose.env"
LOG_LINES_SHOWN = 15


class DockerRuntime:
    """The containers that belong to the run folder of some settings."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self.target: Target = docker_target(settings)
        self.run_dir = (ROOT / settings.paths.run / "docker").absolute()
        self.data_dir = (ROOT / settings.paths.data / "docker").absolute()
        digest = hashlib.sha256(str(self.run_dir).encode()).hexdigest()[:8]
        self.project = f"logstack-{digest}"

    @property
    def components(self) -> tuple[Component, ...]:
        return selected(self.settings, in_containers=True)

    def image(self, component: str) -> str:
        """The image of a component, with its version."""
        name = by_name(component).container.image or component
        known: Mapping[str, str] = self.settings.versions.model_dump()
        return self.settings.images[name].format(version=known.get(name, "local"))

    def missing_images(self) -> list[str]:
        """The images that are not here, without that of a Grafana that may be left out."""
        names = [component.name for component in self.components]
        if self.settings.stack.grafana == "auto":
            names.remove("grafana")
        return [image for image in dict.fromkeys(map(self.image, names)) if not _is_here(image)]

    def leave_out_grafana(self, on_progress: OnProgress) -> str:
        """Continue without Grafana where it is optional and its image is unavailable; why."""
        image = self.image("grafana")
        if self.settings.stack.grafana != "auto" or _is_here(image):
            return ""
        try:
            self.pull([image], on_progress)
        except DockerError as error:
            stack = self.settings.stack.model_copy(update={"grafana": "off"})
            self.settings = self.settings.model_copy(update={"stack": stack})
            self.target = docker_target(self.settings)
            return (
                f"Without Grafana: {str(error).splitlines()[0]}\n"
                "Charts without it: ./logstack report --since 1h --out report.html"
            )
        return ""

    def pull(self, images: list[str], on_progress: OnProgress) -> None:
        """Fetch images. Raises DockerError, which names the first that failed."""
        for image in images:
            on_progress(image, "pulling")
            result = run("pull", "--quiet", image, timeout=900)
            if result.returncode != 0:
                reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
                raise DockerError(
                    f"cannot pull {image}: {reason}\n"
                    "Run: ./logstack images build (builds local images), or without any image: "
                    "RUNTIME=native make up"
                )

    def up(self, on_progress: OnProgress) -> UpResult:
        """Start what is not running and wait until everything is healthy. Raises DockerError."""
        self._keep_private()
        self.pull(self.missing_images(), on_progress)
        note = self.leave_out_grafana(on_progress)
        probe = artifacts.list_for_images(self.settings)["probe"]
        folder = artifacts.ensure_all(self.settings, on_progress, {"probe": probe})["probe"]
        root = self._root()
        check_room(root, self.settings)
        check_log_mount(self.image("sample_app"), f"{root}/containers")
        before = {name: item["Id"] for name, item in self._containers().items() if _runs(item)}
        self._write(folder / probe.binaries[0])
        seconds = round(parse_duration(self.settings.timing.start_timeout).total_seconds())
        on_progress("compose", "starting")
        result = self._compose(
            *("up", "--detach", "--wait", "--wait-timeout", str(seconds)),
            *("--remove-orphans", "--pull", "never"),
            timeout=seconds + 120,
        )
        statuses = self._wait_for_rules() if result.returncode == 0 else self.status()
        sick = [item for item in statuses if not item.is_good]
        if result.returncode != 0 or sick:
            problems = [self._describe(item) for item in sick]
            if result.returncode != 0:
                problems.append(explain(result.stderr))
            if not before:
                self._compose("down", timeout=120)
                self._forget()
            raise DockerError("\n".join(problems))
        now = {name: item["Id"] for name, item in self._containers().items()}
        changed = sorted(name for name in now if before.get(name) != now[name])
        return UpResult(statuses, changed, bool(before), note)

    def _wait_for_rules(self) -> list[Status]:
        """The states once the engine has loaded the rules, or when it had time enough for that."""
        timeout = parse_duration(self.settings.timing.start_timeout).total_seconds()
        statuses: list[Status] = []

        def are_healthy() -> bool:
            statuses[:] = self.status()
            return all(item.is_good for item in statuses)

        wait_until(are_healthy, timeout, every=0.5)
        return statuses

    def down(self) -> bool:
        """Stop and remove the containers and keep the volumes. False when there were none."""
        if not self._containers():
            self._forget()
            return False
        result = self._compose("down", "--remove-orphans", timeout=180)
        if result.returncode != 0:
            raise DockerError(explain(result.stderr))
        self._forget()
        return True

    def clean(self) -> None:
        """Stop everything and remove volumes, secrets and rendered files."""
        if (self.run_dir / VARIABLES).exists():
            result = self._compose("down", "--remove-orphans", "--volumes", timeout=180)
            if result.returncode != 0:
                raise DockerError(
                    f"{explain(result.stderr)}\nThe volumes of {self.project} are still there. "
                    "When the engine answers, type: make clean"
                )
        for folder in (self.run_dir, self.data_dir):
            shutil.rmtree(folder, ignore_errors=True)

    def status(self) -> list[Status]:
        """Every component's state, asked of the engine now."""
        containers = self._containers()
        return [
            _status(component, self.target, containers.get(component.name))
            for component in self.components
        ]

    def logs(self, component: str, lines: int = LOG_LINES_SHOWN) -> str:
        """The last lines that a component printed."""
        container = self._containers().get(component)
        if container is None:
            return ""
        result = run("logs", "--tail", str(lines), container["Id"])
        return result.stdout + result.stderr

    def exec(self, component: str, *argv: str) -> str:
        """What a command prints that runs in a component's container. Raises DockerError."""
        container = self._containers().get(component)
        if container is None:
            raise DockerError(
                f"cannot run a command in {component}: it has no container. Run: make up"
            )
        return ask("exec", container["Id"], *argv)

    def secrets(self) -> dict[str, str]:
        """The secrets of the sample app and of Grafana; made on first use."""
        try:
            return {**sample_app_secrets(self.data_dir), **grafana_secrets(self.data_dir)}
        except SecretsError as error:
            raise DockerError(str(error)) from None

    def _containers(self) -> dict[str, dict[str, Any]]:
        """What the engine says of each container of the project, by its component."""
        label = f"label=com.docker.compose.project={self.project}"
        ids = ask("ps", "--all", "--quiet", "--filter", label).split()
        found = json.loads(ask("inspect", *ids)) if ids else []
        return {item["Config"]["Labels"]["com.docker.compose.service"]: item for item in found}

    def _root(self) -> Path:
        """Where the engine keeps images, volumes and logs."""
        return Path(json.loads(ask("info", "--format", "{{json .DockerRootDir}}")))

    def _write(self, probe: Path) -> None:
        files = render_components(self.target, {}) | self._alert_files()
        self._keep_private()
        self._remove_others(files)
        for name, text in files.items():
            self._write_mounted(name, text)
        document = compose_document(
            self.components,
            self.target,
            images={c.name: self.image(c.name) for c in self.components},
            digests={c.name: _digest(c, files) for c in self.components},
            configured={name.partition("/")[0] for name in files},
            run_dir=self.run_dir,
            probe=probe,
            container_logs=self._root() / "containers",
        )
        variables = "".join(f"{n}='{v}'\n" for n, v in sorted(self.secrets().items()))
        write_private(self.run_dir / DOCUMENT, json.dumps(document, indent=2))
        write_private(self.run_dir / VARIABLES, variables)
        write_private(self.run_dir / SETTINGS_FILE, self.settings.model_dump_json(indent=2) + "\n")

    def _keep_private(self) -> None:
        """Only its owner enters the run folder, and what is not mounted has mode 0600 there.

        A container sees what is mounted without passing through the folders above it.
        """
        self.run_dir.mkdir(parents=True, exist_ok=True)
        self.run_dir.chmod(0o700)
        for name in (DOCUMENT, VARIABLES, SETTINGS_FILE):
            if (path := self.run_dir / name).exists():
                path.chmod(0o600)

    def _write_mounted(self, name: str, text: str) -> None:
        """Write what containers read, which run as users of their images' own, in one step."""
        path = self.run_dir / name
        for folder in reversed(path.relative_to(self.run_dir).parents[:-1]):
            (self.run_dir / folder).mkdir(exist_ok=True)
            (self.run_dir / folder).chmod(0o755)
        scratch = self.run_dir / "mounted.new"  # no container looks for files there
        write_private(scratch, text)
        scratch.chmod(0o644)
        scratch.rename(path)

    def _alert_files(self) -> dict[str, str]:
        """Rules, routes and templates. Raises DockerError where a receiver needs a secret."""
        files = alert_files(self.target)
        if secret := next((name for name in files if name.startswith(f"{SECRETS}/")), None):
            raise DockerError(
                "receivers: expected none with a secret in the Docker runtime, got one for "
                f"{Path(secret).name}: Alertmanager's container runs as another user, which could "
                "read it only if everybody could. Run: RUNTIME=native make up"
            )
        return files

    def _remove_others(self, files: Mapping[str, str]) -> None:
        """Files of the components that are no longer rendered, so that nothing reads them."""
        for component in self.components:
            for path in (self.run_dir / component.name).rglob("*"):
                if path.is_file() and str(path.relative_to(self.run_dir)) not in files:
                    path.unlink()

    def _compose(self, *arguments: str, timeout: float) -> Any:
        return run(
            *("--project-name", self.project),
            *("--file", str(self.run_dir / DOCUMENT)),
            *("--env-file", str(self.run_dir / VARIABLES)),
            *arguments,
            command=compose_command(self.settings),
            timeout=timeout,
        )

    def _describe(self, item: Status) -> str:
        lines = self.logs(item.name).strip().splitlines()[-LOG_LINES_SHOWN:]
        tail = "\n".join(f"    {line}" for line in lines)
        note = f" ({item.note})" if item.note else ""
        hint = log_hint(item.name, tail)
        return (
            f"cannot start {item.name}: {item.state} after "
            f"{self.settings.timing.start_timeout}{note}.{hint}\n  Last lines of its log:\n{tail}"
        )

    def _forget(self) -> None:
        (self.run_dir / SETTINGS_FILE).unlink(missing_ok=True)


def running(settings: Settings) -> DockerRuntime | None:
    """The runtime that `up` started in this run folder, unless it was stopped."""
    found = read_started_settings(settings, "docker")
    return DockerRuntime(found) if found else None


def left_behind(settings: Settings) -> DockerRuntime | None:
    """The runtime that `clean` has something to remove of, also after `down`, if there is one."""
    runtime = running(settings) or DockerRuntime(settings)
    return runtime if (runtime.run_dir / VARIABLES).exists() else None


def _digest(component: Component, files: Mapping[str, str]) -> str:
    """Of the files that a component reads."""
    own = {name: text for name, text in files.items() if name.startswith(f"{component.name}/")}
    return hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()


def _is_here(image: str) -> bool:
    return run("image", "inspect", image).returncode == 0


def _runs(container: Mapping[str, Any]) -> bool:
    return bool(container["State"]["Running"])


def _status(component: Component, target: Target, item: Mapping[str, Any] | None) -> Status:
    """A container's state in the words of the native runtime."""
    address = component.page_url(target)
    if item is None:
        return Status(component.name, "stopped", address, "-")
    state = item["State"]
    log = f"docker logs {item['Name'].lstrip('/')}"
    started = datetime.fromisoformat(state["StartedAt"][:19]).replace(tzinfo=UTC)
    health = state.get("Health", {}).get("Status", "")
    words: dict[str, Callable[[], str]] = {
        "running": lambda: health or "healthy",
        "restarting": lambda: "restarting",
        "created": lambda: "stopped",
    }
    name = words.get(state["Status"], lambda: "failed")()
    note = "" if name in ("healthy", "starting") else f"exit status {state['ExitCode']}"
    seconds = int((datetime.now(UTC) - started).total_seconds()) if _runs(item) else 0
    if name == "healthy" and item["RestartCount"] >= RESTARTS and seconds < RESTARTS_S:
        name, note = "restarting", f"restarted {counted(item['RestartCount'], 'time')}"
    evaluates = name == "healthy" and component.name == kind_of(target.settings).evaluator
    if evaluates and (problems := rule_differences(target)):
        name, note = "unhealthy", problems[0]
    return Status(
        component.name,
        name,
        address,
        log,
        pid=int(state["Pid"]),
        uptime_s=seconds,
        restarts=int(item["RestartCount"]),
        note=note,
    )
