"""vmalert: evaluates the alert rules for VictoriaLogs, which does not evaluate any."""

from __future__ import annotations

from stack.common import quote
from stack.components.component import IMAGE_USER, Artifact, Component, Container, as_pattern
from stack.components.host_names import VICTORIA_METRICS
from stack.engines.kinds import kind_of
from stack.settings.targets import Target
from stack.settings.units import (
    go_duration,
)


def arguments(target: Target) -> list[str]:
    rules = f"{as_pattern(target.config_dir('vmalert'))}/rules/*.yaml"
    return [
        # Quoted, because a comma separates patterns.
        f"-rule={quote(rules)}",
        "-rule.defaultRuleType=vlogs",
        f"-datasource.url={target.peer('victorialogs')}",
        f"-notifier.url={target.peer('alertmanager')}",
        f"-httpListenAddr={target.listen('vmalert')}",
        f"-evaluationInterval={go_duration(target.settings.timing.alert_interval)}",
        f"-external.url={target.url('vmalert')}",
        "-http.disableCORS",
        "-disableAlertgroupLabel",  # for the same labels as Loki's ruler
        "-loggerFormat=json",
    ]


COMPONENTS = (
    Component(
        "vmalert",
        60,
        arguments,
        lambda settings: Artifact(
            "vmalert",
            settings.versions["vmalert"],
            packages=("github.com/VictoriaMetrics/VictoriaMetrics/app/vmalert",),
            binaries=("vmalert",),
            patches=(VICTORIA_METRICS,),
        ),
        port="vmalert",
        health="/health",
        metrics="/metrics",
        is_selected=lambda settings, containers: kind_of(settings).evaluator == "vmalert",
        check=(
            *("{binary}", "-dryRun", "-rule={config}/rules/*.yaml"),
            "-rule.defaultRuleType=vlogs",
        ),
        container=Container(user=IMAGE_USER, storage="", is_built=True, after="victorialogs"),
    ),
)
