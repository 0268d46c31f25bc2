"""Two Alertmanagers as hosts run them: a cluster whose members show certificates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import requests

from stack.alerting.throwaway import RunningProcess, running
from stack.hosts.plan import plan_for
from stack.settings import Settings
from tests.support.host_processes import HostUnderTest, binaries_of, fleet_settings, made_secrets
from tests.support.native_stack import poll

pytestmark = [pytest.mark.native, pytest.mark.own_stack]

ADDRESSES = {"logs-1": "127.0.0.1", "logs-2": "127.0.0.2"}
HOSTS = {
    name: {"address": address, "roles": ["log_server", "alerting"]}
    for name, address in ADDRESSES.items()
}


@contextmanager
def running_alertmanager(
    folder: Path, values: Settings, known: dict[str, str], host: str
) -> Iterator[tuple[str, RunningProcess]]:
    """One host's, on its own address of loopback."""
    under_test = HostUnderTest(folder / host, values, plan_for(values, known, host))
    under_test.write("alertmanager")
    address = ADDRESSES[host]
    argv = under_test.argv("alertmanager", binaries_of(values, "alertmanager")["alertmanager"])
    own = [
        word.replace("0.0.0.0", address).replace("=127.0.0.1:", f"={address}:")  # noqa: S104
        if "listen-address" in word
        else word
        for word in argv
    ]
    url = f"http://{address}:{values.ports.alertmanager}"
    with running(own, url, "/-/ready", folder / f"{host}-process") as process:
        yield url, process


def peers(url: str) -> int:
    answer = requests.get(f"{url}/api/v2/status", timeout=5)
    return len(answer.json()["cluster"].get("peers", []))


def test_two_alertmanagers_find_each_other(tmp_path: Path) -> None:
    """A silence that is made on one of them is there on the other."""
    values = fleet_settings(hosts=HOSTS)
    known = made_secrets(tmp_path, values)
    with ExitStack() as stack:
        both = [
            stack.enter_context(running_alertmanager(tmp_path, values, known, name))
            for name in ADDRESSES
        ]
        logs = "\n".join(process.log.read_text(encoding="utf-8") for _, process in both)
        for url, _ in both:
            poll(lambda url=url: peers(url) == 2, f"two peers at {url}\n{logs}")  # type: ignore[misc]
        silence = {
            "matchers": [{"name": "alertname", "value": "x", "isRegex": False}],
            "startsAt": "2030-01-01T00:00:00Z",
            "endsAt": "2030-01-02T00:00:00Z",
            "createdBy": "tests",
            "comment": "shared",
        }
        (first, _), (second, _) = both
        requests.post(f"{first}/api/v2/silences", json=silence, timeout=5).raise_for_status()
        poll(
            lambda: requests.get(f"{second}/api/v2/silences", timeout=5).json(),
            "the silence on the other one",
        )


def test_a_stranger_does_not_join(tmp_path: Path) -> None:
    """With a certificate of another authority both stay alone."""
    values = fleet_settings(hosts=HOSTS)
    (tmp_path / "other").mkdir()
    ours, other = made_secrets(tmp_path, values), made_secrets(tmp_path / "other", values)
    with (
        running_alertmanager(tmp_path, values, ours, "logs-1") as (url, process),
        running_alertmanager(tmp_path, values, other, "logs-2"),
    ):
        poll(
            lambda: "certificate" in process.log.read_text(encoding="utf-8"),
            lambda: f"a complaint about the certificate:\n{process.log.read_text()}",
        )
        assert peers(url) == 1
