"""The monitor: watches the other components and logs what it sees (stack/monitor)."""

from __future__ import annotations

from stack.common import quote
from stack.components.component import HOST_PYTHON, Component, Container
from stack.components.log_sources import log_sources
from stack.engines.kinds import kind_of
from stack.monitor.plan import FILE, Files, Limits, Plan, Program, Services, to_text
from stack.settings.targets import Target
from stack.settings.units import parse_bytes, parse_duration


def arguments(target: Target) -> list[str]:
    return ["-P", "-m", "stack.monitor", "run", str(target.config_dir("monitor"))]


def plan_of(target: Target, names: tuple[str, ...] = ()) -> Plan:
    """What is watched at a target: the components `names`, or all that the settings select."""
    from stack.components.catalogue import by_name, selected  # imports this module itself

    settings, engine = target.settings, kind_of(target.settings)
    chosen = (
        tuple(by_name(name) for name in names)
        if names
        else selected(settings, in_containers=target.in_containers)
    )
    is_native = not (target.on_host or target.in_containers)
    apply = f"make deploy ENV={settings.stack.environment}" if target.on_host else "make up"
    return Plan(
        environment=settings.stack.environment,
        interval_s=seconds(settings.monitor.interval),
        folder=str(target.storage_dir("monitor")),
        records=str(target.monitor_log_file) if is_native else "",
        apply=apply,
        agent=settings.stack.agent,
        engine=engine.name,
        programs=tuple(
            _program(component, target)
            for component in chosen
            if component.port or not target.in_containers
        ),
        files=_files(target),
        limits=limits(target),
        evaluator="" if engine.evaluator == engine.name else engine.evaluator,
        supervisor=str(target.log_file("supervisord")) if is_native else "",
        units=target.on_host,
        sole_writer=not target.on_host,
        keeps=not settings.retention.shorter,
        services=_services(target) if any(item.name == engine.name for item in chosen) else None,
    )


def _services(target: Target) -> Services:
    settings, engine = target.settings, kind_of(target.settings)
    path, query = engine.services
    values = settings.alerts
    return Services(
        url=target.peer(engine.name, path),
        query=query.replace("ENVIRONMENT", quote(settings.stack.environment)),
        headers={"X-Scope-OrgID": engine.tenant} if engine.tenant else {},
        silent_s=seconds(settings.thresholds.silent),
        silent_after={name: seconds(length) for name, length in values.silent_after.items()},
        retired=values.retired,
    )


def limits(target: Target) -> Limits:
    """When a value is a problem."""
    settings = target.settings
    values = settings.monitor
    return Limits(
        queue_s=seconds(values.queue),
        disk_s=seconds(values.disk),
        clock_s=seconds(values.clock),
        certificate_days=values.certificate_days,
        free_disk_bytes=parse_bytes(settings.limits.free_disk),
        settle_s=seconds(values.settle),
        # Alertmanager tries again what has failed at the next interval of the group.
        group_s=max(seconds(settings.alerts.group_interval), seconds(settings.alerts.page_interval))
        + 60,
    )


def seconds(text: str) -> float:
    """A duration of the settings in seconds."""
    return parse_duration(text).total_seconds()


def _program(component: Component, target: Target) -> Program:
    name, port = component.name, component.health_port or component.port
    log = "" if target.on_host or target.in_containers else str(target.log_file(name))
    metrics_port = component.metrics_port or component.port
    return Program(
        name,
        health=target.peer(name, component.health, port) if port else "",
        metrics=target.peer(name, component.metrics, metrics_port) if component.metrics else "",
        folder=str(target.storage_dir(name)),
        log=log,
        show=_show(name, log, target),
        on_demand=component.on_demand,
    )


def _show(name: str, log: str, target: Target) -> str:
    """The command that prints a program's own log."""
    if target.on_host:
        return f"journalctl -u logstack-{name}"
    if target.in_containers:
        return f"docker logs $(docker ps -qf label=com.docker.compose.service={name})"
    return f"tail '{log}'"


def _files(target: Target) -> tuple[Files, ...]:
    """The log files of the agent; containers and the journal have none."""
    expected = {file.path for file in target.settings.agent.files}
    return tuple(
        Files(source.service, source.patterns, source.excluded[:1], source.path in expected)
        for source in log_sources(target)
        if source.kind == "file"
    )


COMPONENTS = (
    Component(
        "monitor",
        95,
        arguments,
        files=lambda target, secrets: {f"monitor/{FILE}": to_text(plan_of(target))},
        check=(HOST_PYTHON, "-I", "{folder}/lib", "check", "{config}"),
        container=Container(image="sample_app", is_labelled=True, networks=("stack", "apps")),
    ),
)
