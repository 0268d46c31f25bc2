"""Which services the monitor calls silent."""

from __future__ import annotations

import json
import re
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from stack.monitor import plan, services
from stack.monitor.history import History
from stack.monitor.model import Observation
from stack.monitor.plan import Limits, Plan, Services
from stack.monitor.view import View

LIMITS = Limits(300, 259_200, 5, 14, 1, 720, 360)
INTERVAL = 30.0
MINUTE, HOUR, DAY = 60.0, 3600.0, 86_400.0


class Engine:
    """Answers the query of a plan from `ages`: how old each service's newest record is."""

    def __init__(self) -> None:
        self.ages: dict[str, float] = {}
        self.now = 0.0
        self.monitor_age = 5.0  # seconds since the monitor's own newest record arrived
        self.asked: list[float] = []
        engine = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                query = urllib.parse.parse_qs(body)["query"][0]
                [length] = re.findall(r"(\d+)ms", query)
                engine.asked.append(int(length) / 1000)
                ages = {**engine.ages, services.MONITOR: engine.monitor_age}
                names = [n for n, age in ages.items() if age <= engine.asked[-1]]
                rows = [{"metric": {"service_name": n}, "value": [0, "1"]} for n in names]
                text = json.dumps({"status": "success", "data": {"result": rows}}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: object) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/query"
        self.history = History(notes={services.HEARD: -DAY})

    def look(self, **changes: object) -> list[str]:
        """The services that are silent at the second of two looks: the first one suspects."""
        list(services.look(self.view(**changes)))
        self.now += INTERVAL
        found = list(services.look(self.view(**changes)))
        assert len(found) == 1
        return names_of(found[0])

    def view(self, **changes: object) -> View:
        """A look at this engine."""
        values = {"silent_s": 10 * MINUTE, "silent_after": {}, "retired": (), **changes}
        asked = Services(self.url, "_time:WINDOW {}", {}, **values)  # type: ignore[arg-type]
        plan_ = Plan("dev", 30, "", "", "make up", "otelcol", "victorialogs", (), (), LIMITS,
                     services=asked)  # fmt: skip
        return View(plan_, self.now, self.history, {"victorialogs": {}}, {})


def names_of(found: Observation) -> list[str]:
    """The services of the notes."""
    assert all(item.note and item.name == "service_silent" for item in found.problems)
    assert found.values["silent_services"] == len(found.problems)
    return [item.service for item in found.problems]


@pytest.fixture
def engine() -> Iterator[Engine]:
    found = Engine()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    yield found
    found.server.shutdown()
    found.server.server_close()


def test_a_service_is_silent_until_it_is_back(engine: Engine) -> None:
    """Not only for a day, and not longer."""
    engine.ages = {"erp": 5 * MINUTE, "billing": 11 * MINUTE}
    assert engine.look() == ["billing"]
    engine.ages["billing"] = 40 * DAY
    assert engine.look() == ["billing"]
    engine.ages = {"erp": MINUTE}  # the engine has deleted the records
    assert engine.look() == ["billing"]
    engine.ages["billing"] = MINUTE
    assert engine.look() == []


def test_a_nightly_job_is_not_silent_at_noon(engine: Engine) -> None:
    """A service has a time of its own."""
    engine.ages = {"erp": 11 * MINUTE, "nightly": 20 * HOUR}
    own = {"nightly": 26 * HOUR}
    assert engine.look(silent_after=own) == ["erp"]
    engine.ages["nightly"] = 27 * HOUR
    assert engine.look(silent_after=own) == ["erp", "nightly"]


def test_a_retired_service_is_forgotten(engine: Engine) -> None:
    """So are the stack's own."""
    engine.ages = {"old": DAY, "logstack-archiver": HOUR}
    assert engine.look() == ["old"]
    assert engine.look(retired=("old",)) == []


def test_the_command_reads_where_the_service_logs(engine: Engine) -> None:
    """What a host's monitor says is typed on the machine that deploys."""
    engine.ages = {"erp": DAY}
    engine.look()
    view = engine.view()
    for units, command in (
        (False, "./logstack logs --since 1d --service erp"),
        (True, "./logstack logs --env dev --since 1d --service erp"),
    ):
        [found] = services.look(replace(view, plan=replace(view.plan, units=units)))
        assert [item.command for item in found.problems] == [command]


def test_days_are_searched_once(engine: Engine) -> None:
    """Later looks read the records of minutes."""
    engine.ages = {"erp": MINUTE}
    for _ in range(2):
        list(services.look(engine.view()))
    own = services.HEARD_S
    assert engine.asked == [600, services.FIRST_S, own, 600, own]


def test_nobody_is_newly_silent_before_records_have_arrived_for_a_while(engine: Engine) -> None:
    """After an outage the records of a busy service come later than the monitor's first look."""
    engine.ages = {"erp": MINUTE, "old": DAY}
    assert engine.look() == ["old"]
    engine.now, engine.monitor_age, engine.ages["erp"] = 20 * MINUTE, 20 * MINUTE, 20 * MINUTE
    assert engine.look() == ["old"]  # the agent is down
    engine.now, engine.monitor_age = 21 * MINUTE, 5
    assert engine.look() == ["old"]  # it is back, and sends what is newest first
    engine.now = 29 * MINUTE
    assert engine.look() == ["old"]
    engine.now = 31 * MINUTE
    assert engine.look() == ["erp", "old"]
    engine.now, engine.monitor_age, engine.ages["old"] = 40 * MINUTE, 20 * MINUTE, 5
    assert engine.look() == ["erp"]  # also while nothing arrives, who is back is back


def test_what_falls_silent_when_the_agent_does_is_not_reported(engine: Engine) -> None:
    """A record of the monitor has to arrive that was written afterwards."""
    engine.ages = {"erp": 11 * MINUTE}
    engine.monitor_age = INTERVAL + 10
    assert engine.look() == []
    engine.monitor_age = 5
    assert engine.look() == ["erp"]


def test_nobody_is_silent_while_the_engine_does_not_answer(engine: Engine) -> None:
    """What is known stays known."""
    engine.ages = {"erp": DAY}
    assert engine.look() == ["erp"]
    url, engine.url = engine.url, "http://127.0.0.1:9/query"
    assert list(services.look(engine.view())) == []
    engine.url = url
    assert engine.look() == ["erp"]


def test_a_plan_with_services_is_read_as_it_was_written(engine: Engine, tmp_path: Path) -> None:
    """So is one without them."""
    written = engine.view(silent_after={"a": 3.0}, retired=("b",)).plan
    for values in (written, replace(written, services=None)):
        (tmp_path / plan.FILE).write_text(plan.to_text(values))
        assert plan.read_plan(tmp_path) == values
