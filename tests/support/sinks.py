"""What receives alerts in tests: an HTTP server that is every channel and a heartbeat; SMTP.

Both are real servers on loopback. `answer` sets what the HTTP server says next, for a test of
channels that refuse.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from tests.support.ports import free_ports

OK = {
    "/services/": (200, "text/plain", "ok"),
    "/api/chat.postMessage": (200, "application/json", '{"ok": true}'),
    "/v2/enqueue": (202, "application/json", '{"status": "success", "message": "Event processed"}'),
    "/v2/alerts": (202, "application/json", '{"result": "Request will be processed"}'),
    "/workflows/": (202, "text/plain", ""),  # Microsoft Teams
    "/api/webhooks/": (204, "text/plain", ""),  # Discord
    "/bot": (
        200,
        "application/json",
        '{"ok": true, "result": {"message_id": 1, "date": 1, "chat": {"id": -1, "type": "group"}}}',
    ),
    "/hook/": (200, "text/plain", "OK"),  # a program of one's own
    "/ping/": (200, "text/plain", "OK"),
}


@dataclass(frozen=True)
class Request:
    """One request that came, the status that it was answered with, and a monotonic clock's time."""

    path: str
    headers: dict[str, str]
    body: Any
    status: int
    at: float = field(default_factory=time.monotonic)


@dataclass
class HttpSink:
    """The requests so far, and what to answer: `failing` statuses first, one per request."""

    url: str
    requests: list[Request] = field(default_factory=list)
    failing: dict[str, list[int]] = field(default_factory=dict)

    def of(self, path: str, *, accepted: bool = True) -> list[Request]:
        """The requests to a path, those that were accepted or all of them."""
        found = [request for request in self.requests if request.path.startswith(path)]
        return [request for request in found if request.status < 300] if accepted else found

    def status_for(self, path: str) -> int:
        for prefix, statuses in self.failing.items():
            if path.startswith(prefix) and statuses:
                return statuses.pop(0)
        return next(answer[0] for prefix, answer in OK.items() if path.startswith(prefix))


@contextmanager
def http_sink() -> Iterator[HttpSink]:
    """The HTTP server, until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            status = sink.status_for(self.path)
            sink.requests.append(Request(self.path, dict(self.headers), json.loads(body), status))
            answer = next(a for prefix, a in OK.items() if self.path.startswith(prefix))
            text = answer[2] if status == answer[0] else "not now"
            self.send_response(status)
            self.send_header("Content-Type", answer[1] if status == answer[0] else "text/plain")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *arguments: Any) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sink = HttpSink(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield sink
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass
class MailSink:
    """The messages that an SMTP server took."""

    address: str
    messages: list[EmailMessage] = field(default_factory=list)

    async def handle_DATA(  # noqa: N802 -- the name that aiosmtpd calls
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        message = message_from_bytes(envelope.original_content or b"", policy=policy.default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        return "250 taken"


@contextmanager
def mail_sink() -> Iterator[MailSink]:
    """The SMTP server, until the block ends."""
    [port] = free_ports(1)
    sink = MailSink(f"127.0.0.1:{port}")
    controller = Controller(sink, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield sink
    finally:
        controller.stop()
