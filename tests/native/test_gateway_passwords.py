"""How many wrong passwords the gateway compares, and what it is not: a proxy."""

from __future__ import annotations

import socket
import ssl

import pytest

from stack.components.gateway_passwords import MOST_PER_MINUTE
from stack.hosts import secrets
from tests.native.test_gateway import BATCH, READ, WRITE, Gateway, gateway

__all__ = ["gateway"]
pytestmark = pytest.mark.native


def is_compared(gateway: Gateway, user: str, number: int) -> bool:
    """Whether a wrong password that was not tried before is compared; it is refused anyway."""
    answer = gateway.ask("POST", READ, user, f"wrong {user} {number}", data={"query": "*"})
    assert answer.status_code == 401
    return "Retry-After" not in answer.headers


def test_beyond_some_wrong_passwords_none_is_compared(gateway: Gateway) -> None:
    """For that user and that address: others go on, and the records of an agent wait."""
    assert all(is_compared(gateway, "alice", n) for n in range(MOST_PER_MINUTE))
    assert not is_compared(gateway, "alice", MOST_PER_MINUTE)
    right = gateway.secrets[secrets.reader_secret("alice")]
    refused = gateway.ask("POST", READ, "alice", right, data={"query": "*"})
    assert (refused.status_code, refused.headers["Retry-After"]) == (401, "60")
    for _ in range(2 * MOST_PER_MINUTE):
        assert gateway.status("POST", WRITE, "app-1", data=b"") == 200
    wrong = [gateway.ask("POST", WRITE, "app-1", f"{n}") for n in range(MOST_PER_MINUTE + 1)]
    assert {answer.status_code for answer in wrong} == {503}
    assert "none is compared for the rest of it" in wrong[-1].text
    assert wrong[-1].headers["Retry-After"] == "60"
    assert gateway.status("POST", WRITE, "app-1", data=b"", headers=BATCH) == 503


def test_names_of_nobody_count_as_one(gateway: Gateway) -> None:
    """Otherwise each of them would cost a comparison; it costs what that of a user costs."""
    compared = [is_compared(gateway, f"nobody-{n}", n) for n in range(MOST_PER_MINUTE + 1)]
    assert compared == [*[True] * MOST_PER_MINUTE, False]


def test_it_is_not_a_proxy(gateway: Gateway) -> None:
    """Neither to others nor to what listens on its own loopback."""
    port = gateway.settings.ports.gateway
    context = ssl.create_default_context(cafile=gateway.ca)
    for target in (f"127.0.0.1:{port}", f"127.0.0.1:{gateway.settings.ports.victorialogs}"):
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as connection,
        ):
            connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
            answer = connection.recv(4096).decode()
        assert "HTTP/1.1 405" in answer
        assert "this is not a proxy" in answer
