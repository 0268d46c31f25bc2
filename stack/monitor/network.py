"""Certificates that expire, log servers that cannot be reached, and a clock that is wrong."""

from __future__ import annotations

import base64
import calendar
import re
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import urlsplit

from stack.monitor.disks import span
from stack.monitor.logs import delivery_cause
from stack.monitor.model import Observation, Problem
from stack.monitor.plan import Server
from stack.monitor.view import View

GATEWAY = "gateway"
DAY = 86_400
# What the gateway says in place of 401, on which agents would drop records (Caddyfile.j2).
WRONG_PASSWORD = "wrong user or password"  # noqa: S105
TIMEOUT = 5  # seconds
# The time in an answer has whole seconds.
COARSE_S = 1.0
# The times of a certificate in DER: the first two are those of its validity.
_TIMES = re.compile(rb"\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z")


def look(view: View) -> Iterator[Observation]:
    """One observation per certificate, one per server that refuses records, one of the clock."""
    for address in view.plan.certificates:
        yield _certificate(view, address)
    for server in view.plan.servers:
        yield from _refused(view, server)
    if view.plan.clock:
        offset = clock_offset(view.plan.clock)
        if offset is not None:
            yield _clock(view, offset)


def seconds_left(certificate: bytes, now: float) -> float:
    """For how long a certificate in DER is valid; negative after that. Raises ValueError."""
    times = _TIMES.findall(certificate)
    if len(times) < 2:
        raise ValueError("expected a certificate, got something else")
    short, full = times[1]
    text = (full or (b"20" if short < b"50" else b"19") + short).decode("ascii")
    return calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S")) - now


def _unverified() -> ssl.SSLContext:
    """Only the time of an answer, or of its certificate, is read."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _certificate_of(address: str) -> bytes:
    """The certificate at an address, in DER. Raises OSError and ValueError."""
    host, _, port = address.rpartition(":")
    name = host.strip("[]")
    plain = socket.create_connection((name, int(port)), timeout=TIMEOUT)
    with plain, _unverified().wrap_socket(plain, server_hostname=name) as secured:
        return secured.getpeercert(binary_form=True) or b""


def _refused(view: View, server: Server) -> Iterator[Observation]:
    """Whether a gateway does not take records of the agent; it is sent none."""
    address = urlsplit(server.url).netloc
    command = f"openssl s_client -connect {address if ':' in address else f'{address}:443'}"
    try:
        _knock(server)
        return
    except urllib.error.HTTPError as error:
        evidence = f"HTTP {error.code} {error.read(100).decode('utf-8', 'replace')}".strip()
        if error.code < 500:
            return  # it takes records, if there are any
        cause = "the engine behind the gateway does not answer"
        if WRONG_PASSWORD in evidence:
            cause, command = "the destination refuses the password", view.plan.apply
    except (OSError, ValueError) as error:
        evidence = str(getattr(error, "reason", error))
        cause = delivery_cause(evidence, "a connection with TLS failed")
    text = f"{view.plan.agent} cannot deliver to {address}: {cause}"
    problem = Problem("delivery_failing", text, evidence, command)
    yield Observation(view.plan.agent, address, problems=(problem,))


def _knock(server: Server) -> None:
    """Send a request without records, as the agent. Raises OSError and ValueError."""
    text = Path(server.authorization).read_text(encoding="utf-8")
    if not text.startswith("Basic "):
        text = "Basic " + base64.b64encode(f"{server.user}:{text}".encode()).decode()
    headers = {"Authorization": text, "Content-Type": "application/x-protobuf"}
    context = ssl.create_default_context(cafile=server.authority or None)
    request = urllib.request.Request(server.url, b"", headers)  # noqa: S310 -- that of the plan
    with _opener(context).open(request, timeout=TIMEOUT) as answer:
        answer.read(1)


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    return urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )


def _certificate(view: View, address: str) -> Observation:
    least = view.plan.limits.certificate_days
    try:
        left = seconds_left(_certificate_of(address), view.now)
    except (OSError, ValueError) as error:
        problem = Problem(
            "component_down",
            f"cannot read the certificate of {address}: {error}",
            "a connection with TLS failed",
            f"openssl s_client -connect {address}",
        )
        return Observation(GATEWAY, address, problems=(problem,))
    problems: tuple[Problem, ...] = ()
    if left < least * DAY:
        text = f"expires in {span(left)}" if left >= 0 else f"expired {span(-left)} ago"
        problems = (
            Problem(
                "certificate_expires",
                f"the certificate of {address} {text}",
                f"expected {least} or more valid days",
                view.plan.renew or view.plan.apply,
            ),
        )
    return Observation(GATEWAY, address, {"certificate_days": int(left // DAY)}, problems)


def clock_offset(url: str) -> float | None:
    """How far this clock is ahead of a server's, in seconds; None if it does not tell its time."""
    opener = _opener(_unverified())
    before = time.time()
    try:
        with opener.open(urllib.request.Request(url, method="HEAD"), timeout=TIMEOUT) as answer:  # noqa: S310
            told = answer.headers.get("Date")
    except urllib.error.HTTPError as error:
        told = error.headers.get("Date")
    except (OSError, ValueError):
        return None
    after = time.time()
    if not told:
        return None
    theirs = parsedate_to_datetime(told).timestamp()
    # The answer was made between the two, within the second that it names.
    return 0.0 if before - COARSE_S <= theirs <= after else (before + after) / 2 - theirs


def _clock(view: View, offset: float) -> Observation:
    problems: tuple[Problem, ...] = ()
    if abs(offset) > view.plan.limits.clock_s:
        side = "ahead of" if offset > 0 else "behind"
        problems = (
            Problem(
                "clock_skewed",
                f"this clock is {abs(offset):.0f} s {side} the log server's",
                f"the time in the answer of {view.plan.clock}",
                "timedatectl set-ntp true",
            ),
        )
    return Observation("clock", values={"clock_offset_s": round(offset, 1)}, problems=problems)
