"""No page of another origin reads from a component or changes anything in one.

A browser sends a page's requests to loopback, too. The page reads the answer where a header allows
its origin; and it sends a GET, or a POST of plain text, whether it may read the answer or not.
"""

from __future__ import annotations

import http.server
import json
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import requests

from stack.components.catalogue import selected
from stack.components.seaweedfs_keys import CERTIFICATE
from stack.engines.facts import LOKI_TENANT
from tests.support.native_stack import ON_ENGINES, StackUnderTest, line, marker, record
from tests.support.require import unavailable

pytestmark = [pytest.mark.native, ON_ENGINES]
ORIGIN = "https://evil.example"
ALLOWS = "Access-Control-Allow-Origin"
SILENCE = {
    "matchers": [{"name": "alertname", "value": ".+", "isRegex": True, "isEqual": True}],
    "startsAt": "2026-01-01T00:00:00Z",
    "endsAt": "2099-01-01T00:00:00Z",
    "createdBy": "a page",
    "comment": "of another origin",
}
# What a page could want, by the name of the port. Every one of these answers.
READABLE = (
    ("victorialogs", "/select/logsql/query?query=*&limit=1"),
    ("loki", "/loki/api/v1/labels"),
    ("vmalert", "/api/v1/alerts"),
    ("alertmanager", "/api/v2/alerts"),
    ("alertmanager", "/api/v2/silences"),
    ("alertmanager", "/metrics"),
    ("otelcol_health", "/"),
    ("otelcol_metrics", "/metrics"),
    ("sample_app", "/healthz"),
)
# Of the object store: what asked nobody for a key before, with the answer that is right.
STORE = (
    ("GET", "seaweedfs_master", "/", 400),
    ("GET", "seaweedfs_master", "/dir/status", 400),
    ("GET", "seaweedfs_master", "/dir/assign", 400),
    ("GET", "seaweedfs_master", "/col/delete?collection={bucket}", 400),
    ("POST", "seaweedfs_master", "/submit", 400),
    ("GET", "seaweedfs_filer", "/buckets/{bucket}/", 404),
    ("PUT", "seaweedfs_filer", "/buckets/{bucket}/v1/file", 404),
    ("DELETE", "seaweedfs_filer", "/buckets/{bucket}/?recursive=true", 404),
    ("GET", "seaweedfs_volume", "/1,0111223344", 401),
    ("POST", "seaweedfs_volume", "/1,0111223344", 401),
    ("PUT", "seaweedfs_volume", "/1,0111223344", 401),
    ("DELETE", "seaweedfs_volume", "/1,0111223344", 401),
    ("GET", "seaweedfs_volume", "/ui/index.html", 401),
    ("GET", "seaweedfs", "/{bucket}?list-type=2", 403),
    ("PUT", "seaweedfs", "/{bucket}/v1/file", 403),
    ("DELETE", "seaweedfs", "/{bucket}/v1/file", 403),
)
PAGE = """<!doctype html><pre id="result"></pre><script>
const attempts = %s;
const outcomes = attempts.map(([url, options]) =>
  fetch(url, options).then(async (answer) => {
    const text = await answer.text();
    // SeaweedFS lets every origin read its refusals.
    return answer.ok || answer.type === "opaque" ? "read" : "refused: " + text.slice(0, 100);
  }).catch(() => "blocked"));
Promise.all(outcomes).then((all) => {
  document.getElementById("result").textContent = JSON.stringify(all);
});
</script>"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder that is served at an origin of its own."""
    handler = partial(Quiet, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def ports_of(stack: StackUnderTest) -> set[str]:
    return {port for component in selected(stack.settings) for port in component.ports}


def silences(stack: StackUnderTest) -> list[object]:
    answer = requests.get(stack.target.url("alertmanager", "/api/v2/silences"), timeout=10)
    found: list[object] = answer.json()
    return found


@pytest.mark.parametrize(("port", "path"), READABLE)
def test_no_header_lets_a_page_of_another_origin_read(
    stack: StackUnderTest, port: str, path: str
) -> None:
    """Neither the answer itself nor the one to the question before a request that needs leave."""
    if port not in ports_of(stack):
        pytest.skip(f"{port} is not a part of it with this engine")
    headers = {"Origin": ORIGIN, "X-Scope-OrgID": LOKI_TENANT}
    answer = requests.get(stack.target.url(port, path), headers=headers, timeout=10)
    assert answer.ok, answer.text
    assert ALLOWS not in answer.headers
    for method in ("POST", "DELETE"):
        asked = {"Access-Control-Request-Method": method, **headers}
        asked["Access-Control-Request-Headers"] = "content-type"
        answer = requests.options(stack.target.url(port, path), headers=asked, timeout=10)
        assert ALLOWS not in answer.headers


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_a_silence_that_needs_no_leave_is_refused(stack: StackUnderTest, kind: str) -> None:
    """These a browser sends without asking first; Alertmanager takes JSON alone."""
    url = stack.target.url("alertmanager", "/api/v2/silences")
    headers = {"Origin": ORIGIN, **({"Content-Type": kind} if kind else {})}
    answer = requests.post(url, data=json.dumps(SILENCE), headers=headers, timeout=10)
    assert answer.status_code == 415
    assert silences(stack) == []


@pytest.mark.parametrize(("method", "port", "path", "status"), STORE)
def test_the_object_store_gives_and_deletes_nothing_without_a_key(
    stack: StackUnderTest, method: str, port: str, path: str, status: int
) -> None:
    """None of its four servers, whoever asks."""
    url = stack.target.url(port, path.format(bucket=stack.settings.archive.bucket))
    answer = requests.request(method, url, headers={"Origin": ORIGIN}, timeout=10)
    assert answer.status_code == status, answer.text


def test_the_master_of_the_store_asks_for_a_certificate(stack: StackUnderTest) -> None:
    """It shows a page of its volumes to every local user otherwise, whatever is off."""
    port = stack.settings.ports.effective("seaweedfs_master")
    known = stack.target.config_dir("seaweedfs") / CERTIFICATE
    context = ssl.create_default_context(cafile=str(known))
    context.check_hostname = False
    with (
        socket.create_connection(("127.0.0.1", port), timeout=10) as connection,
        context.wrap_socket(connection) as master,
        pytest.raises(ssl.SSLError, match="CERTIFICATE_REQUIRED"),
    ):
        master.recv(1)


def show(folder: Path, url: str) -> str:
    """What headless Chromium shows of an address; every name under .example is this machine's."""
    browsers = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, browsers)), None)
    if browser is None:
        unavailable("browser", "no chromium on PATH (Debian: apt-get install chromium)")
    argv = [
        *(browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        "--host-resolver-rules=MAP *.example 127.0.0.1",
        *(f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=20000", "--dump-dom"),
        url,
    ]
    return subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False).stdout


@pytest.mark.browser
def test_a_page_in_a_browser_reads_and_silences_nothing(
    stack: StackUnderTest, site: tuple[Path, str]
) -> None:
    """Headless Chromium shows a page of another port, which tries every port of the settings."""
    stack.write(line(record(f"seen by nobody {marker()}")))
    folder, address = site
    bucket = stack.settings.archive.bucket
    url = stack.target.url
    as_json = {"Content-Type": "application/json"}
    post = {"method": "POST", "headers": as_json, "body": json.dumps(SILENCE)}
    attempts: list[tuple[str, object]] = [
        (f"{address}/page.html", {}),  # that it can read at all
        # It is sent, and what can be read is the empty text that stands for any answer.
        (url("alertmanager", "/api/v2/silences"), {**post, "headers": {}, "mode": "no-cors"}),
        *((url(port, path), {}) for port, path in READABLE if port in ports_of(stack)),
        (url("alertmanager", "/api/v2/silences"), post),
        (url("seaweedfs", f"/{bucket}?list-type=2"), {}),
        (url("seaweedfs_filer", f"/buckets/{bucket}/"), {}),
        (url("seaweedfs_filer", f"/buckets/{bucket}/?recursive=true"), {"method": "DELETE"}),
        (url("seaweedfs_master", "/dir/status"), {}),
        (url("seaweedfs_volume", "/status"), {}),
        *((url(port, path), {}) for port in sorted(ports_of(stack)) for path in ("/", "/metrics")),
    ]
    (folder / "page.html").write_text(PAGE % json.dumps(attempts), encoding="utf-8")
    shown = show(folder, f"{address}/page.html")
    found = json.loads(shown.partition('<pre id="result">')[2].partition("</pre>")[0])
    assert len(found) == len(attempts)
    read = [url for (url, _), outcome in zip(attempts, found, strict=True) if outcome == "read"]
    assert read == [attempts[0][0], attempts[1][0]]
    assert silences(stack) == []
