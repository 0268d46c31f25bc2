"""`python3 agent.pyz ACTION`: a request as JSON on standard input, one line of JSON as answer."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Callable

from provisioning.agent import changes, locks, look, service, state
from provisioning.agent.base import Json

ACTIONS: dict[str, Callable[[Json], Json]] = {
    action.__name__: action
    for action in (
        *(state.inspect, state.facts, state.texts, locks.lock, locks.unlock, locks.leave),
        *(changes.install_binary, changes.stage, changes.remove, changes.put_files),
        *(changes.restore_files, changes.prune, changes.last_run),
        *(service.start, service.replace, service.roll_back, service.probe, service.journal),
        *(look.append, look.certificate, look.fetch, look.check),
    )
}


def main() -> None:
    os.umask(0o022)
    socket.setdefaulttimeout(30)
    request = json.loads(sys.stdin.read() or "{}")
    print(json.dumps(ACTIONS[sys.argv[1]](request)), flush=True)
