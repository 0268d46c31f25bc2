"""The Compose document of the Docker runtime, from the components. Pure.

Nothing listens on anything but this machine's loopback, no container can gain a privilege, and none
sees Docker's socket: the agent reads the log files that Docker writes. Secrets are not in the
document: it names variables, which `docker compose` reads from an environment file of mode 0600.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from stack.components.component import Component
from stack.components.log_sources import CONTAINER_LOGS, SERVICE_LABEL
from stack.records.contract import MONITOR_SERVICE
from stack.settings.targets import Target
from stack.settings.units import parse_bytes

LOOPBACK = "127.0.0.1"
PROBE = "/probe"


def compose_document(
    components: Sequence[Component],
    target: Target,
    images: Mapping[str, str],
    digests: Mapping[str, str],
    *,
    configured: Collection[str],
    run_dir: Path,
    probe: Path,
    container_logs: Path,
) -> dict[str, Any]:
    """What `docker compose` starts. `images` and `digests` by component.

    A digest is of the files that a component reads: Compose replaces a container when it differs,
    while it does not watch mounted files. `configured` are those with a folder of files in
    `run_dir`. `probe` is the program that asks for a container's health, `container_logs` the
    folder of Docker's log files on this machine.
    """
    services = {}
    for component in components:
        mounts = {PROBE: probe}
        if component.name in configured:
            mounts[str(target.config_dir(component.name))] = run_dir / component.name
        if component.container.reads_logs:
            mounts[CONTAINER_LOGS] = container_logs
        services[component.name] = {
            **_hardened(target),
            **_optional(component, components, target),
            "image": images[component.name],
            "command": [_literal(word) for word in _words(component, target)],
            "environment": _no_proxy(components) | _environment(component, target),
            "labels": {**_labels(component, target), "logstack.config": digests[component.name]},
            **_health(component, components, target),
            "volumes": _volumes(component, mounts),
        }
    stored = [component.name for component in components if component.container.storage]
    joined = (name for component in components for name in component.container.networks)
    return {
        "services": services,
        "volumes": {name: {} for name in stored},
        "networks": {name: {} for name in dict.fromkeys(joined)},
    }


def _optional(
    component: Component, components: Sequence[Component], target: Target
) -> dict[str, Any]:
    """What only some containers have."""
    container = component.container
    service: dict[str, Any] = {}
    if container.reads_logs:
        service["user"] = container.user
    if container.has_tmp:
        service["tmpfs"] = ["/tmp"]  # noqa: S108 -- in a container
    if container.after in {other.name for other in components}:
        service["depends_on"] = {container.after: {"condition": "service_healthy"}}
    if container.network_of:
        service["network_mode"] = f"service:{container.network_of}"
        return service
    service["networks"] = list(container.networks)
    if component.port:
        port = target.port(component.health_port or component.port)
        service["ports"] = [f"{LOOPBACK}:{port}:{port}"]
    return service


def _labels(component: Component, target: Target) -> dict[str, str]:
    """The agent ships what a container with the label prints, as records of that service."""
    if not component.container.is_labelled:
        return {}
    is_own = component.name == "monitor"
    return {SERVICE_LABEL: MONITOR_SERVICE if is_own else target.settings.sample_app.service}


def _volumes(component: Component, mounts: Mapping[str, Path]) -> list[dict[str, Any]]:
    volumes: list[dict[str, Any]] = [
        {"type": "bind", "source": _literal(str(source)), "target": inside, "read_only": True}
        for inside, source in mounts.items()
    ]
    if storage := component.container.storage:
        volumes.append({"type": "volume", "source": component.name, "target": storage})
    return volumes


def _hardened(target: Target) -> dict[str, Any]:
    settings = target.settings
    return {
        "restart": "unless-stopped",
        "read_only": True,
        "cap_drop": ["ALL"],
        "security_opt": ["no-new-privileges:true"],
        "mem_limit": parse_bytes(settings.images.memory),
        "stop_grace_period": settings.timing.stop_timeout,
        "logging": {
            "driver": "json-file",
            "options": {"max-size": "50m", "max-file": "5", "labels": SERVICE_LABEL},
        },
    }


def _words(component: Component, target: Target) -> list[str]:
    argv = component.argv(target)
    return argv if component.artifact else ["python3", *argv]


def _no_proxy(components: Sequence[Component]) -> dict[str, str]:
    """Against the proxies of Docker's configuration, which Compose gives to every container."""
    names = ",".join((LOOPBACK, "localhost", *(component.name for component in components)))
    return {"NO_PROXY": names, "no_proxy": names}


def _environment(component: Component, target: Target) -> dict[str, str]:
    """Its variables; those with secrets name a variable of the environment file."""
    plain = {name: _literal(text) for name, text in component.env(target).items()}
    return plain | {name: f"${{{name}:?}}" for name in component.variables}


def _health(
    component: Component, components: Sequence[Component], target: Target
) -> dict[str, Any]:
    """A component without a port is healthy while the one whose network it shares is, or runs."""
    named = {other.name: other for other in components}
    if not (component.port or component.container.network_of):
        return {}
    asked = component if component.port else named[component.container.network_of]
    return {
        "healthcheck": {
            "test": ["CMD", PROBE, asked.health_url(target)],
            "interval": "2s",
            "timeout": "5s",
            "start_period": target.settings.timing.start_timeout,
        }
    }


def _literal(text: str) -> str:
    """Text in which Compose replaces nothing."""
    return text.replace("$", "$$")
