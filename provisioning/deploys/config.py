"""Configuration: staged beside the one in use and checked there by the new version."""

from __future__ import annotations

from dataclasses import asdict

from pyinfra.operations import files, server

from provisioning import DeployError, refuse_as_deploy
from provisioning.changes import Facts, config_dir, target_of
from provisioning.fleet import Remote
from stack.hosts.files import HostFile
from stack.hosts.plan import HostComponent

refuse_as_deploy(__name__)


def ensure_user_and_directories(remote: Remote, component: HostComponent, facts: Facts) -> None:
    """Create the component's user and the folders that it may write to."""
    if component.user not in facts["users"]:
        server.user(  # noqa: S604 -- the login shell of the user
            name=f"User {component.user}",
            user=component.user,
            home="/nonexistent",
            shell="/usr/sbin/nologin",
            system=True,
            create_home=False,
            _sudo=remote.sudo,
        )
    for path, mode in component.directories:
        before = facts["directories"].get(path)
        if before and before["owner"] != component.user:  # the archiver's changes with the engine
            server.shell(
                name=f"Owner of {path}",
                commands=[f"chown -R {component.user}:{component.user} {path}"],
                _sudo=remote.sudo,
            )
        if before != {"mode": mode, "owner": component.user}:
            files.directory(
                name=f"Folder {path}",
                path=path,
                user=component.user,
                group=component.user,
                mode=mode.lstrip("0"),
                _sudo=remote.sudo,
            )


def stage_and_check(remote: Remote, component: HostComponent, binary: str) -> None:
    """Upload and check the new configuration. Raises DeployError, with nothing in use changed."""
    base = f"{config_dir(component)}/"
    staged = [{**asdict(file), "path": file.path.removeprefix(base)} for file in component.files]
    folder = remote.ask("stage", name=component.name, user=component.user, files=staged)["folder"]
    if not component.check:
        return
    versioned = target_of(component)
    known = {"binary": f"{versioned}/{binary}", "folder": versioned, "config": folder}
    argv = [argument.format(**known) for argument in component.check]
    answer = remote.ask("check", user=component.user, argv=argv)
    if not answer["ok"]:
        raise DeployError(
            f"{remote.name}: {component.name}: configuration check failed; the previous "
            f"configuration is still active:\n{_redact(answer['text'], component.files)}"
        )


def _redact(text: str, files_of: tuple[HostFile, ...]) -> str:
    """The checker's output without lines that quote a secret file."""
    quoted = {
        line.strip()
        for file in files_of
        if file.secret
        for line in file.text.splitlines()
        if len(line.strip()) > 3
    }
    kept = [line for line in text.strip().splitlines() if not any(q in line for q in quoted)]
    return "\n".join(f"    {line}" for line in kept[-15:])
