"""The gateway's configuration: Caddy's own check, and certificates of each kind."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from stack.hosts import HostsError
from stack.hosts.certificates import issue, make_authority
from stack.hosts.plan import HostComponent, plan_for
from stack.settings import Settings
from tests.support.host_checks import check
from tests.support.host_processes import fleet_settings, made_secrets

pytestmark = pytest.mark.native


@pytest.mark.parametrize(
    ("host", "name", "file"),
    [
        ("logs-1", "gateway", "Caddyfile"),
        ("logs-1", "alertmanager", "alertmanager.yml"),
        ("logs-1", "vmalert", "logstack.yaml"),
        ("app-1", "otelcol", "config.yaml"),
    ],
)
def test_a_checker_takes_the_staged_files_and_refuses_a_broken_one(
    tmp_path: Path, host: str, name: str, file: str
) -> None:
    """Each program's own checker finds the files where they are staged, not yet in place."""
    values = fleet_settings(app_hosts={"journal": True, "docker_logs": True})
    plan = plan_for(values, made_secrets(tmp_path, values), host)
    component = next(item for item in plan.components if item.name == name)
    good = check(component, values, tmp_path / "good")
    assert good.returncode == 0, good.stdout + good.stderr
    files = tuple(
        replace(item, text=item.text + "\nnonsense: [\n") if item.path.endswith(file) else item
        for item in component.files
    )
    bad = check(replace(component, files=files), values, tmp_path / "bad")
    assert bad.returncode != 0, bad.stdout + bad.stderr


def test_certificates_of_a_public_authority(tmp_path: Path) -> None:
    """Caddy takes the Caddyfile, has no certificate files, and names whom to write to."""
    servers = {"logs-1": {"address": "logs-1.example.net", "roles": ["log_server"]}}
    acme = {"tls": "acme", "acme_email": "ops@example.net", "name": "logs.example.net"}
    component, values = _gateway_component(tmp_path, gateway=acme, hosts=servers)
    (file,) = component.files
    assert "email ops@example.net" in file.text
    assert "https://logs.example.net" in file.text
    result = check(component, values, tmp_path / "staged")
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_public_authority_needs_names(tmp_path: Path) -> None:
    """Caddy would sign a certificate for an address itself, which no agent trusts."""
    with pytest.raises(HostsError, match=r"hosts\.logs-1: expected DNS names.*, got 127\.0\.0\.1"):
        _gateway_component(tmp_path, gateway={"tls": "acme"})


def test_certificates_that_are_given(tmp_path: Path) -> None:
    """They are copied to the host; a key of another certificate is refused there."""
    authority = make_authority("given")
    issued, other = (issue(authority, "logs-1", ["127.0.0.1"]) for _ in range(2))
    for name, text in (("a.pem", issued.certificate), ("a.key", issued.key), ("b.key", other.key)):
        (tmp_path / name).write_text(text, encoding="utf-8")
    given = {"tls": "files", "certificate_file": str(tmp_path / "a.pem")}
    for key, status in (("a.key", 0), ("b.key", 1)):
        tls = {**given, "key_file": str(tmp_path / key)}
        component, values = _gateway_component(tmp_path, gateway=tls)
        result = check(component, values, tmp_path / f"staged-{key}")
        assert result.returncode == status, result.stdout + result.stderr


def test_given_certificates_that_are_not_there(tmp_path: Path) -> None:
    """The setting is named."""
    with pytest.raises(HostsError, match=r"gateway\.certificate_file: cannot read the PEM file"):
        _gateway_component(tmp_path, gateway={"tls": "files", "certificate_file": "nowhere.pem"})


def _gateway_component(
    folder: Path, **sections: Mapping[str, object]
) -> tuple[HostComponent, Settings]:
    values = fleet_settings(**sections)
    plan = plan_for(values, made_secrets(folder, values), "logs-1")
    return next(item for item in plan.components if item.name == "gateway"), values
