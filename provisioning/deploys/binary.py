"""Binaries: upload, verify the checksum, move into the versioned folder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pyinfra.operations import files

from provisioning import DeployError, refuse_as_deploy
from provisioning.changes import OPT, Binary, Facts
from provisioning.fleet import Remote

refuse_as_deploy(__name__)

UPLOADS = f"{OPT}/.upload"


def install_binaries(
    remote: Remote, binaries: Sequence[Binary], sources: Mapping[str, Path], facts: Facts
) -> None:
    """Upload the binaries that are missing on the host or differ. Raises DeployError."""
    for item in binaries:
        if facts["binaries"].get(item.path) == item.sha256:
            continue
        upload = f"{UPLOADS}/{item.sha256}"
        files.put(
            name=f"Upload {item.path}",
            src=str(sources[item.path]),
            dest=upload,
            mode="700",
            _sudo=remote.sudo,
        )
        answer = remote.ask("install_binary", upload=upload, path=item.path, sha256=item.sha256)
        if not answer["ok"]:
            raise DeployError(f"{remote.name}: {item.path}: {answer['text']}")
