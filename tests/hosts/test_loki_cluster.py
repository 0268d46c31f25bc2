"""Three log servers with Loki as one engine: what one of them is sent, all of them have."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import boto3
import pytest

from stack import artifacts, settings
from stack.artifacts import host_programs as programs
from stack.engines.facts import LOKI_TENANT
from stack.runtimes.docker.engine import run
from tests.hosts.conftest import started_or_skipped
from tests.support.host_containers import FleetUnderTest, TestHost
from tests.support.host_load import Load, load
from tests.support.native_stack import poll
from tests.support.require import unavailable

pytestmark = [pytest.mark.docker, pytest.mark.timeout(600)]

SERVERS = ("logs-1", "logs-2", "logs-3")
KEY, SECRET, BUCKET = "shelf-key", "shelf-secret", "shelf"
PORT = settings.load({}).ports.effective("seaweedfs")
WEED = (
    "-logtostderr=true server -dir=/var/lib/weed -ip.bind=0.0.0.0 -filer -s3 "
    f"-s3.config=/etc/weed.json -s3.port={PORT} -master.volumeSizeLimitMB=64 -volume.max=0"
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetUnderTest]:
    """Three log servers, an application host and an object store that the servers share."""
    try:
        programs.ensure(settings.load({}), ["loki"], lambda name, text: None)
    except artifacts.ArtifactError as error:
        unavailable("loki", str(error))
    names = (*SERVERS, "app-1", "store")
    with started_or_skipped(names, tmp_path_factory.mktemp("cluster")) as fleet:
        store = fleet.hosts["store"]
        start_store(store, fleet.folder)
        fleet.roles = {
            **dict.fromkeys(SERVERS, ("log_server", "alerting")),
            "app-1": ("app_host",),
        }
        fleet.values = {
            **fleet.values,
            "stack": {"engine": "loki"},
            "loki_storage": {"endpoint": f"http://{store.address}:{PORT}", "bucket": BUCKET},
            "timing": {"start_timeout": "90s"},
        }
        fleet.variables = {"LOGSTACK_SECRET_LOKI_STORAGE": f"{KEY}:{SECRET}"}
        fleet.prepare()
        fleet.deploy()
        yield fleet


def start_store(host: TestHost, folder: Path) -> None:
    """A SeaweedFS with one user and one bucket, on its own machine."""
    weed = artifacts.find_in_venv("weed")
    credentials = [{"accessKey": KEY, "secretKey": SECRET}]
    identities = [{"name": "loki", "credentials": credentials, "actions": ["Admin"]}]
    (folder / "weed.json").write_text(json.dumps({"identities": identities}), encoding="utf-8")
    for source, target in ((weed, "/usr/local/bin/weed"), (folder / "weed.json", "/etc/weed.json")):
        assert run("cp", str(source.resolve()), f"{host.container}:{target}").returncode == 0
    host.sh(f"mkdir /var/lib/weed && systemd-run --unit=weed /usr/local/bin/weed {WEED}")
    poll(lambda: is_healthy(host), lambda: host.sh("journalctl -n 30 -u weed"), timeout=60)
    client = boto3.client(
        "s3", endpoint_url=f"http://{host.address}:{PORT}", region_name="us-east-1",
        aws_access_key_id=KEY, aws_secret_access_key=SECRET,
    )  # fmt: skip
    client.create_bucket(Bucket=BUCKET)
    client.close()


def is_healthy(host: TestHost) -> bool:
    try:
        host.get(f"http://127.0.0.1:{PORT}/healthz")
    except AssertionError:  # no answer yet
        return False
    return True


def numbers(fleet: FleetUnderTest, writer: Load, server: str) -> Counter[int]:
    """The numbers of a writer that one of the servers answers with."""
    query = f'{{service_name="erp-backend-api"}} | request_id=`{writer.mark}`'
    asked = urlencode({"query": query, "since": "1h", "limit": "100000"})
    port = settings.load({}).ports.effective("loki")
    url = f"http://127.0.0.1:{port}/loki/api/v1/query_range?{asked}"
    try:
        text = fleet.hosts[server].get(url, headers={"X-Scope-OrgID": LOKI_TENANT})
    except AssertionError:  # no answer yet
        return Counter()
    streams = json.loads(text)["data"]["result"]
    return Counter(json.loads(line)["number"] for stream in streams for _, line in stream["values"])


def wait_for_all(fleet: FleetUnderTest, writer: Load) -> None:
    """Each server answers with every number once."""
    for server in SERVERS:
        poll(
            lambda server=server: (  # type: ignore[misc]
                numbers(fleet, writer, server) == Counter(range(writer.count))
            ),
            lambda server=server: (  # type: ignore[misc]
                f"{writer.count} from {server}, found {len(numbers(fleet, writer, server))}\n"
                + fleet.journals()
            ),
            timeout=120,
        )


def test_every_server_answers_with_what_one_was_sent(cluster: FleetUnderTest) -> None:
    """And `verify` reads the policies of all of them back."""
    with load(cluster, ("app-1",)) as writers:
        result = cluster.run("hosts", "verify", "staging")
        assert result.returncode == 0, result.stdout + result.stderr + cluster.journals()
    assert "a canary record was read back parsed from logs-1, logs-2, logs-3" in result.stdout
    assert result.stdout.count("records are kept") == 3
    wait_for_all(cluster, writers[0])


def test_one_server_after_the_other_is_restarted_and_nothing_is_lost(
    cluster: FleetUnderTest,
) -> None:
    """Two of three copies are enough while the third server restarts with another value."""
    with load(cluster, ("app-1",)) as writers:
        cluster.values = {**cluster.values, "limits": {"streams": 30000}}
        text = cluster.deploy()
    assert text.count("restart service logstack-loki") == 3
    wait_for_all(cluster, writers[0])


def test_a_server_that_fails_is_no_loss(cluster: FleetUnderTest) -> None:
    """Its engine is killed and stays stopped; the others accept records and answer."""
    host = cluster.hosts["logs-3"]
    with load(cluster, ("app-1",)) as writers:
        host.sh("systemctl kill --signal=KILL logstack-loki; systemctl stop logstack-loki")
    others = [server for server in SERVERS if server != "logs-3"]
    for server in others:
        poll(
            lambda server=server: (  # type: ignore[misc]
                numbers(cluster, writers[0], server) == Counter(range(writers[0].count))
            ),
            lambda server=server: f"all from {server}\n{cluster.journals()}",  # type: ignore[misc]
            timeout=120,
        )
    host.sh("systemctl start logstack-loki")
