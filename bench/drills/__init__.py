"""Drills: something breaks under load, and what arrived is counted in the engine itself.

drill.py       a drill, its outcome, the stack and the load of one
components.py  an engine, an agent, a log server or a receiver of alerts that stops
files.py       log files: rotation, many, large; a full disk and queue
watch.py       what doctor and the alerts say meanwhile
table.py       every drill with its lengths

`make drill` runs them; tests/native/test_drills.py runs the short form of each.
"""
