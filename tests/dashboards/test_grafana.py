"""The dashboards in a real Grafana, if it is on PATH: provisioned, and imported by command."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from dashboards.grafana import OWNER_TAG
from dashboards.grafana_api import Grafana, check_panels, import_all
from dashboards.pages import PAGES
from stack import artifacts, settings
from stack.alerting.throwaway import running
from stack.components.catalogue import by_name, command
from stack.components.grafana_files import FOLDER, grafana_files
from stack.components.grafana_links import LINKS, link_url, uid
from stack.engines.loki import Loki
from stack.settings import variable_name
from stack.settings.secrets import GRAFANA_PASSWORD, grafana_secrets, write_private
from stack.settings.targets import Target, native
from tests.dashboards.conftest import SCOPE
from tests.support.engines import push
from tests.support.native_stack import poll
from tests.support.ports import free_ports
from tests.support.query_sample import SampleRecords
from tests.support.require import unavailable

pytestmark = pytest.mark.native


@dataclass(frozen=True)
class RunningGrafana:
    """A Grafana as the native runtime starts it with Loki; `api` has an admin's token."""

    url: str
    api: Grafana
    log: Path


@pytest.fixture(scope="module")
def grafana(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[RunningGrafana]:
    program = shutil.which("grafana")
    if program is None:
        unavailable("grafana", "grafana is not on PATH")
    engine: Loki | None = None
    if artifacts.is_available("loki", settings.load({})):
        engine = request.getfixturevalue("loki")
    [port] = free_ports(1)
    target = target_with(tmp_path_factory.mktemp("a grafana"), port, engine)
    for name, text in grafana_files(target).items():
        write_private(target.run_dir / name, text)
    component = by_name("grafana")
    environ = {**os.environ, **component.env(target), **grafana_secrets(target.data_dir)}
    argv = command(component, target, {"grafana": program})
    url = target.url("grafana")
    with running(argv, url, component.health, target.data_dir / "process", environ) as process:
        token = make_token(url, environ[GRAFANA_PASSWORD])
        yield RunningGrafana(url, Grafana(url, token), process.log)


def target_with(folder: Path, port: int, engine: Loki | None) -> Target:
    """A native target with Loki and Grafana; without an engine nothing listens on its port."""
    variables = {
        ("stack", "engine"): "loki",
        ("stack", "grafana"): "on",
        ("ports", "offset"): "0",
        ("ports", "grafana"): str(port),
        ("ports", "loki"): str(urlsplit(engine.url).port if engine else 9),
        ("paths", "run"): str(folder / "run"),
        ("paths", "data"): str(folder / "data"),
    }
    return native(settings.load({variable_name(*key): text for key, text in variables.items()}))


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
    """Every dashboard has its uid, is in our folder, and is read-only."""
    expected = {uid(page.name, "loki") for page in PAGES}
    poll(
        lambda: expected <= {item["uid"] for item in search(grafana)},
        lambda: f"expected {expected}, got {search(grafana)}\n{grafana.log.read_text()[-3000:]}",
    )
    for page in PAGES:
        found = grafana.api.get(f"/api/dashboards/uid/{uid(page.name, 'loki')}")
        assert found is not None
        assert found["meta"]["provisioned"]
        assert found["meta"]["folderTitle"] == FOLDER
        titles = [panel["title"] for panel in found["dashboard"]["panels"]]
        assert [panel.title for panel in page.panels if panel.title not in titles] == []


def test_data_sources_are_provisioned(grafana: RunningGrafana) -> None:
    """With their fixed uids, and a link for each value that has a dashboard."""
    found = {item["uid"]: item for item in grafana.api.get("/api/datasources") or []}
    assert {identifier: item["type"] for identifier, item in found.items()} == {
        "loki": "loki",
        "loki-restored": "loki",
        "alertmanager": "alertmanager",
    }
    assert found["loki"]["isDefault"]
    assert {item["readOnly"] for item in found.values()} == {True}
    links = {item["name"]: item["url"] for item in found["loki"]["jsonData"]["derivedFields"]}
    assert links == {link.field: link_url(link, "loki", "__value.raw") for link in LINKS}


def test_the_password_is_required(grafana: RunningGrafana) -> None:
    """No anonymous access, no sign-up, and not Grafana's default password."""
    path = f"{grafana.url}/api/search"
    refused = requests.codes.unauthorized
    assert requests.get(path, timeout=10).status_code == refused
    assert requests.get(path, auth=("admin", "admin"), timeout=10).status_code == refused
    sign_up = requests.post(f"{grafana.url}/api/user/signup", json={"email": "a@b.c"}, timeout=10)
    assert sign_up.status_code == refused


def test_every_panel_answers_through_grafana(
    grafana: RunningGrafana, loki: Loki, recent: SampleRecords
) -> None:
    """The panels' queries, through the provisioned data source and its tenant."""
    push(loki, recent.records)
    problems = check_panels(grafana.api, "loki", SCOPE)
    assert {text for text in problems.values() if text != "no data"} == set()
    filled = {
        f"{page.title}: {panel.title}"
        for page in PAGES
        for panel in page.panels
        if panel.filled and page.name != "request"  # it is queried without a request
    }
    assert not filled & {*problems}


def test_the_import_is_idempotent_and_changes_only_our_own(grafana: RunningGrafana) -> None:
    """Created, then unchanged; an edited one is updated, one without our tag is left."""
    identifiers = [uid(page.name, "victorialogs") for page in PAGES]
    outcomes = [import_all(grafana.api, "victorialogs", "Logs") for _ in range(2)]
    assert outcomes == [dict.fromkeys(identifiers, text) for text in ("created", "unchanged")]
    change(grafana, identifiers[0], title="Renamed")
    change(grafana, identifiers[1], tags=["mine"])
    after = import_all(grafana.api, "victorialogs", "Logs")
    assert after[identifiers[0]] == "updated"
    assert after[identifiers[1]].startswith("left alone")
    assert set(list(after.values())[2:]) == {"unchanged"}


def test_the_import_does_not_change_provisioned_dashboards(grafana: RunningGrafana) -> None:
    """Only the runtime's files change them."""
    outcomes = import_all(grafana.api, "loki", "Logs")
    assert {text.partition(":")[0] for text in outcomes.values()} == {"left alone"}


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
