"""Fixtures that tests of several folders use."""

import signal

pytest_plugins = ["tests.support.engines"]

# A runner that was started with `nohup` or by a script with `&` ignores SIGINT, and so would every
# program that the tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)
