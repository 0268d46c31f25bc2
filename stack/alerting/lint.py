"""Runs the checkers of Alertmanager and vmalert, and lists alerts that are not delivered."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from stack import artifacts
from stack.alerting import AlertError
from stack.alerting.channels import channels_of
from stack.alerting.files import alert_files, load
from stack.alerting.receivers import Channels
from stack.common import last_lines
from stack.components.component import as_pattern
from stack.settings import Settings
from stack.settings.alerts import SEVERITIES
from stack.settings.secrets import write_private
from stack.settings.targets import Target


def check_files(target: Target) -> int:
    """Render all files, check them with amtool and vmalert, count the rules. Raises AlertError."""
    folders = artifacts.ensure_all(target.settings, lambda name, text: None)
    with tempfile.TemporaryDirectory(prefix="logstack-") as name:
        scratch = replace(target, run_dir=Path(name))
        for path, text in alert_files(scratch).items():
            write_private(scratch.run_dir / path, text)
        configuration = scratch.config_dir("alertmanager") / "alertmanager.yml"
        rules = f"{as_pattern(scratch.config_dir('vmalert'))}/rules/*.yaml"
        _check(
            "amtool check-config",
            [str(folders["alertmanager"] / "amtool"), "check-config", str(configuration)],
        )
        _check(
            "vmalert -dryRun",
            [
                str(folders["vmalert"] / "vmalert"),
                "-dryRun",
                "-rule.defaultRuleType=vlogs",
                f"-rule={json.dumps(rules, ensure_ascii=False)}",
            ],
        )
    return len(load(target)[0])


def remarks(channels: Channels, settings: Settings) -> Iterator[str]:
    """Alerts that no channel delivers, links that only this machine can open.

    Not an error: a fresh checkout has no secrets.
    """
    for severity in SEVERITIES:
        names = channels_of(severity)
        if not any(name in channels.receivers for name in names):
            yield f"Alerts of severity {severity} are not delivered: set up {' or '.join(names)}."
    if "deadman" not in channels.receivers:
        yield "Nothing reports that alerting itself has stopped: set receivers.deadman_url_file."
    if channels.receivers and (missing := links_without_address(settings)):
        yield (
            f"Links in notifications work on this machine only, or are missing: set "
            f"{', '.join(missing)}."
        )


def links_without_address(settings: Settings) -> list[str]:
    """The settings of public addresses that notifications link to and that are empty."""
    keys = ("alertmanager_url", "grafana_url", "runbooks_url")
    return [f"alerts.{key}" for key in keys if not getattr(settings.alerts, key)]


def _check(what: str, argv: list[str]) -> None:
    result = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if result.returncode != 0:
        tail = last_lines(f"{result.stdout}{result.stderr}", 8)
        raise AlertError(f"{what} rejects the rendered files:\n{tail}")
