"""Alertmanager: groups alerts and sends notifications."""

from __future__ import annotations

from stack.components.component import IMAGE_USER, Artifact, Component, Container
from stack.components.host_names import FUNCTION
from stack.settings import ROOT, Settings
from stack.settings.targets import Target
from stack.settings.units import (
    is_ip_address,
    join_host_port,
)

# Replaces the module that allows requests from pages of every origin.
CORS = ROOT / "stack" / "artifacts" / "cors.go"


def arguments(target: Target) -> list[str]:
    external_url = target.settings.alerts.alertmanager_url or target.url("alertmanager")
    return [
        f"--config.file={target.config_dir('alertmanager') / 'alertmanager.yml'}",
        f"--storage.path={target.storage_dir('alertmanager')}",
        f"--web.listen-address={target.listen('alertmanager')}",
        f"--web.external-url={external_url}",
        "--web.route-prefix=/",
        "--enable-feature=receiver-name-in-metrics",  # `logstack alerts send` reads them
        *cluster_arguments(target),
        "--log.format=json",
    ]


def cluster_arguments(target: Target) -> list[str]:
    cluster = target.cluster
    if cluster is None:
        return ["--cluster.listen-address="]  # the default listens on every interface
    port = target.port("alertmanager_cluster")
    return [
        f"--cluster.listen-address=0.0.0.0:{port}",
        *(
            [f"--cluster.advertise-address={join_host_port(cluster.own_address, port)}"]
            if is_ip_address(cluster.own_address)
            else []  # names are not allowed; it detects its address
        ),
        *(f"--cluster.peer={join_host_port(peer, port)}" for peer in cluster.peers),
        f"--cluster.tls-config={target.config_dir('alertmanager') / cluster.tls_dir / 'tls.yml'}",
    ]


def program(settings: Settings) -> Artifact:
    module = "github.com/prometheus/alertmanager"
    return Artifact(
        "alertmanager",
        settings.versions["alertmanager"],
        packages=(f"{module}/cmd/alertmanager", f"{module}/cmd/amtool"),
        binaries=("alertmanager", "amtool"),
        required=module,
        replaced=("github.com/rs/cors", CORS.read_text(encoding="utf-8") + FUNCTION),
    )


COMPONENTS = (
    Component(
        "alertmanager",
        50,
        arguments,
        program,
        port="alertmanager",
        health="/-/ready",
        metrics="/metrics",
        check=("{folder}/amtool", "check-config", "{config}/alertmanager.yml"),
        container=Container(user=IMAGE_USER, storage="/alertmanager", is_built=True),
    ),
)
