"""A program of the stack is of no page's origin: it refuses the names of others (DNS rebinding)."""

from __future__ import annotations

from pathlib import Path

import pytest
import requests

from stack.engines.facts import LOKI_TENANT
from stack.settings.tables import Ports
from tests.native.test_gateway import Gateway, gateway
from tests.native.test_origins import READABLE, ports_of, show
from tests.support.native_stack import (
    LOKI,
    ON_EVERY_COMBINATION,
    StackUnderTest,
    line,
    marker,
    on,
    record,
)
from tests.support.permissions import statuses

__all__ = ["gateway"]
pytestmark = pytest.mark.native
NOT_HTTP = {
    *("loki_grpc", "loki_memberlist", "alertmanager_cluster", "seaweedfs_grpc"),
    *("seaweedfs_master_grpc", "seaweedfs_volume_grpc", "seaweedfs_filer_grpc"),
}
# Where others have no page at `/`.
ONLY = {"loki": "/metrics", "promtail": "/metrics", "seaweedfs_volume": "/1,0111223344"}


def test_the_table_has_every_port_of_the_settings() -> None:
    """Those without HTTP are named in its text."""
    assert set(Ports.model_fields) - set(statuses()) == {"offset", *NOT_HTTP}


@ON_EVERY_COMBINATION
@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:80", "a.b.", "1.2.3.4x"])
def test_the_name_of_another_is_answered_as_the_table_says(
    stack: StackUnderTest, host: str
) -> None:
    """A page may let its own name point here: the program would be of the page's origin."""
    known = statuses()
    for port in ports_of(stack) & set(known) - {"restored"}:  # which no command has started
        paths = {"/", "/metrics", *(path for name, path in READABLE if name == port)}
        for path in {ONLY[port]} if port in ONLY else paths:
            for method in ("GET", "POST"):
                answer = requests.request(
                    method, stack.target.url(port, path), headers={"Host": host}, timeout=10
                )
                # S3 knows no POST there.
                assert answer.status_code in (known[port], 405), (port, path, answer.text)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:1", "[::1]:1", "victorialogs", "a:1"])
def test_addresses_and_names_of_containers_are_served(stack: StackUnderTest, host: str) -> None:
    """They cannot be those of a page."""
    served = [("victorialogs", "/health"), ("alertmanager", "/api/v2/alerts")]
    served += [("vmalert", "/health"), ("otelcol_health", "/"), ("otelcol_metrics", "/metrics")]
    for port, path in served:
        if port in ports_of(stack):
            url = stack.target.url(port, path)
            assert requests.get(url, headers={"Host": host}, timeout=10).status_code == 200


@on(LOKI)
def test_loki_answers_any_name_with_records(stack: StackUnderTest) -> None:
    """As the table says: who knows the tenant reads; without one nobody does."""
    mark = marker()
    stack.write(line(record("read under another name", mark=mark)))
    stack.wait_for({"mark": mark}, 1)
    url = stack.target.url("loki", '/loki/api/v1/query_range?query={service_name=~".%2B"}')
    headers = {"Host": "evil.example"}
    assert requests.get(url, headers=headers, timeout=10).status_code == 401
    answer = requests.get(url, headers={**headers, "X-Scope-OrgID": LOKI_TENANT}, timeout=10)
    assert mark in answer.text


def test_the_gateways_health_check_tells_a_page_nothing(gateway: Gateway) -> None:
    """It answers any name, with nothing."""
    url = f"http://127.0.0.1:{gateway.settings.ports.gateway_health}/health"
    answer = requests.get(url, headers={"Host": "evil.example"}, timeout=10)
    assert (answer.status_code, answer.text) == (statuses()["gateway_health"], "")


@pytest.mark.browser
def test_a_name_that_points_here_shows_no_record(stack: StackUnderTest, tmp_path: Path) -> None:
    """What DNS rebinding leads to, in a browser; by its address the engine shows the record."""
    mark = marker()
    stack.write(line(record("seen by nobody", mark=mark)))
    stack.wait_for({"mark": mark}, 1)
    here = stack.target.url("victorialogs", "/select/logsql/field_values?query=*&field=mark")
    assert mark in show(tmp_path, here)
    shown = show(tmp_path, here.replace("127.0.0.1", "evil.example"))
    assert "unknown host name" in shown
    assert mark not in shown
