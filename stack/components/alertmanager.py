"""Alertmanager: groups alerts and sends notifications."""

from __future__ import annotations

from stack.components.component import IMAGE_USER, Added, Artifact, Component, Container, Patch
from stack.components.host_names import FUNCTION, REFUSE
from stack.settings import ROOT, Settings
from stack.settings.targets import Target
from stack.settings.units import (
    is_ip_address,
    join_host_port,
)

MODULE = "github.com/prometheus/alertmanager"
# The last version whose module has the built pages. Later ones have their source alone, in Elm, and
# no registry that Go, pip or npm use has its packages: docs/decisions/0043.
PAGES = "0.31.1"
SERVES_PAGES = ROOT / "stack" / "artifacts" / "pages.go"
# Before any path of its own.
REFUSES_NAMES = Patch(
    MODULE,
    "api/api.go",
    before="\treturn mux\n}\n",
    after=f"""\
	answering := http.NewServeMux()
	answering.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {{
		if isNameOfOthers(r.Host) {{
			{REFUSE.rstrip()}
			return
		}}
		mux.ServeHTTP(w, r)
	}})
	return answering
}}
{FUNCTION}""",
)


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
    return Artifact(
        "alertmanager",
        settings.versions["alertmanager"],
        packages=(f"{MODULE}/cmd/alertmanager", f"{MODULE}/cmd/amtool"),
        binaries=("alertmanager", "amtool"),
        added=(
            Added(MODULE, "asset/assets_vfsdata.go", of=PAGES),
            Added(MODULE, "ui/web.go", SERVES_PAGES.read_text(encoding="utf-8")),
        ),
        patches=(REFUSES_NAMES,),
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
