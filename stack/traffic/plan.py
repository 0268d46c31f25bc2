"""What generated traffic consists of: who does what in which order, and as which request. All pure.

    plan_actions(seed, count)  -> the actions
    call_for(action, world)    -> method, path and body of one action

stack/traffic/run.py calls both and sends the requests. Every action is exactly one request.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from stack.sample_app.demo_data import USERNAMES

CLIENTS = 24
INTRUDER = CLIENTS  # one client more, which only guesses passwords
BURST_EVERY, BURST_START, BURST_LENGTH = 300, 40, 10  # actions


class Kind(StrEnum):
    """What a client can do."""

    LIST_ORGANIZATIONS = "list_organizations"
    SHOW_ORGANIZATION = "show_organization"
    CREATE_ORGANIZATION = "create_organization"
    LIST_MEMBERS = "list_members"
    CHANGE_ROLE = "change_role"
    LIST_INVOICES = "list_invoices"
    SHOW_INVOICE = "show_invoice"
    CREATE_INVOICE = "create_invoice"
    CONVERT_INVOICE = "convert_invoice"
    EXPORT_INVOICES = "export_invoices"
    SLOW_REPORT = "slow_report"
    WHO_AM_I = "who_am_i"
    LOG_IN = "log_in"
    LOG_OUT = "log_out"
    BAD_LOGIN = "bad_login"
    FOREIGN_ORGANIZATION = "foreign_organization"
    MISSING_PAGE = "missing_page"
    FAILING_CONVERSION = "failing_conversion"


# What a logged-in client does, in parts of a hundred.
MIX = {
    Kind.LIST_ORGANIZATIONS: 16,
    Kind.SHOW_ORGANIZATION: 18,
    Kind.CREATE_ORGANIZATION: 2,
    Kind.LIST_MEMBERS: 5,
    Kind.CHANGE_ROLE: 1,
    Kind.LIST_INVOICES: 16,
    Kind.SHOW_INVOICE: 14,
    Kind.CREATE_INVOICE: 6,
    Kind.CONVERT_INVOICE: 4,
    Kind.EXPORT_INVOICES: 2,
    Kind.SLOW_REPORT: 2,
    Kind.WHO_AM_I: 4,
    Kind.LOG_OUT: 3,
    Kind.FOREIGN_ORGANIZATION: 3,
    Kind.MISSING_PAGE: 2,
    Kind.FAILING_CONVERSION: 2,
}
MISTYPED = 0.25  # share of logins whose first try has a wrong password

EXPECTED_STATUS = {
    Kind.CREATE_ORGANIZATION: 201,
    Kind.CREATE_INVOICE: 201,
    Kind.BAD_LOGIN: 401,
    Kind.FOREIGN_ORGANIZATION: 403,
    Kind.MISSING_PAGE: 404,
    Kind.FAILING_CONVERSION: 500,
}


@dataclass(frozen=True)
class Action:
    """One request to come: who, what, and a number that picks organization, invoice or delay."""

    client: int
    kind: Kind
    choice: int


@dataclass(frozen=True)
class Account:
    """A demo user and the ids of what it can reach."""

    username: str
    organizations: tuple[int, ...]
    administers: int
    foreign: tuple[int, ...]
    invoices: tuple[int, ...]
    colleagues: tuple[int, ...]


World = dict[str, Account]


@dataclass(frozen=True)
class Call:
    """One HTTP request."""

    method: str
    path: str
    body: dict[str, str] | None = None


def plan_actions(seed: int, count: int) -> Iterator[Action]:
    """Yield `count` actions, the same for the same seed; a longer plan starts like a shorter."""
    chance = random.Random(seed)  # noqa: S311 -- reproducible on purpose, nothing secret
    kinds, weights = list(MIX), list(MIX.values())
    logged_in = [True] * CLIENTS
    for place in range(count):
        choice = chance.randrange(1 << 16)
        if BURST_START <= place % BURST_EVERY < BURST_START + BURST_LENGTH:
            yield Action(INTRUDER, Kind.BAD_LOGIN, choice)
            continue
        client = chance.randrange(CLIENTS)
        if logged_in[client]:
            kind = chance.choices(kinds, weights)[0]
            logged_in[client] = kind is not Kind.LOG_OUT
        else:
            kind = Kind.BAD_LOGIN if chance.random() < MISTYPED else Kind.LOG_IN
            logged_in[client] = kind is Kind.LOG_IN
        yield Action(client, kind, choice)


def username_of(client: int) -> str:
    """Return in whose name a client acts."""
    return USERNAMES[client % len(USERNAMES)]


def address_of(client: int) -> str:
    """Return the address a client pretends to have, from a range for documentation (RFC 5737)."""
    return f"203.0.113.{200 if client == INTRUDER else 10 + client}"


def call_for(action: Action, world: World, password: str) -> Call:
    """Return the request that an action stands for."""
    choice = action.choice
    if action.client == INTRUDER:
        return login_call(USERNAMES[choice % len(USERNAMES)], f"guess-{choice}")
    account = world[username_of(action.client)]
    organization = f"/api/organizations/{_pick(account.organizations, choice)}/"
    administered = f"/api/organizations/{account.administers}/"
    invoice = f"/api/invoices/{_pick(account.invoices, choice)}/"
    amount = {"customer": f"Customer {choice % 40}", "amount": f"{choice % 9000 + 1}.50"}
    role = {"role": ("member", "accountant")[choice % 2]}
    new = {"name": f"Branch {choice:05d}", "country": ("DE", "FR", "NO")[choice % 3]}
    calls: dict[Kind, Call] = {
        Kind.LIST_ORGANIZATIONS: Call("GET", "/api/organizations/?limit=20"),
        Kind.SHOW_ORGANIZATION: Call("GET", organization),
        Kind.CREATE_ORGANIZATION: Call("POST", "/api/organizations/", new),
        Kind.LIST_MEMBERS: Call("GET", f"{organization}members/"),
        Kind.CHANGE_ROLE: Call(
            "POST", f"{administered}members/{_pick(account.colleagues, choice)}/role/", role
        ),
        Kind.LIST_INVOICES: Call("GET", f"{organization}invoices/?limit={choice % 30 + 1}"),
        Kind.SHOW_INVOICE: Call("GET", invoice),
        Kind.CREATE_INVOICE: Call("POST", f"{organization}invoices/", amount),
        Kind.CONVERT_INVOICE: Call("GET", f"{invoice}converted/?currency=USD"),
        Kind.EXPORT_INVOICES: Call("GET", f"{administered}invoices/export/"),
        Kind.SLOW_REPORT: Call("GET", f"{organization}revenue/?delay_ms={300 + choice % 900}"),
        Kind.WHO_AM_I: Call("GET", "/api/me/"),
        Kind.LOG_IN: login_call(account.username, password),
        Kind.LOG_OUT: Call("POST", "/api/logout/", {}),
        Kind.BAD_LOGIN: login_call(account.username, f"mistyped-{choice}"),
        Kind.FOREIGN_ORGANIZATION: Call(
            "GET", f"/api/organizations/{_pick(account.foreign, choice)}/"
        ),
        Kind.MISSING_PAGE: Call("GET", f"/api/reports/{choice}/"),
        Kind.FAILING_CONVERSION: Call("GET", f"{invoice}converted/?currency=XAG"),
    }
    return calls[action.kind]


def login_call(username: str, password: str) -> Call:
    return Call("POST", "/api/login/", {"username": username, "password": password})


def _pick(ids: tuple[int, ...], choice: int) -> int:
    return ids[choice % len(ids)]
