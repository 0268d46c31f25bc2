"""Host files: log rotation, journald, Docker's log options, the firewall."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import PurePath

from pyinfra import host

from provisioning import changes
from provisioning.operations.commands import AgentCommand, Commands, step
from provisioning.operations.components import state_now
from provisioning.operations.diff import show_differences
from provisioning.run import Run
from stack.hosts import firewall
from stack.hosts import log_files as app_logging

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


@step
def host_files(run: Run) -> Commands:
    """Write changed files, remove obsolete ones and apply both; or restore all of them."""
    plan, state = run.plan(host), state_now(run)
    found = changes.file_changes(plan, state)
    if not found:
        return
    changed, obsolete = changes.changed_files(plan, state), changes.obsolete_files(plan, state)
    run.report.change(host.name, [] if run.state.is_executing else found)
    show_differences(run, changed, found, state)
    yield AgentCommand(
        "put_files",
        "host files",
        failure="the previous files were restored: ",
        run=run.id,
        files=[asdict(file) for file in changed],
        removed=obsolete,
        hooks=hooks_of([*(file.path for file in changed), *obsolete]),
    )
    run.report.change(host.name, found)


def hooks_of(paths: Iterable[str]) -> dict[str, dict[str, object]]:
    """The commands that belong to files, as the agent takes them."""
    return {path: asdict(FILE_HOOKS.get(path, FileHooks())) for path in paths}
