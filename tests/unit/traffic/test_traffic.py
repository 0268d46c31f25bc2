"""What traffic consists of and what is refused; test_sample_app_served.py sends it for real."""

from __future__ import annotations

import socket
from collections import Counter
from itertools import islice

import pytest

from stack.sample_app.demo_data import ORGANIZATIONS, USERNAMES
from stack.traffic.plan import (
    BURST_LENGTH,
    CLIENTS,
    INTRUDER,
    Account,
    Action,
    Call,
    Kind,
    address_of,
    call_for,
    plan_actions,
    username_of,
)
from stack.traffic.run import AppUnreachableError, TrafficRefusedError, percentile, run

ALICE = Account(
    username="alice",
    organizations=(1, 3, 6),
    administers=1,
    foreign=(2, 4, 5),
    invoices=(11, 12, 13),
    colleagues=(2, 3),
)
WORLD = {"alice": ALICE}


def test_the_same_seed_and_count_give_the_same_actions() -> None:
    """A run can be repeated."""
    assert list(plan_actions(7, 2000)) == list(plan_actions(7, 2000))


def test_a_longer_plan_starts_with_the_shorter_one() -> None:
    """Only the seed decides what comes at a place, not how much follows."""
    assert list(islice(plan_actions(7, 3000), 500)) == list(plan_actions(7, 500))


def test_another_seed_gives_other_actions() -> None:
    """The seed is used."""
    assert list(plan_actions(7, 100)) != list(plan_actions(8, 100))


def test_a_minute_of_traffic_contains_every_kind() -> None:
    """Dashboards and alert rules see everything that the app can do."""
    assert {action.kind for action in plan_actions(1, 60 * 20)} == set(Kind)


def test_most_of_the_traffic_is_reading() -> None:
    """The mix is that of an office, not that of a fuzzer."""
    kinds = Counter(action.kind for action in plan_actions(1, 10_000))
    reading = (
        Kind.LIST_ORGANIZATIONS,
        Kind.SHOW_ORGANIZATION,
        Kind.LIST_INVOICES,
        Kind.SHOW_INVOICE,
    )
    assert sum(kinds[kind] for kind in reading) > 5_000
    assert 50 < kinds[Kind.FAILING_CONVERSION] < 500


def test_bad_logins_come_in_a_burst_from_one_address() -> None:
    """An alert on guessed passwords has something to find, even in a run of 100 requests."""
    clients = [action.client for action in plan_actions(3, 100)]
    first = clients.index(INTRUDER)
    assert clients[first : first + BURST_LENGTH] == [INTRUDER] * BURST_LENGTH
    assert clients.count(INTRUDER) == BURST_LENGTH


@pytest.mark.parametrize("seed", range(5))
def test_a_client_acts_logged_in_and_logs_in_logged_out(seed: int) -> None:
    """No action is planned that the state of its client would make fail."""
    logged_in = dict.fromkeys(range(CLIENTS), True)
    for action in plan_actions(seed, 5_000):
        if action.client == INTRUDER:
            assert action.kind is Kind.BAD_LOGIN
            continue
        logging_in = action.kind in (Kind.LOG_IN, Kind.BAD_LOGIN)
        assert logging_in is not logged_in[action.client]
        if action.kind in (Kind.LOG_IN, Kind.LOG_OUT):
            logged_in[action.client] = action.kind is Kind.LOG_IN


def test_every_client_has_an_address_of_its_own_in_the_documentation_range() -> None:
    """client_ip tells the clients apart and never is somebody's real address."""
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


@pytest.mark.parametrize(
    ("kind", "choice", "expected"),
    [
        (Kind.SHOW_ORGANIZATION, 1, Call("GET", "/api/organizations/3/")),
        (Kind.FOREIGN_ORGANIZATION, 4, Call("GET", "/api/organizations/4/")),
        (Kind.FAILING_CONVERSION, 2, Call("GET", "/api/invoices/13/converted/?currency=XAG")),
        (Kind.SLOW_REPORT, 899, Call("GET", "/api/organizations/6/revenue/?delay_ms=1199")),
        (Kind.LOG_OUT, 0, Call("POST", "/api/logout/", {})),
        (
            Kind.LOG_IN,
            0,
            Call("POST", "/api/login/", {"username": "alice", "password": "the right one"}),
        ),
        (
            Kind.BAD_LOGIN,
            5,
            Call("POST", "/api/login/", {"username": "alice", "password": "mistyped-5"}),
        ),
        (
            Kind.CHANGE_ROLE,
            3,
            Call("POST", "/api/organizations/1/members/3/role/", {"role": "accountant"}),
        ),
    ],
)
def test_an_action_is_one_call(kind: Kind, choice: int, expected: Call) -> None:
    """The number in an action picks among what its user can reach."""
    assert call_for(Action(0, kind, choice), WORLD, "the right one") == expected


def test_the_intruder_never_sends_the_password() -> None:
    """A burst guesses, whatever the configured password is."""
    call = call_for(Action(INTRUDER, Kind.BAD_LOGIN, 9), WORLD, "the right one")
    assert call == Call("POST", "/api/login/", {"username": "dave", "password": "guess-9"})


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
    with pytest.raises(
        TrafficRefusedError, match="base_url: wanted an http address of this machine"
    ):
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
    with pytest.raises(TrafficRefusedError, match=f"^{named}: wanted more than 0, at most"):
        run("http://127.0.0.1", rate=rate, duration=duration, seed=1, password="x")


def test_an_app_that_is_down_gives_one_clear_error() -> None:
    """The error says what was wanted, what was found and the next command."""
    with socket.socket() as bound_but_not_listening:
        bound_but_not_listening.bind(("127.0.0.1", 0))
        base_url = f"http://127.0.0.1:{bound_but_not_listening.getsockname()[1]}"
        with pytest.raises(AppUnreachableError) as caught:
            run(base_url, rate=10, duration=1, seed=1, password="x")
    assert str(caught.value) == (
        f"traffic: wanted the sample app with its demo users at {base_url}, "
        "found no answer (connection). Next: make up"
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
