"""Files of the host itself: log rotation, journald, Docker's log options, the firewall."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import PurePath

from provisioning import DeployError, refuse_as_deploy
from provisioning.fleet import Remote
from stack.hosts import firewall
from stack.hosts import log_files as app_logging
from stack.hosts.files import HostFile

refuse_as_deploy(__name__)

Command = tuple[str, ...]
RELOAD_UNITS = ("systemctl", "daemon-reload")
RESTART_JOURNALD = ("systemctl", "restart", "systemd-journald")


@dataclass(frozen=True)
class Handling:
    """How a file is checked once it is there, and what makes it, or its absence, take effect."""

    check: Command = ()
    written: tuple[Command, ...] = ()
    leaving: tuple[Command, ...] = ()  # before it is removed
    removed: tuple[Command, ...] = ()


def _enabled(path: str) -> Handling:
    """A unit that is started now and with the host."""
    unit = PurePath(path).name
    return Handling(
        written=(
            RELOAD_UNITS,
            ("systemctl", "enable", unit),
            ("systemctl", "reload-or-restart", unit),
        ),
        leaving=(("systemctl", "disable", "--now", unit),),
        removed=(RELOAD_UNITS,),
    )


HANDLING = {
    app_logging.JOURNALD: Handling(written=(RESTART_JOURNALD,), removed=(RESTART_JOURNALD,)),
    app_logging.FOLDERS: Handling(written=(("systemd-tmpfiles", "--create", app_logging.FOLDERS),)),
    app_logging.ROTATION: Handling(check=("logrotate", "--debug", app_logging.ROTATION)),
    app_logging.ROTATION_SERVICE: Handling(written=(RELOAD_UNITS,), removed=(RELOAD_UNITS,)),
    app_logging.ROTATION_TIMER: _enabled(app_logging.ROTATION_TIMER),
    # Docker reads it when it starts, and a restart would stop containers: that is left to the
    # operator.
    app_logging.DOCKER: Handling(check=("python3", "-m", "json.tool", app_logging.DOCKER)),
    firewall.DROP_IN: Handling(written=(RELOAD_UNITS,), removed=(RELOAD_UNITS,)),
    firewall.RULES: Handling(
        check=("nft", "--check", "--file", firewall.RULES),
        written=(("nft", "--file", firewall.RULES),),
        leaving=(("nft", firewall.UNLOAD),),
    ),
    firewall.UNIT: _enabled(firewall.UNIT),
}


def put_files(remote: Remote, changed: Sequence[HostFile], left: Sequence[str], run: str) -> None:
    """Write what differs, remove what is in no plan, and make it take effect.

    Raises DeployError; then everything is as it was.
    """
    if not (changed or left):
        return
    answer = remote.ask(
        "put_files",
        run=run,
        files=[asdict(file) for file in changed],
        removed=left,
        handling=_handling([*(file.path for file in changed), *left]),
    )
    if not answer["ok"]:
        raise DeployError(f"{remote.name}: {answer['text']}. The files are as they were")


def take_back(remote: Remote, paths: Sequence[str], run: str) -> str:
    """Return to the files that the last run replaced; what was done, as a sentence.

    Raises DeployError where they are back and do not take effect.
    """
    answer = remote.ask("restore_files", run=run, handling=_handling(paths))
    done = f"put back {', '.join(paths)}"
    if answer["text"]:
        raise DeployError(f"{remote.name}: {done}, and it does not take effect: {answer['text']}")
    return done


def _handling(paths: Iterable[str]) -> dict[str, dict[str, object]]:
    return {path: asdict(HANDLING.get(path, Handling())) for path in paths}
