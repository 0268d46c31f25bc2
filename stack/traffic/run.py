"""Drives the sample app over HTTP with the mix of traffic_plan.py; `logstack traffic` calls `run`.

Each client has a thread and does its actions in order, so that a logout stays between the login
before it and the login after it. Actions are handed out at their time, whether or not earlier ones
have been answered (open loop), until a client has too many waiting.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests

from stack.sample_app.demo_data import USERNAMES
from stack.traffic.plan import (
    CLIENTS,
    EXPECTED_STATUS,
    Account,
    Action,
    Call,
    World,
    address_of,
    call_for,
    login_call,
    plan_actions,
    username_of,
)

HIGHEST_RATE = 500.0  # requests per second
LONGEST_DURATION = 3600.0  # seconds
REQUEST_TIMEOUT = 10.0  # seconds
GRACE = 5.0  # seconds for what still waits when the time is over
LONGEST_QUEUE = 64  # actions of one client; more would hide that the app does not keep up
PROGRESS_EVERY = 0.5  # seconds

OnProgress = Callable[[int, int], None]


class TrafficError(Exception):
    """No traffic could be sent; the text says what was wanted, what was found, what to do next."""


class TrafficRefusedError(TrafficError):
    """The request for traffic itself is out of bounds."""


class AppUnreachableError(TrafficError):
    """The sample app does not answer, or does not know the demo users."""


@dataclass(frozen=True)
class TrafficReport:
    """What was sent and what came back. The requests that prepare a run are counted apart."""

    planned: int
    requests: int
    setup_requests: int
    achieved_rate: float  # requests per second
    p50_ms: float
    p95_ms: float
    by_status: dict[str, int]  # "2xx": 40, ...
    by_kind: dict[str, int]
    unexpected: dict[str, int]  # "show_invoice 500": 1, ...; empty when the app did what it should
    errors: dict[str, int]  # requests without an answer, by kind of failure
    interrupted: bool


def run(
    base_url: str,
    *,
    rate: float,
    duration: float,
    seed: int,
    password: str,
    on_progress: OnProgress | None = None,
) -> TrafficReport:
    """Send `rate` requests per second for `duration` seconds to the sample app and report.

    Raises TrafficRefusedError when asked for something out of bounds (only loopback is driven), and
    AppUnreachableError when the app does not answer. KeyboardInterrupt ends a run early, and the
    report then says so. After `duration`, what waits gets GRACE, what is under way REQUEST_TIMEOUT.
    """
    base_url = check_request(base_url, rate, duration)
    clients = [Client(base_url, address_of(client)) for client in range(CLIENTS + 1)]
    try:
        world, setup_requests = prepare(clients, password)
        count = max(1, round(rate * duration))
        sending = Sending(clients, world, password)
        sending.drive(
            plan_actions(seed, count),
            rate=rate,
            duration=duration,
            tell=lambda sent: on_progress(sent, count) if on_progress else None,
        )
        return sending.report(count, setup_requests, duration)
    finally:
        for client in clients:
            client.session.close()


def check_request(base_url: str, rate: float, duration: float) -> str:
    """Return the address without a trailing slash, or raise TrafficRefusedError."""
    if not _is_on_this_machine(base_url):
        raise TrafficRefusedError(
            f"base_url: wanted an http address of this machine (127.0.0.1, ::1 or localhost), "
            f"found {base_url!r}. Traffic creates data, so it is never sent to another machine"
        )
    for name, value, highest in (
        ("rate", rate, HIGHEST_RATE),
        ("duration", duration, LONGEST_DURATION),
    ):
        if not 0 < value <= highest:
            raise TrafficRefusedError(
                f"{name}: wanted more than 0, at most {highest:g}, found {value:g}"
            )
    return base_url.rstrip("/")


class Client:
    """One user's program: its own cookies, connection and address. Used by one thread at a time."""

    def __init__(self, base_url: str, address: str) -> None:
        self.base_url = base_url
        self.session = requests.Session()
        self.session.trust_env = False  # neither a proxy nor a .netrc may come between
        self.session.headers.update({"X-Forwarded-For": address, "User-Agent": "logstack-traffic"})

    def send(self, call: Call) -> requests.Response:
        """Send one request and read the whole answer."""
        headers = {}
        if call.method == "POST":
            headers["X-CSRFToken"] = self.session.cookies.get("csrftoken") or ""
        return self.session.request(
            call.method,
            self.base_url + call.path,
            json=call.body,
            headers=headers,
            timeout=REQUEST_TIMEOUT,
            allow_redirects=False,
        )


def prepare(clients: list[Client], password: str) -> tuple[World, int]:
    """Log every client in, learn the ids of the demo data; return them and the requests it took."""
    sent = 0

    def get(client: Client, call: Call) -> Any:
        nonlocal sent
        sent += 1
        return _wanted_answer(client, call)

    get(clients[0], Call("GET", "/healthz"))
    users = clients[:CLIENTS]
    with ThreadPoolExecutor(max_workers=4) as pool:
        logins = [login_call(username_of(place), password) for place in range(CLIENTS)]
        sent += len(list(pool.map(_wanted_answer, users, logins)))
    mine: dict[str, dict[int, str]] = {}
    own_id: dict[str, int] = {}
    for username, client in zip(USERNAMES, users, strict=False):
        answer = get(client, Call("GET", "/api/me/"))
        own_id[username] = answer["id"]
        mine[username] = {row["organization_id"]: row["role"] for row in answer["memberships"]}
    everything = sorted({pk for roles in mine.values() for pk in roles})
    world: World = {}
    for username, client in zip(USERNAMES, users, strict=False):
        # The demo data come first; what earlier traffic created has no invoices, no colleagues.
        admin = min((pk for pk, role in mine[username].items() if role == "admin"), default=0)
        if not admin:
            raise _unreachable(client.base_url, f"{username} as admin of nothing")
        invoices = get(client, Call("GET", f"/api/organizations/{admin}/invoices/"))["invoices"]
        members = get(client, Call("GET", f"/api/organizations/{admin}/members/"))["members"]
        world[username] = Account(
            username=username,
            organizations=tuple(sorted(mine[username])),
            administers=admin,
            foreign=tuple(pk for pk in everything if pk not in mine[username]),
            invoices=tuple(row["id"] for row in invoices),
            colleagues=tuple(
                row["user_id"] for row in members if row["user_id"] != own_id[username]
            ),
        )
    return world, sent


@dataclass
class Sending:
    """The thin layer: one thread per client, and the counts they share."""

    clients: list[Client]
    world: World
    password: str
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    unexpected: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    latencies: array[float] = field(default_factory=lambda: array("d"))
    interrupted: bool = False
    started: float = 0.0
    last_sent: float = 0.0

    def __post_init__(self) -> None:
        """Make the queues and threads; none runs yet."""
        self.lock = threading.Lock()
        self.abandoned = threading.Event()
        self.queues: list[queue.Queue[Action | None]] = [
            queue.Queue(LONGEST_QUEUE) for _ in self.clients
        ]
        self.threads = [
            threading.Thread(target=self.work, args=pair, name="traffic", daemon=True)
            for pair in zip(self.clients, self.queues, strict=True)
        ]

    def drive(
        self,
        actions: Iterator[Action],
        *,
        rate: float,
        duration: float,
        tell: Callable[[int], None],
    ) -> None:
        """Hand out every action at its time, then wait for answers; ends on KeyboardInterrupt."""
        for thread in self.threads:
            thread.start()
        self.started = self.last_sent = time.monotonic()
        try:
            # A full queue at the end of the time: the app does not keep up, the rest stays unsent.
            with suppress(queue.Full):
                self.pace(actions, rate, self.started + duration, tell)
            self.finish(GRACE)
        except KeyboardInterrupt:
            self.interrupted = True
            self.finish(0.0)
        tell(self.count())

    def pace(
        self,
        actions: Iterator[Action],
        rate: float,
        deadline: float,
        tell: Callable[[int], None],
    ) -> None:
        """Put `rate` actions per second into the clients' queues; queue.Full at the deadline."""
        next_progress = 0.0
        for place, action in enumerate(actions):
            due = self.started + place / rate
            while True:
                now = time.monotonic()
                if now >= next_progress:
                    next_progress = now + PROGRESS_EVERY
                    tell(self.count())
                if now >= due:
                    break
                time.sleep(min(due - now, PROGRESS_EVERY))
            self.queues[action.client].put(action, timeout=max(0.0, deadline - time.monotonic()))

    def count(self) -> int:
        """Return how many requests have come to an end."""
        with self.lock:
            return sum(self.kinds.values())

    def finish(self, grace: float) -> None:
        """Let the clients work off what waits, but for no longer than `grace` seconds."""
        deadline = time.monotonic() + grace
        if not grace:
            self.abandoned.set()
        for waiting in self.queues:
            try:
                waiting.put(None, timeout=max(0.0, deadline - time.monotonic()))
            except queue.Full:
                self.abandoned.set()  # its thread now throws away what waits, and so makes room
                with suppress(queue.Full):
                    waiting.put(None, timeout=REQUEST_TIMEOUT + 1)
        for thread in self.threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self.abandoned.set()
        for thread in self.threads:
            thread.join(REQUEST_TIMEOUT + 1)

    def work(self, client: Client, waiting: queue.Queue[Action | None]) -> None:
        """Send one client's actions in order until told to end."""
        while (action := waiting.get()) is not None:
            if not self.abandoned.is_set():
                self.send(client, action)

    def send(self, client: Client, action: Action) -> None:
        """Send one action and count what became of it."""
        call = call_for(action, self.world, self.password)
        began = time.monotonic()
        status, failure = 0, ""
        try:
            status = client.send(call).status_code
        except requests.RequestException as error:
            failure = name_failure(error)
        ended = time.monotonic()
        with self.lock:
            self.last_sent = max(self.last_sent, began)
            self.kinds[action.kind.value] += 1
            if failure:
                self.errors[failure] += 1
                return
            self.latencies.append((ended - began) * 1000)
            self.statuses[f"{status // 100}xx"] += 1
            if status != EXPECTED_STATUS.get(action.kind, 200):
                self.unexpected[f"{action.kind} {status}"] += 1

    def report(self, planned: int, setup_requests: int, duration: float) -> TrafficReport:
        """Sum up; raises AppUnreachableError when not one request was answered."""
        with self.lock:
            sent = sum(self.kinds.values())
            if sent and not self.statuses:
                raise _unreachable(self.clients[0].base_url, f"no answer to {sent} requests")
            elapsed = max(self.last_sent - self.started, 0.001 if self.interrupted else duration)
            ordered = sorted(self.latencies)
            return TrafficReport(
                planned=planned,
                requests=sent,
                setup_requests=setup_requests,
                achieved_rate=sent / elapsed,
                p50_ms=percentile(ordered, 0.50),
                p95_ms=percentile(ordered, 0.95),
                by_status=dict(sorted(self.statuses.items())),
                by_kind=dict(sorted(self.kinds.items())),
                unexpected=dict(sorted(self.unexpected.items())),
                errors=dict(sorted(self.errors.items())),
                interrupted=self.interrupted,
            )


def percentile(ordered: list[float], share: float) -> float:
    """Return the smallest value that at least `share` of the values (ascending) do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def name_failure(error: requests.RequestException) -> str:
    """Return what kind of failure left a request without an answer."""
    if isinstance(error, requests.Timeout):
        return "timeout"
    if isinstance(error, requests.ConnectionError):
        return "connection"
    return type(error).__name__


def _is_on_this_machine(base_url: str) -> bool:
    try:
        parts = urlsplit(base_url)
        local = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:  # neither an address nor the one name that is one
        return False
    return local and parts.scheme in ("http", "https")


def _unreachable(base_url: str, found: str) -> AppUnreachableError:
    return AppUnreachableError(
        f"traffic: wanted the sample app with its demo users at {base_url}, found {found}. "
        "Next: make up"
    )


def _wanted_answer(client: Client, call: Call) -> Any:
    try:
        response = client.send(call)
        if response.status_code == 200:
            return response.json()
        found = f"HTTP {response.status_code} to {call.method} {call.path}"
        if response.status_code == 401 and call.body:
            found += f" (user {call.body.get('username')}: was LOGSTACK_SAMPLE_PASSWORD changed?)"
    except requests.RequestException as error:
        found = f"no answer ({name_failure(error)})"
    raise _unreachable(client.base_url, found)
