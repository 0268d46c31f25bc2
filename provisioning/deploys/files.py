"""Files of the host itself: log rotation, journald, Docker's log options, the firewall."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from provisioning import DeployError
from provisioning.fleet import Remote
from stack.hosts.files import HostFile

# How a file is checked once it is there, and what makes it take effect.
CHECKS = {
    "/etc/logrotate.d/": ("logrotate", "--debug", "{path}"),
    "/etc/nftables": ("nft", "--check", "--file", "{path}"),
    "/etc/docker/": ("python3", "-m", "json.tool", "{path}"),
}
RELOADS = {
    "/etc/systemd/journald.conf.d/": ("systemctl", "restart", "systemd-journald"),
    "/etc/tmpfiles.d/": ("systemd-tmpfiles", "--create", "{path}"),
    "/etc/nftables": ("nft", "--file", "{path}"),
}


def put_files(remote: Remote, changed: Sequence[HostFile], run: str) -> None:
    """Write what differs and make it take effect. Raises DeployError; then the old files are back.

    Docker reads its options when it starts, and a restart would stop containers: that is left to
    the operator.
    """
    if not changed:
        return
    answer = remote.ask(
        "put_files",
        run=run,
        files=[asdict(file) for file in changed],
        checks=_commands(CHECKS, [file.path for file in changed]),
        reloads=_commands(RELOADS, [file.path for file in changed]),
    )
    if not answer["ok"]:
        raise DeployError(f"{remote.name}: {answer['text']}. The files are as they were")


def take_back(remote: Remote, paths: Sequence[str], run: str) -> str:
    """Return to the files that the last run replaced; what was done, as a sentence."""
    remote.ask("restore_files", run=run, reloads=_commands(RELOADS, paths))
    return f"put back {', '.join(paths)}"


def _commands(table: Mapping[str, tuple[str, ...]], paths: Sequence[str]) -> list[list[str]]:
    found = [
        [word.format(path=path) for word in command]
        for start, command in table.items()
        for path in paths
        if path.startswith(start)
    ]
    return [command for n, command in enumerate(found) if command not in found[:n]]
