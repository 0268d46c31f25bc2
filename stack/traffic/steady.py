"""Gentle traffic without end, so that dashboards have something to show: Docker's `traffic`.

Runs in the sample app's image and network, because it only sends to loopback.
"""

from __future__ import annotations

import argparse
import itertools
import os
import signal
import sys
import time

from stack.common.counted import counted
from stack.traffic.run import AppUnreachableError, run

ROUND = 600.0  # seconds; then a new seed, so that the requests are not always the same
PAUSE = 5.0  # seconds until an app that does not answer is tried again
PASSWORD = "LOGSTACK_SAMPLE_PASSWORD"  # noqa: S105 -- the name of a variable


def main(argv: list[str] | None = None) -> None:
    """Send traffic until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("base_url")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(0))
    password = os.environ[PASSWORD]
    for seed in itertools.count(1):
        try:
            report = run(
                options.base_url, rate=options.rate, duration=ROUND, seed=seed, password=password
            )
        except AppUnreachableError as error:
            print(error, flush=True)  # noqa: T201 -- this program's log
            time.sleep(PAUSE)
            continue
        print(f"{counted(report.requests, 'request')}, {report.by_status}", flush=True)  # noqa: T201
        if report.interrupted:
            return


if __name__ == "__main__":
    main()
