"""What traffic consists of and what is refused; test_sample_app_served.py sends it for real."""

from __future__ import annotations

import socket
from collections import Counter

import pytest

from stack.sample_app.demo_data import ORGANIZATIONS, USERNAMES
from stack.traffic.plan import (
    BURST_LENGTH,
    CLIENTS,
    INTRUDER,
    KINDS,
    Request,
    address_of,
    ids_of,
    plan_requests,
    request_for,
    username_of,
)
from stack.traffic.run import AppUnreachableError, TrafficError, percentile, run


def plan(seed: int, count: int) -> list[Request]:
    """A plan in which the password is `the right one`."""
    return list(plan_requests(seed, count, "the right one"))


def test_the_same_seed_and_count_give_the_same_requests() -> None:
    """A run can be repeated."""
    assert plan(7, 2000) == plan(7, 2000)


def test_a_longer_plan_starts_with_the_shorter_one() -> None:
    """Only the seed decides what comes at a place, not how much follows."""
    assert plan(7, 3000)[:500] == plan(7, 500)


def test_another_seed_gives_other_requests() -> None:
    """The seed is used."""
    assert plan(7, 100) != plan(8, 100)


def test_a_minute_of_traffic_contains_every_kind() -> None:
    """Dashboards and alert rules see everything that the app can do."""
    assert {request.kind for request in plan(1, 60 * 20)} == set(KINDS)


def test_most_of_the_traffic_is_reading() -> None:
    """The mix is that of an office, not that of a fuzzer."""
    kinds = Counter(request.kind for request in plan(1, 10_000))
    reading = ("list_organizations", "show_organization", "list_invoices", "show_invoice")
    assert sum(kinds[kind] for kind in reading) > 5_000
    assert 50 < kinds["failing_conversion"] < 500


def test_bad_logins_come_in_a_burst_from_one_address() -> None:
    """An alert on guessed passwords has something to find, even in a run of 100 requests."""
    clients = [request.client for request in plan(3, 100)]
    first = clients.index(INTRUDER)
    assert clients[first : first + BURST_LENGTH] == [INTRUDER] * BURST_LENGTH
    assert clients.count(INTRUDER) == BURST_LENGTH


@pytest.mark.parametrize("seed", range(5))
def test_a_client_acts_logged_in_and_logs_in_logged_out(seed: int) -> None:
    """No request is planned that the state of its client would make fail."""
    logged_in = dict.fromkeys(range(CLIENTS), True)
    for request in plan(seed, 5_000):
        if request.client == INTRUDER:
            assert request.kind == "bad_login"
            continue
        logging_in = request.kind in ("log_in", "bad_login")
        assert logging_in is not logged_in[request.client]
        if request.kind in ("log_in", "log_out"):
            logged_in[request.client] = request.kind == "log_in"


def test_every_client_has_an_address_of_its_own_in_the_documentation_range() -> None:
    """client_ip identifies the clients and is never a real address."""
    addresses = {address_of(client) for client in range(CLIENTS + 1)}
    assert len(addresses) == CLIENTS + 1
    assert all(address.startswith("203.0.113.") for address in addresses)


def test_every_demo_user_acts_and_is_admin_of_one_organization_and_stranger_to_another() -> None:
    """Every user can do every kind of action: the demo data fit the plan."""
    assert {username_of(client) for client in range(CLIENTS)} == set(USERNAMES)
    for username in USERNAMES:
        roles = [organization.roles.get(username) for organization in ORGANIZATIONS]
        assert roles.count("admin") == 1
        assert None in roles
        admin_of = ORGANIZATIONS[roles.index("admin")]
        assert len(admin_of.roles) > 1


def test_a_user_uses_what_the_demo_data_give_it() -> None:
    """Alice is in organizations 1, 3 and 6, and admin of the first, whose others are bob, carol."""
    found = [ids_of("alice", choice) for choice in range(36)]
    assert {ids["managed"] for ids in found} == {1}
    assert {ids["organization"] for ids in found} == {1, 3, 6}
    assert {ids["foreign"] for ids in found} == {2, 4, 5}
    assert {ids["colleague"] for ids in found} == {2, 3}
    assert {ids["invoice"] for ids in found} == set(range(1, 13))


@pytest.mark.parametrize(
    ("kind", "choice", "path", "body"),
    [
        ("show_organization", 1, "/api/organizations/3/", None),
        ("foreign_organization", 4, "/api/organizations/4/", None),
        ("failing_conversion", 2, "/api/invoices/3/converted/?currency=XAG", None),
        ("slow_report", 899, "/api/organizations/6/revenue/?delay_ms=1199", None),
        ("log_out", 0, "/api/logout/", {}),
        ("log_in", 0, "/api/login/", {"username": "alice", "password": "the right one"}),
        ("bad_login", 5, "/api/login/", {"username": "alice", "password": "wrong-5"}),
        ("change_role", 3, "/api/organizations/1/members/3/role/", {"role": "accountant"}),
    ],
)
def test_a_request_has_one_path_and_body(
    kind: str, choice: int, path: str, body: dict[str, str] | None
) -> None:
    """The number `choice` picks among the ids of its user."""
    expected = Request(9, 0, kind, path, body)
    assert request_for(9, 0, kind, choice, "the right one") == expected


def test_the_intruder_never_sends_the_password() -> None:
    """A burst guesses, whatever the configured password is."""
    request = request_for(0, INTRUDER, "bad_login", 9, "the right one")
    assert request.body == {"username": "dave", "password": "wrong-9"}


@pytest.mark.parametrize(
    "base_url",
    [
        "http://192.0.2.10",
        "http://erp.example.com",
        "http://127.0.0.1.example.com",
        "http://localhost@192.0.2.10",
        "ftp://127.0.0.1",
        "127.0.0.1",
        "http://[::1",
        "",
    ],
)
def test_only_this_machine_is_driven(base_url: str) -> None:
    """Traffic creates data, so no other machine's address is accepted."""
    with pytest.raises(TrafficError, match="base_url: expected an http address of this machine"):
        run(base_url, rate=1, duration=1, seed=1, password="x")


@pytest.mark.parametrize(
    ("rate", "duration", "named"),
    [
        (0, 1, "rate"),
        (-1, 1, "rate"),
        (500.1, 1, "rate"),
        (float("nan"), 1, "rate"),
        (float("inf"), 1, "rate"),
        (1, 0, "duration"),
        (1, 3601, "duration"),
        (1, float("nan"), "duration"),
    ],
)
def test_what_is_out_of_bounds_is_refused_by_name(rate: float, duration: float, named: str) -> None:
    """The error names the value at fault, before anything is sent."""
    with pytest.raises(TrafficError, match=f"^{named}: expected more than 0 and at most"):
        run("http://127.0.0.1", rate=rate, duration=duration, seed=1, password="x")


def test_an_app_that_is_down_gives_one_clear_error() -> None:
    """The error says where, why and the next command."""
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{bound_but_not_listening.getsockname()[1]}"
        with pytest.raises(AppUnreachableError) as caught:
            run(base_url, rate=10, duration=1, seed=1, password="x")
    assert str(caught.value) == (
        f"cannot send traffic to the sample app at {base_url}: ConnectionError. Run: make up"
    )


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([], 0.5, 0.0),
        ([5.0], 0.95, 5.0),
        ([1.0, 2.0, 3.0, 4.0], 0.5, 2.0),
        ([float(value) for value in range(1, 101)], 0.95, 95.0),
    ],
)
def test_a_percentile_is_a_measured_value(
    values: list[float], share: float, expected: float
) -> None:
    """Nearest rank: no value is made up between two measured ones."""
    assert percentile(values, share) == expected
