"""Watches the stack itself: reads the states and metrics of its programs and says what is wrong.

`python -m stack.monitor run FOLDER` is the component `monitor`, which logs what it sees as records
of the contract; `logstack doctor` and `up` look once. On hosts it runs with the host's own Python,
so it needs the standard library alone, of Python 3.9 or later.
"""
