"""What generated traffic consists of: who sends which request, in which order. Pure.

stack/traffic/run.py sends what `plan_requests` yields.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from stack.sample_app.demo_data import INVOICES_PER_ORGANIZATION, ORGANIZATIONS, USERNAMES

CLIENTS = 24
INTRUDER = CLIENTS  # one client more, which only guesses passwords
BURST_EVERY, BURST_START, BURST_LENGTH = 300, 40, 10  # requests
MISTYPED = 0.25  # share of logins whose first attempt has a wrong password


@dataclass(frozen=True)
class Kind:
    """A kind of request; `request_for` fills in the braces of `path` and `body`.

    `weight` is how many of a hundred requests of a logged-in client are of this kind, `status` the
    expected answer.
    """

    weight: int
    method: str
    path: str
    body: Mapping[str, str] | None = None
    status: int = 200


ALL, ONE = "/api/organizations/", "/api/organizations/{organization}/"
MANAGED, INVOICE = "/api/organizations/{managed}/", "/api/invoices/{invoice}/"
CREDENTIALS = {"username": "{username}", "password": "{password}"}
BRANCH = {"name": "Branch {choice:05d}", "country": "{country}"}
KINDS: dict[str, Kind] = {
    "list_organizations": Kind(16, "GET", f"{ALL}?limit=20"),
    "show_organization": Kind(18, "GET", ONE),
    "create_organization": Kind(2, "POST", ALL, BRANCH, 201),
    "list_members": Kind(5, "GET", f"{ONE}members/"),
    "change_role": Kind(1, "POST", f"{MANAGED}members/{{colleague}}/role/", {"role": "{role}"}),
    "list_invoices": Kind(16, "GET", f"{ONE}invoices/?limit={{limit}}"),
    "show_invoice": Kind(14, "GET", INVOICE),
    "create_invoice": Kind(
        6, "POST", f"{ONE}invoices/", {"customer": "Customer {customer}", "amount": "{amount}"}, 201
    ),
    "convert_invoice": Kind(4, "GET", f"{INVOICE}converted/?currency=USD"),
    "export_invoices": Kind(2, "GET", f"{MANAGED}invoices/export/"),
    "slow_report": Kind(2, "GET", f"{ONE}revenue/?delay_ms={{delay}}"),
    "who_am_i": Kind(4, "GET", "/api/me/"),
    "log_in": Kind(0, "POST", "/api/login/", CREDENTIALS),
    "log_out": Kind(3, "POST", "/api/logout/", {}),
    "bad_login": Kind(0, "POST", "/api/login/", CREDENTIALS, 401),
    "foreign_organization": Kind(3, "GET", "/api/organizations/{foreign}/", status=403),
    "missing_page": Kind(2, "GET", "/api/reports/{choice}/", status=404),
    "failing_conversion": Kind(2, "GET", f"{INVOICE}converted/?currency=XAG", status=500),
}


@dataclass(frozen=True)
class Request:
    """One request of a client. `place` is its number in the plan."""

    place: int
    client: int
    kind: str
    path: str
    body: dict[str, str] | None


def plan_requests(seed: int, count: int, password: str) -> Iterator[Request]:
    """Yield `count` requests, the same for the same seed; a longer plan starts like a shorter."""
    chance = random.Random(seed)  # noqa: S311 -- reproducible on purpose, nothing secret
    kinds, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
    logged_in = [True] * CLIENTS
    for place in range(count):
        choice = chance.randrange(1 << 16)
        if BURST_START <= place % BURST_EVERY < BURST_START + BURST_LENGTH:
            yield request_for(place, INTRUDER, "bad_login", choice, password)
            continue
        client = chance.randrange(CLIENTS)
        if logged_in[client]:
            kind = chance.choices(kinds, weights)[0]
            logged_in[client] = kind != "log_out"
        else:
            kind = "bad_login" if chance.random() < MISTYPED else "log_in"
            logged_in[client] = kind == "log_in"
        yield request_for(place, client, kind, choice, password)


def request_for(place: int, client: int, kind: str, choice: int, password: str) -> Request:
    """One request; `choice` picks the organization, the invoice or the delay."""
    username = username_of(choice if client == INTRUDER else client)
    values = {
        **ids_of(username, choice),
        "username": username,
        "password": f"wrong-{choice}" if kind == "bad_login" else password,
        "choice": choice,
        "limit": choice % 30 + 1,
        "delay": 300 + choice % 900,
        "customer": choice % 40,
        "amount": f"{choice % 9000 + 1}.50",
        "role": ("member", "accountant")[choice % 2],
        "country": ("DE", "FR", "NO")[choice % 3],
    }
    body = KINDS[kind].body
    filled = None if body is None else {key: text.format(**values) for key, text in body.items()}
    return Request(place, client, kind, KINDS[kind].path.format(**values), filled)


def ids_of(username: str, choice: int) -> dict[str, int]:
    """Ids that a user can use. `seed` stores the demo data in its order, so they count from 1."""
    roles = [organization.roles.get(username) for organization in ORGANIZATIONS]
    managed = roles.index("admin")
    colleagues = [name for name in ORGANIZATIONS[managed].roles if name != username]
    own = [number for number, role in enumerate(roles, start=1) if role]
    foreign = [number for number, role in enumerate(roles, start=1) if not role]
    return {
        "managed": managed + 1,
        "organization": own[choice % len(own)],
        "foreign": foreign[choice % len(foreign)],
        "colleague": USERNAMES.index(colleagues[choice % len(colleagues)]) + 1,
        "invoice": managed * INVOICES_PER_ORGANIZATION + choice % INVOICES_PER_ORGANIZATION + 1,
    }


def username_of(client: int) -> str:
    """The demo user that a client logs in as."""
    return USERNAMES[client % len(USERNAMES)]


def address_of(client: int) -> str:
    """The address a client pretends to have, from a range for documentation (RFC 5737)."""
    return f"203.0.113.{200 if client == INTRUDER else 10 + client}"
