"""Settings and targets for tests: the shipped values with ports and names of the tests' own."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stack.settings import ROOT, Layer, Settings, validate
from stack.settings.targets import Target

PORTS = {
    "offset": 0,
    "victorialogs": 21001,
    "otelcol_health": 21002,
    "otelcol_metrics": 21003,
    "vmalert": 21004,
    "alertmanager": 21005,
    "sample_app": 21006,
    "loki": 21007,
    "loki_grpc": 21008,
    "promtail": 21009,
    "restored": 21010,
    "grafana": 21023,
    "seaweedfs": 21011,
    "seaweedfs_grpc": 21012,
    "seaweedfs_master": 21013,
    "seaweedfs_master_grpc": 21014,
    "seaweedfs_volume": 21015,
    "seaweedfs_volume_grpc": 21016,
    "seaweedfs_filer": 21017,
    "seaweedfs_filer_grpc": 21018,
    "gateway": 21019,
    "gateway_health": 21020,
    "alertmanager_cluster": 21021,
    "loki_memberlist": 21022,
}
SECRETS = {
    "LOGSTACK_SAMPLE_SECRET_KEY": "key-1",
    "LOGSTACK_SAMPLE_PASSWORD": "password-1",
    "GF_SECURITY_ADMIN_PASSWORD": "password-2",
}

ARCHIVE_SECRETS = {
    **{
        f"LOGSTACK_ARCHIVE_{n.upper()}": f"{n}-key:{n}:secret"
        for n in ("admin", "writer", "reader")
    },
    "LOGSTACK_ARCHIVE_SIGNING_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
}


def settings_with(**sections: Mapping[str, Any]) -> Settings:
    """The shipped settings with the tests' ports, and `sections` over both."""
    shipped = tomllib.loads((ROOT / "stack" / "settings.toml").read_text(encoding="utf-8"))
    ours = {"ports": PORTS, "stack": {"host": "host-1"}}
    return validate([Layer("shipped", shipped), Layer("ours", ours), Layer("test", sections)])


def target_in(folder: Path, **sections: Mapping[str, Any]) -> Target:
    """A native target whose run and data folders are `run` and `data` in `folder`."""
    return Target("native", "127.0.0.1", folder / "run", folder / "data", settings_with(**sections))
