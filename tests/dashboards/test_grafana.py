"""The dashboards in a real Grafana, where one is on PATH: from files, and by the import command."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import yaml

from dashboards.generate import GENERATED
from dashboards.grafana import DATA_SOURCE_UIDS, OWNER_TAG
from dashboards.grafana_api import Grafana, import_all
from dashboards.model import uid
from dashboards.pages import PAGES
from stack.throwaway import running
from tests.native.harness import poll
from tests.ports import free_ports
from tests.require import unavailable

pytestmark = pytest.mark.native


@dataclass(frozen=True)
class RunningGrafana:
    """A Grafana with the VictoriaLogs dashboards provisioned; `api` has a token of an admin."""

    url: str
    api: Grafana
    log: Path


@pytest.fixture(scope="module")
def grafana(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningGrafana]:
    program = shutil.which("grafana") or shutil.which("grafana-server")
    if program is None:
        unavailable("grafana", "neither grafana nor grafana-server is on PATH")
    folder = tmp_path_factory.mktemp("grafana")
    provision(folder / "provisioning")
    [port] = free_ports(1)
    url = f"http://127.0.0.1:{port}"
    password = secrets.token_urlsafe(24)
    beside = Path(program).resolve().parent.parent
    home = beside if (beside / "public").is_dir() else Path("/usr/share/grafana")
    server = ["server"] if Path(program).name == "grafana" else []
    environ = {
        **os.environ,
        "GF_SERVER_HTTP_ADDR": "127.0.0.1",
        "GF_SERVER_HTTP_PORT": str(port),
        "GF_SECURITY_ADMIN_PASSWORD": password,
        "GF_PATHS_DATA": str(folder / "data"),
        "GF_PATHS_LOGS": str(folder / "logs"),
        "GF_PATHS_PLUGINS": str(folder / "plugins"),
        "GF_PATHS_PROVISIONING": str(folder / "provisioning"),
        "GF_ANALYTICS_REPORTING_ENABLED": "false",
        "GF_ANALYTICS_CHECK_FOR_UPDATES": "false",
        "GF_ANALYTICS_CHECK_FOR_PLUGIN_UPDATES": "false",
        "GF_PLUGINS_PREINSTALL_DISABLED": "true",
    }
    argv = [program, *server, f"--homepath={home}"]
    with running(argv, url, "/api/health", folder / "process", environ) as process:
        yield RunningGrafana(url, Grafana(url, make_token(url, password)), process.log)


def provision(folder: Path) -> None:
    """A data source with the uid that dashboards look for, and a provider of the files."""
    source = {
        "name": "Loki",
        "type": "loki",
        "uid": DATA_SOURCE_UIDS["loki"],
        "access": "proxy",
        "url": "http://127.0.0.1:9",  # the discard port: nothing listens there
    }
    provider = {
        "name": "logs",
        "type": "file",
        "folder": "Logs from files",
        "options": {"path": str(GENERATED / "victorialogs")},
    }
    for name, document in (
        ("datasources", {"apiVersion": 1, "datasources": [source]}),
        ("dashboards", {"apiVersion": 1, "providers": [provider]}),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / "logs.yaml").write_text(yaml.safe_dump(document), encoding="utf-8")


def make_token(url: str, password: str) -> str:
    session = requests.Session()
    session.auth = ("admin", password)
    account = session.post(
        f"{url}/api/serviceaccounts", json={"name": "tests", "role": "Admin"}, timeout=30
    ).json()
    path = f"{url}/api/serviceaccounts/{account['id']}/tokens"
    answer = session.post(path, json={"name": "tests"}, timeout=30)
    answer.raise_for_status()
    token: str = answer.json()["key"]
    return token


def test_files_are_provisioned(grafana: RunningGrafana) -> None:
    """Every dashboard and the data source are there under their uids."""
    wanted = {uid(page.name, "victorialogs") for page in PAGES}
    poll(
        lambda: wanted <= {item["uid"] for item in search(grafana)},
        lambda: f"{wanted}, found {search(grafana)}\n{grafana.log.read_text()[-3000:]}",
    )
    for page in PAGES:
        found = grafana.api.get(f"/api/dashboards/uid/{uid(page.name, 'victorialogs')}")
        assert found is not None
        assert found["meta"]["provisioned"]
        titles = [panel["title"] for panel in found["dashboard"]["panels"]]
        assert [panel.title for panel in page.panels if panel.title not in titles] == []
    source = grafana.api.get("/api/datasources/uid/loki")
    assert source is not None
    assert source["type"] == "loki"


def test_the_import_is_idempotent_and_leaves_others_alone(grafana: RunningGrafana) -> None:
    """Made once, then unchanged; changed ones come back; what has lost our tag stays."""
    identifiers = [uid(page.name, "loki") for page in PAGES]
    assert import_all(grafana.api, "loki", "Logs") == dict.fromkeys(identifiers, "created")
    assert import_all(grafana.api, "loki", "Logs") == dict.fromkeys(identifiers, "unchanged")
    change(grafana, identifiers[0], title="Renamed")
    change(grafana, identifiers[1], tags=["mine"])
    outcomes = import_all(grafana.api, "loki", "Logs")
    assert outcomes[identifiers[0]] == "updated"
    assert outcomes[identifiers[1]].startswith("left alone")
    assert set(list(outcomes.values())[2:]) == {"unchanged"}


def search(grafana: RunningGrafana) -> list[dict[str, str]]:
    found: list[dict[str, str]] = grafana.api.get(f"/api/search?tag={OWNER_TAG}") or []
    return found


def change(grafana: RunningGrafana, identifier: str, **values: object) -> None:
    found = grafana.api.get(f"/api/dashboards/uid/{identifier}")
    assert found is not None
    body = {
        "dashboard": {**found["dashboard"], **values},
        "folderUid": found["meta"]["folderUid"],
        "overwrite": True,
    }
    grafana.api.post("/api/dashboards/db", body)
