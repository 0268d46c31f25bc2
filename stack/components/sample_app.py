"""The sample ERP, and generated traffic for it in the Docker runtime."""

from __future__ import annotations

from stack.components.component import Component, Container
from stack.settings.secrets import SAMPLE_APP_SECRETS
from stack.settings.targets import Target


def arguments(target: Target) -> list[str]:
    app = target.settings.sample_app
    return [
        *("-P", "-m", "stack.sample_app", "serve"),
        f"--bind={target.listen('sample_app')}",
        f"--workers={app.workers}",
        f"--threads={app.threads}",
        "--prepare",
    ]


def traffic_arguments(target: Target) -> list[str]:
    """In the network of the sample app's container, because traffic is only sent to loopback."""
    rate = target.settings.sample_app.traffic
    return ["-P", "-m", "stack.traffic.steady", target.url("sample_app"), f"--rate={rate:g}"]


def sample_app_env(target: Target) -> dict[str, str]:
    """The variables of every command of the sample app, without secrets."""
    folder = target.data_dir if target.in_containers else target.storage_dir("sample_app")
    # In a container its records go to standard output.
    log_file = (
        {} if target.in_containers else {"LOGSTACK_SAMPLE_LOG_FILE": str(target.app_log_file)}
    )
    return {
        "LOGSTACK_SAMPLE_DATABASE": str(folder / "erp.sqlite3"),
        **log_file,
        "LOGSTACK_SAMPLE_ENVIRONMENT": target.settings.stack.environment,
        "LOGSTACK_SAMPLE_SERVICE": target.settings.sample_app.service,
    }


COMPONENTS = (
    Component(
        "sample_app",
        100,
        arguments,
        port="sample_app",
        health="/healthz",
        env=sample_app_env,
        variables=SAMPLE_APP_SECRETS,
        # An application that was taken over reaches no engine and no Alertmanager.
        container=Container(has_tmp=True, is_labelled=True, networks=("apps",)),
    ),
    Component(
        "traffic",
        110,
        traffic_arguments,
        variables=("LOGSTACK_SAMPLE_PASSWORD",),
        is_selected=lambda settings, containers: containers and bool(settings.sample_app.traffic),
        container=Container(
            image="sample_app",
            storage="",
            has_tmp=True,
            network_of="sample_app",
            after="sample_app",
        ),
    ),
)
