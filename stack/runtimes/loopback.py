"""A receiver of log records on loopback, in this process: what an agent sends, as it was sent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

OnBatch = Callable[[bytes], None]
"""Called with the body of each request, one at a time."""


class Receiver:
    """Answers each POST with 200 once `on_batch` has returned; its first exception is `error`."""

    def __init__(self, on_batch: OnBatch):
        self._on_batch = on_batch
        self._lock = threading.Lock()
        self.error: Exception | None = None
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    @property
    def port(self) -> int:
        port: int = self._server.server_address[1]
        return port

    def __enter__(self) -> Receiver:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, body: bytes) -> int:
        """Hand a body on; the status to answer with."""
        with self._lock:
            try:
                self._on_batch(body)
            except Exception as error:  # raised in a thread of the server: the caller must see it
                self.error = self.error or error
                return 503
        return 200

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                answer = b"{}" if "json" in self.headers.get("Content-Type", "") else b""
                self.send_response(take(body))
                self.send_header("Content-Type", self.headers.get("Content-Type", "text/plain"))
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: object) -> None:
                """Requests are not logged."""

        return Handler
