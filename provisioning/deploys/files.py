"""Host files: log rotation, journald, Docker's log options, the firewall."""

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
class FileHooks:
    """Commands that check a file once it is written, and that apply its change or removal."""

    check: Command = ()
    written: tuple[Command, ...] = ()
    leaving: tuple[Command, ...] = ()  # run before it is removed
    removed: tuple[Command, ...] = ()


def _enabled(path: str) -> FileHooks:
    """The hooks of a unit that is started now and at boot."""
    unit = PurePath(path).name
    return FileHooks(
        written=(
            RELOAD_UNITS,
            ("systemctl", "enable", unit),
            ("systemctl", "reload-or-restart", unit),
        ),
        leaving=(("systemctl", "disable", "--now", unit),),
        removed=(RELOAD_UNITS,),
    )


FILE_HOOKS = {
    app_logging.JOURNALD: FileHooks(written=(RESTART_JOURNALD,), removed=(RESTART_JOURNALD,)),
    app_logging.FOLDERS: FileHooks(
        written=(("systemd-tmpfiles", "--create", app_logging.FOLDERS),)
    ),
    app_logging.ROTATION: FileHooks(check=("logrotate", "--debug", app_logging.ROTATION)),
    app_logging.ROTATION_SERVICE: FileHooks(written=(RELOAD_UNITS,), removed=(RELOAD_UNITS,)),
    app_logging.ROTATION_TIMER: _enabled(app_logging.ROTATION_TIMER),
    # Docker reads it when it starts. A restart would stop containers: that is left to the operator.
    app_logging.DOCKER: FileHooks(check=("python3", "-m", "json.tool", app_logging.DOCKER)),
    firewall.DROP_IN: FileHooks(written=(RELOAD_UNITS,), removed=(RELOAD_UNITS,)),
    firewall.RULES: FileHooks(
        check=("nft", "--check", "--file", firewall.RULES),
        written=(("nft", "--file", firewall.RULES),),
        leaving=(("nft", firewall.UNLOAD),),
    ),
    firewall.UNIT: _enabled(firewall.UNIT),
}


def put_files(
    remote: Remote, changed: Sequence[HostFile], obsolete: Sequence[str], run: str
) -> None:
    """Write changed files, remove obsolete ones and apply the change.

    Raises DeployError after restoring the files.
    """
    if not (changed or obsolete):
        return
    answer = remote.ask(
        "put_files",
        run=run,
        files=[asdict(file) for file in changed],
        removed=obsolete,
        hooks=_hooks_of([*(file.path for file in changed), *obsolete]),
    )
    if not answer["ok"]:
        raise DeployError(f"{remote.name}: {answer['text']}. The previous files were restored")


def roll_back(remote: Remote, paths: Sequence[str], run: str) -> str:
    """Restore the files that the last run replaced; returns a sentence about it.

    Raises DeployError if they were restored but could not be applied.
    """
    answer = remote.ask("restore_files", run=run, hooks=_hooks_of(paths))
    done = f"restored {', '.join(paths)}"
    if answer["text"]:
        raise DeployError(f"{remote.name}: {done}, but cannot apply them: {answer['text']}")
    return done


def _hooks_of(paths: Iterable[str]) -> dict[str, dict[str, object]]:
    return {path: asdict(FILE_HOOKS.get(path, FileHooks())) for path in paths}
