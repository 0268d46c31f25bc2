"""What is believed of a request: its id, its trace, its client."""

from __future__ import annotations

import ipaddress
import re

import pytest
from django.test import RequestFactory
from logstack_django.options import Options
from logstack_django.requests import client_ip, read_request_id, read_trace_id

PROXIES = Options(trusted_proxies=("127.0.0.1", "10.0.0.0/8", "2001:db8::/32", "unix"))
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"


@pytest.mark.parametrize(
    "given",
    ["abcdefgh", "a" * 128, "3f2504e0-4f89-11d3-9a0c-0305e82c3301", "A._-1234"],
)
def test_a_trusted_proxys_request_id_is_kept(given: str) -> None:
    """So that one id runs through all services."""
    request = RequestFactory().get("/", headers={"X-Request-ID": given})
    assert read_request_id(request, "X-Request-ID", trusted=True) == given
    assert read_request_id(request, "X-Request-ID", trusted=False) != given


@pytest.mark.parametrize(
    "given",
    ["", "short", "a" * 129, "\u0660" * 32, "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}",
     "urn:uuid:3f2504e0-4f89-11d3-9a0c-0305e82c3301", "abcdefgh\r\nX: y", "abcdefgh\n", "a" * 65536,
     "abc defgh", "abc;defgh"],
)  # fmt: skip
def test_any_other_request_id_is_replaced(given: str) -> None:
    """By 32 hexadecimal digits, fresh each time."""
    request = RequestFactory().get("/")
    request.META["HTTP_X_REQUEST_ID"] = given
    found = {read_request_id(request, "X-Request-ID", trusted=True) for _ in range(3)}
    assert len(found) == 3
    assert all(re.fullmatch("[0-9a-f]{32}", one) for one in found)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{SPAN}-01", TRACE),
        (f"01-{TRACE}-{SPAN}-01-more", TRACE),
        (f"00-{TRACE}-{SPAN}-01-more", None),
        (f"ff-{TRACE}-{SPAN}-01", None),
        (f"00-{TRACE.upper()}-{SPAN}-01", None),
        (f"00-{'0' * 32}-{SPAN}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE}-{SPAN}", None),
        (f"00-{TRACE[:-1]}-{SPAN}-01", None),
        (f" 00-{TRACE}-{SPAN}-01", None),
        ("0", None),
        ("", None),
    ],
)
def test_the_trace_id_is_that_of_a_valid_traceparent(header: str, expected: str | None) -> None:
    """W3C Trace Context; anything else is no trace."""
    assert read_trace_id(header) == expected


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "1.2.3.4", "192.0.2.1"),
        ("127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("127.0.0.1", "1.2.3.4, 9.9.9.9", "9.9.9.9"),
        ("127.0.0.1", "6.6.6.6, 1.2.3.4, 10.0.0.7, 10.1.2.3", "1.2.3.4"),
        ("127.0.0.1", "10.0.0.7, 10.1.2.3", "10.0.0.7"),
        ("127.0.0.1", "1.2.3.4:5678", "1.2.3.4"),
        ("127.0.0.1", "[2001:4860::1]:443", "2001:4860::1"),
        ("127.0.0.1", "fe80::1%eth0", "fe80::1"),
        ("127.0.0.1", "::ffff:1.2.3.4", "1.2.3.4"),
        ("::ffff:127.0.0.1", "1.2.3.4", "1.2.3.4"),
        ("2001:db8::5", "2001:4860::1", "2001:4860::1"),
        ("127.0.0.1", "1.2.3.4, garbage", "127.0.0.1"),
        ("127.0.0.1", "1.2.3.4, unknown, 10.0.0.1", "10.0.0.1"),
        ("127.0.0.1", "<script>", "127.0.0.1"),
        ("127.0.0.1", ",,,", "127.0.0.1"),
        ("127.0.0.1", "1.2.3.4, " + ", ".join(["10.0.0.1"] * 200), "10.0.0.1"),
        ("127.0.0.1", "\u0661.2.3.4", "127.0.0.1"),
        ("", "1.2.3.4", "1.2.3.4"),
        ("nonsense", "1.2.3.4", None),
    ],
)
def test_the_client_is_the_first_from_the_right_that_is_no_proxy(
    peer: str, forwarded: str, expected: str | None
) -> None:
    """Only as far as trusted proxies vouch for it; always a valid address or none."""
    found = client_ip(peer, forwarded, PROXIES)
    assert found == expected
    if found is not None:
        ipaddress.ip_address(found)


def test_without_proxies_nothing_is_forwarded() -> None:
    """The default believes nobody."""
    assert client_ip("127.0.0.1", "1.2.3.4", Options()) == "127.0.0.1"
    assert client_ip("", "1.2.3.4", Options()) is None
