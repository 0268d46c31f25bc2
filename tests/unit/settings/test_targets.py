"""Where components listen, store and read."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from stack.components.loki import render_loki
from stack.settings.targets import native
from tests.support.example import PORTS, settings_with, target_in


def test_the_native_target_is_below_the_checkout() -> None:
    """Relative paths of the settings are relative to the checkout, not to the caller."""
    target = native(settings_with(), root=Path("/srv/checkout"))
    assert (target.run_dir, target.data_dir, target.host) == (
        Path("/srv/checkout/.run/native"),
        Path("/srv/checkout/.data/native"),
        "127.0.0.1",
    )


def test_an_absolute_path_of_the_settings_is_used_as_it_is() -> None:
    """Data may be on another disk."""
    target = native(settings_with(paths={"data": "/big"}), root=Path("/srv/checkout"))
    assert target.data_dir == Path("/big/native")


def test_a_full_disk_is_one_with_free_disk_left_for_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Loki knows a part of the disk alone; its own default leaves 100 GB of 1 TB unused."""
    disk = SimpleNamespace(total=1000 * 2**30, used=0, free=950 * 2**30)  # 5 % are root's alone
    monkeypatch.setattr("shutil.disk_usage", lambda path: disk)
    settings = settings_with(limits={"free_disk": "10GiB"})
    assert native(settings, root=Path("/nowhere")).disk_full == 0.94
    rendered = yaml.safe_load(render_loki(native(settings))["loki/config.yaml"])
    assert rendered["ingester"]["wal"]["disk_full_threshold"] == 0.94


def test_the_offset_moves_every_address() -> None:
    """Two checkouts run side by side after one change."""
    ports = {**PORTS, "offset": 700}
    target = target_in(Path("/srv"), ports=ports)
    names = [name for name in PORTS if name != "offset"]
    assert [target.address(name) for name in names] == [
        f"127.0.0.1:{PORTS[name] + 700}" for name in names
    ]
    assert target.url("vmalert", "/health") == "http://127.0.0.1:21704/health"


def test_every_component_has_folders_and_a_log_of_its_own() -> None:
    """The table of docs and errors relies on these places."""
    target = target_in(Path("/srv"), sample_app={"service": "shop"})
    assert target.config_dir("otelcol") == Path("/srv/run/otelcol")
    assert target.storage_dir("otelcol") == Path("/srv/data/otelcol")
    assert target.log_file("otelcol") == Path("/srv/data/logs/otelcol.log")
    assert target.app_log_file == Path("/srv/data/app-logs/shop.log")


def test_the_socket_is_in_the_run_folder() -> None:
    """As long as its path is not too long for one."""
    assert target_in(Path("/srv")).supervisor_socket == Path("/srv/run/supervisor.sock")


def test_the_socket_of_a_deep_checkout_is_in_a_short_private_folder() -> None:
    """A socket's path has at most 108 bytes, and a letter may take several of them."""
    target = target_in(Path("/srv") / ("ä" * 40))
    socket = target.supervisor_socket
    assert len(os.fsencode(socket)) < 90
    assert str(os.getuid()) in socket.parent.name
    assert socket == target.supervisor_socket


def test_two_deep_checkouts_have_two_sockets() -> None:
    """Neither talks to the other's supervisord."""
    target = target_in(Path("/srv") / ("a" * 90))
    other = replace(target, run_dir=Path("/srv") / ("a" * 89) / "b" / "run")
    assert target.supervisor_socket != other.supervisor_socket
