"""Certificates that expire, and a clock that is wrong."""

from __future__ import annotations

import calendar
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from email.utils import parsedate_to_datetime

from stack.monitor.model import Observation, Problem
from stack.monitor.view import View

GATEWAY = "gateway"
DAY = 86_400
TIMEOUT = 5  # seconds
# The time in an answer has whole seconds.
COARSE_S = 1.0
# The times of a certificate in DER: the first two are those of its validity.
_TIMES = re.compile(rb"\x17\x0d(\d{12})Z|\x18\x0f(\d{14})Z")


def look(view: View) -> Iterator[Observation]:
    """One observation per certificate, and one of the clock."""
    for address in view.plan.certificates:
        yield _certificate(view, address)
    if view.plan.clock:
        offset = clock_offset(view.plan.clock)
        if offset is not None:
            yield _clock(view, offset)


def days_left(pem: str, now: float) -> int:
    """The whole days for which a certificate is valid; negative after them. Raises ValueError."""
    times = _TIMES.findall(ssl.PEM_cert_to_DER_cert(pem))
    if len(times) < 2:
        raise ValueError("expected a certificate, got something else")
    short, full = times[1]
    text = (full or (b"20" if short < b"50" else b"19") + short).decode("ascii")
    return int((calendar.timegm(time.strptime(text, "%Y%m%d%H%M%S")) - now) // DAY)


def _certificate(view: View, address: str) -> Observation:
    least = view.plan.limits.certificate_days
    host, _, port = address.rpartition(":")
    try:
        pem = ssl.get_server_certificate((host.strip("[]"), int(port)), timeout=TIMEOUT)
        left = days_left(pem, view.now)
    except (OSError, ValueError) as error:
        problem = Problem(
            "component_down",
            f"cannot read the certificate of {address}: {error}",
            "a connection with TLS failed",
            f"openssl s_client -connect {address}",
        )
        return Observation(GATEWAY, address, problems=(problem,))
    problems: tuple[Problem, ...] = ()
    if left < least:
        text = f"expires in {left} days" if left >= 0 else f"expired {-left} days ago"
        problems = (
            Problem(
                "certificate_expires",
                f"the certificate of {address} {text}",
                f"expected {least} or more valid days",
                view.plan.apply,
            ),
        )
    return Observation(GATEWAY, address, {"certificate_days": left}, problems)


def clock_offset(url: str) -> float | None:
    """How far this clock is ahead of a server's, in seconds; None if it does not tell its time."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # only its time is read
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
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
