"""The files about alerts that a runtime writes below its run folder."""

from __future__ import annotations

from stack.alerting import AlertError
from stack.alerting.alertmanager import message_templates, render_alertmanager
from stack.alerting.own_alerts import render_own_alerts
from stack.alerting.receivers import Channels, read_channels
from stack.alerting.rule_files import render_rules
from stack.alerting.rules import Rule, load_rules_for
from stack.engines.kinds import kind_of
from stack.monitor.alerts import FILE
from stack.settings.targets import Target

SECRETS = "alertmanager/secrets"


def load(target: Target) -> tuple[tuple[Rule, ...], Channels]:
    """The rules and the channels. Raises AlertError with the problems of both."""
    problems = []
    rules: tuple[Rule, ...] = ()
    channels = Channels()
    try:
        rules = load_rules_for(target)
    except AlertError as error:
        problems.append(str(error))
    try:
        channels = read_channels(target.settings.receivers, target.run_dir / SECRETS)
    except AlertError as error:
        problems.append(str(error))
    if problems:
        raise AlertError("\n".join(problems))
    return rules, channels


def alert_files(target: Target) -> dict[str, str]:
    """The files of Alertmanager and of the rule evaluator. Raises AlertError."""
    rules, channels = load(target)
    engine = kind_of(target.settings)
    return {
        f"{engine.evaluator}/{engine.rules_file}": render_rules(rules, target, engine.dialect),
        "alertmanager/alertmanager.yml": render_alertmanager(target, rules, channels),
        f"monitor/{FILE}": render_own_alerts(rules, target),
        **{f"alertmanager/{path}": text for path, text in message_templates().items()},
        **{f"{SECRETS}/{name}": f"{text}\n" for name, text in channels.secrets.items()},
    }
