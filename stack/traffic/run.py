"""Sends traffic to the sample app over HTTP, in the mix of plan.py; `logstack traffic` calls `run`.

Each client has a thread that sends the client's requests one after the other, each at its time in
the plan or, where the app is slow, as soon as the one before it is answered.
"""

from __future__ import annotations

import math
import threading
import time
from array import array
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from ipaddress import ip_address
from urllib.parse import urlsplit

import requests

from stack.common.counted import counted
from stack.traffic.plan import CLIENTS, KINDS, Request, address_of, plan_requests, request_for

HIGHEST_RATE = 500.0  # requests per second
LONGEST_DURATION = 3600.0  # seconds
REQUEST_TIMEOUT = 10.0  # seconds
LOGIN_TIMEOUT = 30.0  # seconds, for an app that is still starting
GRACE = 5.0  # seconds after the duration in which late requests are still sent
PROGRESS_EVERY = 0.5  # seconds

# Milliseconds until each answer, by the kind of request and by its status or exception.
Answers = dict[tuple[str, str], "array[float]"]


class TrafficError(Exception):
    """No traffic can be sent; the text says why and what to do."""


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
    unexpected: dict[str, int]  # "show_invoice 500": 1, ...; empty when every answer was expected
    errors: dict[str, int]  # requests without an answer, by the name of the exception
    interrupted: bool


def run(
    base_url: str,
    *,
    rate: float,
    duration: float,
    seed: int,
    password: str,
    on_progress: Callable[[int, int], None] = lambda sent, planned: None,
) -> TrafficReport:
    """Send `rate` requests per second for `duration` seconds to the sample app and report.

    Raises TrafficError for a rate or duration out of bounds and for an address that is not on
    loopback, AppUnreachableError when the app does not answer. KeyboardInterrupt ends a run early;
    the report says so.
    """
    base_url = check_request(base_url, rate, duration)
    planned = max(1, round(rate * duration))
    clients = [Client(base_url, number) for number in range(CLIENTS + 1)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda client: client.log_in(password), clients[:CLIENTS]))
    answers: Answers = {}
    stopped, interrupted, started = threading.Event(), False, time.monotonic()

    def send_all_of(client: Client) -> float:
        last_sent = started
        for request in plan_requests(seed, planned, password):
            if request.client != client.number:
                continue
            until_due = started + request.place / rate - time.monotonic()
            if stopped.wait(max(0.0, until_due)) or time.monotonic() > started + duration + GRACE:
                break
            last_sent = time.monotonic()
            client.send_and_count(request, answers)
        client.session.close()
        return last_sent

    with ThreadPoolExecutor(len(clients)) as pool:
        workers = [pool.submit(send_all_of, client) for client in clients]
        try:
            while wait(workers, PROGRESS_EVERY).not_done:
                on_progress(number_of(answers), planned)
        except KeyboardInterrupt:
            interrupted = True
        finally:
            stopped.set()
    on_progress(number_of(answers), planned)
    last_sent = max(worker.result() for worker in workers)
    elapsed = max(last_sent - started, 0.001 if interrupted else duration)
    report = summarize(answers, planned, elapsed)
    if report.errors and not report.by_status:
        raise _unreachable(base_url, f"no answer to {counted(report.requests, 'request')}")
    return replace(report, interrupted=interrupted)


def check_request(base_url: str, rate: float, duration: float) -> str:
    """Return the address without a trailing slash. Raises TrafficError."""
    try:
        parts = urlsplit(base_url)
        local = parts.hostname == "localhost" or ip_address(parts.hostname or "").is_loopback
    except ValueError:  # the host is not an address
        local = False
    if not local or parts.scheme not in ("http", "https"):
        raise TrafficError(
            "base_url: expected an http address of this machine (127.0.0.1, ::1 or localhost), "
            f"got {base_url!r}. Traffic creates data, so it is not sent to other machines"
        )
    bounds = ("rate", rate, HIGHEST_RATE), ("duration", duration, LONGEST_DURATION)
    for name, value, highest in bounds:
        if not 0 < value <= highest:
            raise TrafficError(
                f"{name}: expected more than 0 and at most {highest:g}, got {value:g}"
            )
    return base_url.rstrip("/")


class Client:
    """One user's program: its own cookies, connection and address. Used by one thread at a time."""

    def __init__(self, base_url: str, number: int) -> None:
        self.base_url, self.number = base_url, number
        self.session = requests.Session()
        self.session.trust_env = False  # no proxy and no .netrc
        self.session.headers["X-Forwarded-For"] = address_of(number)
        self.session.headers["User-Agent"] = "logstack-traffic"

    def send(self, request: Request, timeout: float = REQUEST_TIMEOUT) -> int:
        """Send one request and read the whole answer; its status."""
        response = self.session.request(
            KINDS[request.kind].method,
            self.base_url + request.path,
            json=request.body,
            headers={"X-CSRFToken": self.session.cookies.get("csrftoken") or ""},
            timeout=timeout,
            allow_redirects=False,
        )
        return response.status_code

    def send_and_count(self, request: Request, answers: Answers) -> None:
        """Send one request and add its answer; needs no lock, as each step of adding is atomic."""
        began = time.monotonic()
        try:
            answer = str(self.send(request))
        except requests.RequestException as error:
            answer = type(error).__name__
        took = (time.monotonic() - began) * 1000
        answers.setdefault((request.kind, answer), array("d")).append(took)

    def log_in(self, password: str) -> None:
        """Log in before the run. Raises AppUnreachableError."""
        try:
            login = request_for(0, self.number, "log_in", 0, password)
            status = self.send(login, LOGIN_TIMEOUT)
        except requests.RequestException as error:
            raise _unreachable(self.base_url, type(error).__name__) from None
        if status != requests.codes.ok:
            hint = " (did LOGSTACK_SAMPLE_PASSWORD change?)" if status == 401 else ""
            raise _unreachable(self.base_url, f"HTTP {status} to a login{hint}")


def number_of(answers: Answers) -> int:
    """How many requests are answered or have failed."""
    return sum(len(times) for times in list(answers.values()))


def summarize(answers: Answers, planned: int, elapsed: float) -> TrafficReport:
    """The report of a run whose requests were sent within `elapsed` seconds."""
    by_status, by_kind, unexpected, errors = (Counter[str]() for _ in range(4))
    latencies: list[float] = []
    for (kind, answer), times in sorted(answers.items()):
        by_kind[kind] += len(times)
        if not answer.isdigit():
            errors[answer] += len(times)
            continue
        by_status[f"{answer[0]}xx"] += len(times)
        latencies += times
        if int(answer) != KINDS[kind].status:
            unexpected[f"{kind} {answer}"] += len(times)
    latencies.sort()
    return TrafficReport(
        planned=planned,
        requests=by_kind.total(),
        setup_requests=CLIENTS,
        achieved_rate=by_kind.total() / elapsed,
        p50_ms=percentile(latencies, 0.50),
        p95_ms=percentile(latencies, 0.95),
        by_status=dict(sorted(by_status.items())),
        by_kind=dict(by_kind),
        unexpected=dict(unexpected),
        errors=dict(errors),
        interrupted=False,
    )


def percentile(ordered: list[float], share: float) -> float:
    """The smallest value that at least `share` of the values (ascending) do not exceed."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else 0.0


def _unreachable(base_url: str, cause: str) -> AppUnreachableError:
    return AppUnreachableError(
        f"cannot send traffic to the sample app at {base_url}: {cause}. Run: make up"
    )
