"""Loki: the log engine that runs from its release."""

from __future__ import annotations

from typing import Any

from stack.components.component import Artifact, Component, Container
from stack.engines.facts import LOKI_LABEL_LENGTH, LOKI_RESTORED_TENANT, LOKI_TENANT
from stack.engines.kinds import kind_of
from stack.engines.logql import selector_of
from stack.records import contract
from stack.render.templates import render_template
from stack.settings import variable_name
from stack.settings.targets import Target
from stack.settings.units import (
    parse_bytes,
)

# A name in the certificate of every log server.
CLUSTER_NAME = "log-server.logstack.internal"


def arguments(target: Target) -> list[str]:
    return [f"-config.file={target.config_dir('loki') / 'config.yaml'}"]


def render_loki(target: Target, storage_key: str = "") -> dict[str, str]:
    """Loki's configuration and the limits of its tenants. `storage_key`: `key:secret` for S3."""
    settings = target.settings
    values: dict[str, Any] = {
        "settings": settings,
        "target": target,
        "storage": str(target.storage_dir("loki")),
        "config": str(target.config_dir("loki")),
        "labels": contract.names("label"),
        "tenant": LOKI_TENANT,
        "label_length": LOKI_LABEL_LENGTH,
        "storage_key": storage_key.partition(":"),
        "cluster_name": CLUSTER_NAME,
        "restored": LOKI_RESTORED_TENANT,
        "kept_days": settings.retention.engine_days(archived=target.has_archive),
        "shorter": loki_streams(target),
        "line": parse_bytes(settings.limits.line),
        "ahead": kind_of(settings).ahead.days * 24,
        "rate_mb": max(1, parse_bytes(settings.limits.ingestion_rate) // 1024**2),
    }
    return {
        "loki/config.yaml": render_template("loki/config.yaml.j2", **values),
        "loki/tenants.yaml": render_template("loki/tenants.yaml.j2", **values),
    }


def loki_streams(target: Target) -> list[dict[str, Any]]:
    """Streams that Loki itself keeps for fewer days, the longest first.

    Empty where an archiver runs, which deletes such records once they are archived.
    """
    if target.has_archive:
        return []
    shorter = sorted(target.settings.retention.shorter, key=lambda kind: -kind.days)
    return [{"selector": selector_of(kind), "days": kind.days} for kind in shorter]


COMPONENTS = (
    Component(
        "loki",
        20,
        arguments,
        lambda settings: Artifact("loki", settings.versions["loki"], binaries=("loki",)),
        port="loki",
        health="/ready",
        metrics="/metrics",
        other_ports=("loki_grpc",),
        files=lambda target, secrets: render_loki(target),
        is_selected=lambda settings, containers: kind_of(settings).name == "loki",
        check=("{binary}", "-verify-config", "-config.file={config}/config.yaml"),
        container=Container(storage="/loki", has_tmp=True),
        instead=f"{variable_name('stack', 'engine')}=victorialogs "
        f"{variable_name('stack', 'agent')}=otelcol",
    ),
)
