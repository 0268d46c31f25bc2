"""Runs the real sample app from and in a directory of its own; the sample app's tests use it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support import watcher

PASSWORD = "correct horse battery"
PATIENCE = 20.0  # seconds

Record = dict[str, Any]


class SampleApp:
    """One database, one log file, and the environment that points the app at them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_file = directory / "app.log"
        self.server_output = directory / "gunicorn.out"
        self.database = directory / "app.sqlite3"
        self.base_url = ""
        self.environment = {
            **{name: os.environ[name] for name in ("PATH", watcher.VARIABLE)},
            "LOGSTACK_SAMPLE_SECRET_KEY": "only-for-tests-" + "0123456789" * 4,
            "LOGSTACK_SAMPLE_PASSWORD": PASSWORD,
            "LOGSTACK_SAMPLE_DATABASE": str(self.database),
            "LOGSTACK_SAMPLE_LOG_FILE": str(self.log_file),
            "LOGSTACK_SAMPLE_ENVIRONMENT": "test",
        }

    def manage(self, *argv: str, **changes: str | None) -> subprocess.CompletedProcess[str]:
        """Run one management command; `changes` are variables to set, or with None to leave out."""
        environment = self.environment | {
            name: value for name, value in changes.items() if value is not None
        }
        for name in [name for name, value in changes.items() if value is None]:
            del environment[name]
        return subprocess.run(
            [sys.executable, "-P", "-m", "stack.sample_app", *argv],
            cwd=self.directory,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def prepare(self) -> None:
        """Make the tables and the demo data."""
        for command in (["migrate", "-v0"], ["seed"]):
            done = self.manage(*command)
            assert done.returncode == 0, done.stdout + done.stderr

    def records(self) -> list[Record]:
        """Return everything in the log file; a line that is no JSON object fails the test."""
        if not self.log_file.exists():
            return []
        records = [json.loads(line) for line in self.log_file.read_text().splitlines()]
        assert all(isinstance(record, dict) for record in records)
        return records

    def wait_for(self, *, count: int = 1, **fields: object) -> list[Record]:
        """Return the records with these field values, as soon as there are `count` of them."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [record for record in self.records() if fields.items() <= record.items()]
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, (
                f"expected {count} records with {fields}, got {len(found)} in:\n"
                f"{self.log_file.read_text()[-5000:]}\n{self.server_output.read_text()[-5000:]}"
            )
            time.sleep(0.05)

    @contextmanager
    def served(self, *options: str) -> Iterator[subprocess.Popen[bytes]]:
        """Run the app with two workers, on a free port that nobody can take in between."""
        with socket.socket() as listener, self.server_output.open("ab") as output:
            listener.bind(("127.0.0.1", 0))
            listener.listen(128)
            self.base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            server = subprocess.Popen(
                [
                    *(sys.executable, "-P", "-m", "stack.sample_app", "serve"),
                    *(f"--bind=fd://{listener.fileno()}", "--workers=2", "--threads=4"),
                    *options,
                ],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
            )
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
                raise
