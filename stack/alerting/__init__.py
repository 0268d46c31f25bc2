"""Alerts: from alerts/rules/ to the files of vmalert, Loki's ruler and Alertmanager.

rules.py         reads and checks the rule files
expressions.py   a rule as expression, labels and annotations, for either engine
rule_files.py    the files that vmalert and the ruler load
channels.py      the list of channels
receivers.py     checks their secrets, builds Alertmanager's receivers
alertmanager.py  Alertmanager's configuration
cases.py         the rule tests of alerts/tests/; rule_tests.py runs them
http.py          requests to the programs; lint.py runs their checkers on the rendered files
loaded.py        compares the rules that the engine has loaded with the shipped ones
send.py          sends one marked test message through Alertmanager
throwaway.py     temporary engines for the rule tests
"""

from __future__ import annotations


class AlertError(Exception):
    """Rules or receivers are invalid, or a program failed; the message says what to change."""
