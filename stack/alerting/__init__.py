"""Alerts: rules of alerts/rules/ to what vmalert, Loki's ruler and Alertmanager read.

settings.py      the tables [alerts], [thresholds] and [receivers] of the settings
rules.py         reads and checks the rule files
expressions.py   a rule as an expression, labels and annotations of either engine
rule_files.py    the files that vmalert and the ruler load
channels.py      Slack, PagerDuty, e-mail: their secrets, checked, and their receivers
alertmanager.py  Alertmanager's configuration
cases.py         the rule tests of alerts/tests/; rule_tests.py runs them
yaml_files.py    reads YAML; http.py asks the programs; lint.py has them check what is rendered
loaded.py        whether the engine runs exactly the rules that were shipped
send.py          one marked message through the real route
"""

from __future__ import annotations


class AlertError(Exception):
    """Rules or receivers that cannot be used; the text says where, what is wanted and found."""
