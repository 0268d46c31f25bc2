"""Promtail: an agent for Loki that has reached its end of life."""

from __future__ import annotations

from stack.components.component import Artifact, Component, Container
from stack.components.log_sources import MOST_LINES, SERVICE_LABEL, log_sources, window
from stack.engines.facts import LOKI_LABEL_LENGTH, LOKI_TENANT
from stack.records import contract
from stack.render.templates import render_template
from stack.settings import variable_name
from stack.settings.targets import Target

# Text that belongs to the line before it, which Promtail cannot inspect. The last alternatives are
# the end of a Python traceback: `ValueError: text`, `app.errors.Locked`.
CONTINUATION = (
    r"^(?P<continuation>\s|During handling of the above exception"
    r"|The above exception was the direct cause"
    r"|([a-z_]\w*\.)+[A-Z]\w*(: |$)|[A-Z][a-z0-9]+[A-Z]\w*(: |$))"
)


def arguments(target: Target) -> list[str]:
    return [f"-config.file={target.config_dir('promtail') / 'config.yaml'}"]


def render_promtail(target: Target) -> str:
    """Promtail's configuration."""
    return render_template(
        "promtail/config.yaml.j2",
        settings=target.settings,
        target=target,
        sources=log_sources(target),
        labels=contract.names("label"),
        metadata=contract.names("metadata"),
        levels=contract.LEVELS,
        loki_tenant=LOKI_TENANT,
        continuation=CONTINUATION,
        label_length=LOKI_LABEL_LENGTH,
        window=[f"{length.total_seconds():.0f}s" for length in window(target)],
        most_lines=MOST_LINES,
        service_label=SERVICE_LABEL,
    )


COMPONENTS = (
    Component(
        "promtail",
        40,
        arguments,
        lambda settings: Artifact(
            "promtail", settings.versions["promtail"], binaries=("promtail",)
        ),
        port="promtail",
        health="/ready",
        files=lambda target, secrets: {"promtail/config.yaml": render_promtail(target)},
        is_selected=lambda settings, containers: settings.stack.agent == "promtail",
        container=Container(user="0:0", storage="/data/promtail", reads_logs=True),
        instead=f"{variable_name('stack', 'agent')}=otelcol",
    ),
)
