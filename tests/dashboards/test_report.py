"""The HTML report in a real browser, without a network, and safe to open."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from dashboards import report
from dashboards.model import Unit
from dashboards.pages import PAGES
from dashboards.report_charts import format_value
from dashboards.run import TimeRange
from stack.engines.victorialogs import VictoriaLogs
from stack.queries.evaluate import VictoriaLogsEvaluator
from stack.queries.language import Scope
from tests.dashboards.conftest import SCOPE
from tests.support.engines import push
from tests.support.query_sample import SampleRecords, rfc3339
from tests.support.require import unavailable

BROWSERS = ("chromium", "chromium-browser", "google-chrome")


# Runs in the page: what each panel shows, counted in the document as it was drawn.
COUNT_MARKS = """
<script>
addEventListener("load", () => setTimeout(() => {
  const drawn = (path) => { const box = path.getBBox(); return box.width + box.height > 0; };
  const marks = {};
  for (const panel of document.querySelectorAll("[data-panel]")) {
    const paths = [...panel.querySelectorAll(".point path, path.point, path.js-line")];
    marks[panel.dataset.panel] = panel.querySelector(".plotly-graph-div")
      ? paths.filter(drawn).length
      : panel.querySelectorAll(".number, .record, td").length;
  }
  const result = document.createElement("pre");
  result.id = "marks";
  result.textContent = btoa(unescape(encodeURIComponent(JSON.stringify(marks))));
  document.body.append(result);
}, 1000));
</script>
"""


def count_marks(text: str, folder: Path) -> dict[str, int]:
    """What headless Chromium has drawn in each panel of the report."""
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        unavailable("browser", "no chromium on PATH (Debian: apt-get install chromium)")
    page = folder / "report.html"
    page.write_text(text.replace("</body>", f"{COUNT_MARKS}</body>"), encoding="utf-8")
    argv = [
        *(found, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
        *(f"--user-data-dir={folder / 'profile'}", "--window-size=1400,900"),
        *("--virtual-time-budget=20000", "--enable-logging=stderr", "--dump-dom", page.as_uri()),
    ]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=240)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not console, console
    match = re.search(r'<pre id="marks">([^<]+)</pre>', done.stdout)
    assert match, f"status {done.returncode}\n{done.stderr[-3000:]}"
    marks: dict[str, int] = json.loads(base64.b64decode(match[1]))
    return marks


@pytest.mark.native
@pytest.mark.browser
@pytest.mark.timeout(400)
def test_every_panel_has_marks_in_a_browser(
    evaluator: VictoriaLogsEvaluator, recent: SampleRecords, tmp_path: Path
) -> None:
    """Charts have bars, points or lines; numbers are shown; tables and records have rows."""
    times = TimeRange(recent.at, timedelta(hours=2))
    marks = count_marks(report.render(evaluator, PAGES, SCOPE, times), tmp_path)
    assert len(marks) == sum(len(page.panels) for page in PAGES)
    assert not [name for name, count in marks.items() if not count]


@pytest.mark.native
@pytest.mark.browser
@pytest.mark.timeout(400)
def test_an_empty_report_has_no_marks(
    evaluator: VictoriaLogsEvaluator, recent: SampleRecords, tmp_path: Path
) -> None:
    """Every panel reports that it has no data; only the counts, which are 0, are shown."""
    times = TimeRange(recent.at, timedelta(hours=2))
    text = report.render(evaluator, PAGES, Scope("empty"), times)
    marks = count_marks(text, tmp_path)
    numbers = [panel.title for page in PAGES for panel in page.panels if panel.kind == "stat"]
    assert sum(marks.values()) == len(numbers)
    assert text.count("no data in this time range") == len(marks) - len(numbers)


@pytest.mark.native
def test_markup_in_records_is_escaped(victorialogs: VictoriaLogs, recent: SampleRecords) -> None:
    """In a message, a type or a name, it is shown as text."""
    evil = "<script>alert(1)</script><img src=x onerror=alert(2)>"
    scope = Scope("evil")
    record = {
        **{"timestamp": rfc3339(recent.at - timedelta(minutes=1)), "level": "ERROR"},
        **{"logger_name": evil, "message": evil, "service_name": evil, "environment": "evil"},
        **{"exception_type": evil, "stack_trace": evil, "username": evil, "request_id": evil},
    }
    push(victorialogs, [record])
    times = TimeRange(recent.at, timedelta(hours=1))
    text = report.render(VictoriaLogsEvaluator(victorialogs.url), PAGES, scope, times)
    assert text.count("alert(1)") > 5
    assert evil not in text
    assert "<img src=x" not in text


@pytest.mark.native
def test_the_report_loads_nothing(evaluator: VictoriaLogsEvaluator, recent: SampleRecords) -> None:
    """No script, style or picture has an address, and the file's policy forbids loading."""
    times = TimeRange(recent.at, timedelta(hours=1))
    text = report.render(evaluator, PAGES[:1], SCOPE, times)
    markup = re.sub(r"(<script>).*?(</script>)", r"\1\2", text, flags=re.DOTALL)
    assert len(markup) < 200_000
    assert not re.search(r"\bsrc=|<link|<iframe|<object|@import|url\(", markup)
    assert all(link.startswith("#") for link in re.findall(r'href="([^"]*)"', markup))
    [policy] = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', markup)
    assert policy.startswith("default-src 'none'")
    assert "http" not in policy


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0123, "percentunit", "1.23%"),
        (340.0, "ms", "340 ms"),
        (30.7712, "ms", "30.77 ms"),
        (1536.0, "bytes", "1.5 KiB"),
        (12.0, "bytes", "12 B"),
        (1234567.0, "short", "1,234,567"),
        (0.25, "cps", "0.25/s"),
    ],
)
def test_values_are_shown_in_their_units(value: float, unit: Unit, text: str) -> None:
    """With four digits at most."""
    assert format_value(value, unit) == text
