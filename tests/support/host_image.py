"""The image of the test hosts: Debian with systemd and sshd, made from its packages."""

from __future__ import annotations

import hashlib
from threading import Lock

from stack.runtimes.docker.engine import run
from stack.runtimes.docker.images import debootstrap

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "openssh-server", "sudo", "python3"),
    *("ca-certificates", "iproute2", "logrotate", "nftables", "procps"),
)
CHANGES = ('CMD ["/sbin/init"]', "ENV container=docker")


_MAKING = Lock()


def host_image() -> str:
    """The image's name; made where it is not there yet. Raises DockerError."""
    content = hashlib.sha256(repr((PACKAGES, CHANGES)).encode()).hexdigest()[:12]
    image = f"logstack/test-host:{content}"
    with _MAKING:
        if run("image", "inspect", image).returncode != 0:
            debootstrap(image, PACKAGES, CHANGES)
    return image
