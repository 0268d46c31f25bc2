"""Promtail: an agent for Loki that has reached its end of life."""

from __future__ import annotations

from stack.components.component import Artifact, Component, Container
from stack.components.log_sources import (
    MOST_LINES,
    SERVICE_LABEL,
    log_sources,
    reads_journal,
    window,
)
from stack.engines.facts import LOKI_LABEL_LENGTH, LOKI_TENANT
from stack.engines.kinds import kind_of
from stack.records import contract
from stack.render.templates import render_template
from stack.settings import variable_name
from stack.settings.targets import Destination, Target

# Text that belongs to the line before it, which Promtail cannot inspect. The last alternatives are
# the end of a Python traceback: `ValueError: text`, `app.errors.Locked`.
CONTINUATION = (
    r"^(?P<continuation>\s|During handling of the above exception"
    r"|The above exception was the direct cause"
    r"|([a-z_]\w*\.)+[A-Z]\w*(: |$)|[A-Z][a-z0-9]+[A-Z]\w*(: |$))"
)


# The agent's systemd unit on hosts.
AGENT_UNIT = "logstack-promtail.service"


def arguments(target: Target) -> list[str]:
    return [f"-config.file={target.config_dir('promtail') / 'config.yaml'}"]


def notes(target: Target) -> tuple[str, ...]:
    """What Promtail loses on a host (docs/decisions/0012-promtail.md)."""
    settings = target.settings
    servers = [host for host in settings.hosts.values() if "log_server" in host.roles]
    lost = (
        "up to 1 MB that it has read, if it is restarted or killed; log files that are rotated "
        "twice, or once before such a restart"
    )
    if reads_journal(target):
        lost += f"; what journald deletes at {settings.app_hosts.journal_limit}"
    found = [
        "stack.agent: promtail has reached its end of life and has no queue on disk. While "
        f"{target.destinations[0].url} is unavailable, it retries without limit and stops reading. "
        f"Lost then: {lost}. otelcol keeps {settings.limits.queue} on disk (limits.queue)"
    ]
    if broken := [s.path for s in settings.agent.files if s.encoding.startswith("utf-16")]:
        found.append(
            "agent.files: promtail splits lines before it decodes them, and damages those of "
            f"{', '.join(broken)}. Set stack.agent to otelcol, or write UTF-8"
        )
    if len(servers) > 1 and not settings.gateway.name:
        found.append(
            f"stack.agent: promtail sends to one of {len(servers)} log servers, and waits while it "
            "is unavailable. Set gateway.name to a DNS name with the addresses of all"
        )
    if reads_journal(target):
        found.append(
            "stack.agent: promtail reads the journal only if it was built with the tag "
            "promtail_journal_enabled and the host has libsystemd. Run: promtail --version"
        )
    return tuple(found)


def render_promtail(target: Target) -> str:
    """Promtail's configuration."""
    return render_template(
        "promtail/config.yaml.j2",
        settings=target.settings,
        target=target,
        sources=log_sources(target),
        clients=target.destinations or [_local(target)],
        unit=AGENT_UNIT,
        labels=contract.names("label"),
        metadata=contract.names("metadata"),
        levels=contract.LEVELS,
        loki_tenant=LOKI_TENANT,
        continuation=CONTINUATION,
        label_length=LOKI_LABEL_LENGTH,
        window=[f"{length.total_seconds():.0f}s" for length in window(target)],
        most_lines=MOST_LINES,
        service_label=SERVICE_LABEL,
        own_services=contract.OWN_SERVICES,
        aside=contract.ASIDE,
    )


def _local(target: Target) -> Destination:
    """The engine beside the agent."""
    engine = kind_of(target.settings)
    url = target.peer(engine.name, engine.ingestion["promtail"])
    return Destination(name=engine.name, url=url, user="", authorization_file="", ca_file="")


COMPONENTS = (
    Component(
        "promtail",
        40,
        arguments,
        lambda settings: Artifact(
            "promtail", settings.versions["promtail"], binaries=("promtail",)
        ),
        port="promtail",
        notes=notes,
        health="/ready",
        metrics="/metrics",
        files=lambda target, secrets: {"promtail/config.yaml": render_promtail(target)},
        is_agent=True,
        is_selected=lambda settings, containers: settings.stack.agent == "promtail",
        check=("{binary}", "-check-syntax", "-config.file={config}/config.yaml"),
        container=Container(user="0:0", storage="/data/promtail", reads_logs=True),
        instead=f"{variable_name('stack', 'agent')}=otelcol",
    ),
)
