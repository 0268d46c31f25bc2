"""Ports for servers that tests start.

A port is free when it is given and taken when its server has started, some time later: until then
nobody else may get it. So they are below those that the kernel gives to clients and to port 0
(net.ipv4.ip_local_port_range), each process of pytest-xdist has a range of its own, and each port
is given once before any is given again.
"""

from __future__ import annotations

import itertools
import os
import random
import socket

FIRST, LAST = 10_000, 32_767
PROCESSES = 8


def own_range(worker: str) -> range:
    """The ports of a process of pytest-xdist, `gw0` and so on; empty: the one process' own."""
    size = (LAST + 1 - FIRST) // PROCESSES
    number = (int(worker.removeprefix("gw")) + 1) % PROCESSES if worker else 0
    return range(FIRST + number * size, FIRST + (number + 1) * size)


_PORTS = own_range(os.environ.get("PYTEST_XDIST_WORKER", ""))
# Another run of the tests beside this one begins elsewhere.
_START = random.randrange(len(_PORTS))
_NEXT = itertools.cycle((*_PORTS[_START:], *_PORTS[:_START]))


def free_ports(count: int) -> list[int]:
    """Different ports of 127.0.0.1 that nothing listens on now."""
    return list(itertools.islice(filter(_is_free, _NEXT), count))


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
