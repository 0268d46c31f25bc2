"""Nothing that tests start outlives their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from stack.settings import ROOT
from tests.support.native_stack import poll
from tests.support.watcher import VARIABLE

CONFTEST = """
from tests.support.watcher import watch_this_process

watch_this_process()
"""
# A daemon, as supervisord is one: it has another parent, another group and another session.
TEST = """
import subprocess, time
from pathlib import Path

def test_with_a_daemon():
    subprocess.run(["sh", "-c", "setsid sleep 600 >/dev/null 2>&1 & echo $! > new; mv new pid"])
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_daemon_that_a_test_started_ends_with_the_tests(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Ctrl-C reaches the processes of pytest-xdist too; the others only the one that is known."""
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_it.py").write_text(TEST, encoding="utf-8")
    kept = {name: text for name, text in os.environ.items() if not name.startswith("PYTEST_")}
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-n", "1", "test_it.py"],
        cwd=tmp_path,
        env={**kept, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    ) as tests:
        try:
            poll((tmp_path / "pid").exists, "a daemon")
            daemon = psutil.Process(int((tmp_path / "pid").read_text(encoding="utf-8")))
            assert daemon.environ()[VARIABLE] != os.environ[VARIABLE]
            (os.killpg if number == signal.SIGINT else os.kill)(tests.pid, number)
            poll(lambda: not daemon.is_running(), "the end of the daemon")
        finally:
            tests.kill()
