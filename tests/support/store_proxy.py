"""An object store with a fault, for tests: the real one behind a proxy."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import requests


class Proxy(ThreadingHTTPServer):
    """Stands between the archive and SeaweedFS and does one thing to what passes.

    `fault`: breaks off, full, slow, wrong bytes (with or without `, no checksum`), no checksum,
    short, silent, one of LACKS, or an error's status and code such as `404 NoSuchKey`. `of`: what
    the path of an object has in it for which reading it has the fault; empty: each part and probe.
    """

    daemon_threads = True

    def __init__(self, upstream: str, fault: str, of: str = "") -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.upstream = upstream
        self.fault = fault
        self.of = of
        self.stopped = threading.Event()
        self.requests = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.stopped.set()
        self.shutdown()
        self.server_close()


LACKS: dict[str, Callable[[BaseHTTPRequestHandler], bool]] = {
    "no versions": lambda request: "versions" in request.path.partition("?")[2],
    "no conditions": lambda request: "If-None-Match" in request.headers,
    "no SHA-256": lambda request: "x-amz-checksum-sha256" in request.headers,
    "no lifecycle": lambda request: "lifecycle" in request.path.partition("?")[2],
    "no lock": lambda request: "object-lock" in request.path.partition("?")[2],
}
"""What a store that lacks something answers with 501, by the fault."""


class Passing(BaseHTTPRequestHandler):
    """Forwards a request with its Host, which is signed, and answers with what came back."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.requests += 1
        lacks = LACKS.get(self.server.fault)
        if lacks and lacks(self):
            self.reply(501, b"<Error><Code>NotImplemented</Code></Error>", {})
            return
        part = "/part-" in self.path or "/probes/" in self.path
        if self.server.fault == "full" and self.command == "PUT" and part:
            self.reply(507, b"<Error><Code>InsufficientStorage</Code></Error>", {})
            return
        of, path = self.server.of, self.path.partition("?")[0]
        read = self.command == "GET" and (of in path if of else part)
        if read:
            status, _, code = self.server.fault.partition(" ")
            if status.isdigit():
                self.reply(int(status), f"<Error><Code>{code}</Code></Error>".encode(), {})
                return
            if self.server.fault == "silent":
                self.server.stopped.wait()
                self.close_connection = True
                return
        answer = requests.request(
            self.command,
            self.server.upstream + self.path,
            data=body,
            headers=dict(self.headers),
            timeout=60,
        )
        content = answer.content
        if self.server.fault.startswith("wrong bytes") and read and content:
            content = bytes([content[0] ^ 1]) + content[1:]
        kept = {"ETag", "x-amz-version-id", "Content-Type", "x-amz-checksum-sha256"}
        if self.server.fault.endswith("no checksum"):
            kept.remove("x-amz-checksum-sha256")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        if self.server.fault == "short" and read:
            del headers["x-amz-checksum-sha256"]
            content = content[: len(content) // 2]
        if self.server.fault == "breaks off" and read:
            self.reply(answer.status_code, content, headers, cut=len(content) // 2)
            return
        if self.server.fault == "slow":
            threading.Event().wait(0.15)
        self.reply(answer.status_code, content, headers)

    def reply(
        self, status: int, content: bytes, headers: dict[str, str], cut: int | None = None
    ) -> None:
        """`cut`: end the connection after so many bytes."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[:cut])
        self.close_connection = cut is not None

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = forward  # noqa: N815
