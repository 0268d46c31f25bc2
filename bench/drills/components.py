"""Components that stop, are killed or do not answer."""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from bench.drills.drill import Outcome, Scene, measure, native
from bench.drills.watch import Names, Watch, watching
from stack.components.monitor import plan_of
from stack.monitor.history import History
from stack.monitor.look import look
from stack.settings.secrets import write_private
from tests.support.load import writing
from tests.support.log_servers import log_servers
from tests.support.native_stack import line, marker, poll, record
from tests.support.sinks import Request, http_sink

ENGINE = "victorialogs"
KILLS = 5
PAGES = "/v2/enqueue"
# Not the only one about the service: it is silent afterwards.
ALERT = "CriticalLogged"


def engine_stopped(scene: Scene) -> None:
    scene.supervisor.stop(ENGINE)
    time.sleep(scene.seconds)
    scene.watch.until_named()
    scene.supervisor.start_program(ENGINE)


def engine_killed(scene: Scene) -> None:
    _kill(scene, ENGINE)


def agent_killed(scene: Scene) -> None:
    _kill(scene, scene.stack.agent)


def _kill(scene: Scene, component: str) -> None:
    """kill -9, several times in the length of the drill; supervisord starts it again."""
    for _ in range(KILLS):
        scene.stack.kill(component)
        scene.writer.wait_for(scene.seconds / KILLS)


def clock_jumped(scene: Scene) -> None:
    """The application's clock: programs in Go do not take one from libfaketime."""
    for ahead in (timedelta(hours=3), timedelta(days=-2), timedelta(0)):
        scene.writer.ahead = ahead
        scene.writer.wait_for(scene.seconds / 3)


def one_server_down(folder: Path, seconds: float, names: Names) -> Outcome:
    """The outcome of the worse one. The queue for the server that is down is full after 8 s."""
    mark, rate = marker(), 1000
    with log_servers(folder, ("logs-1", "logs-2"), queue="4MiB") as servers:
        for name in ("logs-1", "logs-2", "agent"):
            servers.start(name)
        plan, seen = plan_of(servers.target, ("otelcol",)), History()
        watch = Watch(names, lambda: look(plan, seen)[1])
        with watch, writing(servers.target.app_log_file, mark, rate) as writer:
            writer.wait_for(2)
            servers.kill("logs-2")
            writer.wait_for(seconds)
            behind = measure(servers.servers["logs-1"], mark, writer.written)
            watch.until_named()
            servers.start("logs-2")
            writer.wait_for(2)
        outcomes = [measure(target, mark, writer.written) for target in servers.servers.values()]
    worse = max(outcomes, key=lambda outcome: (outcome.lost, outcome.doubled))
    note = f"meanwhile the other was {behind.seconds:.1f} s behind"
    return replace(worse, seconds=outcomes[1].seconds, note=note).named_by(watch)


def receiver_down(folder: Path, seconds: float, names: Names) -> Outcome:
    """One page, while its receiver answers 503. Counts notifications that it is triggered."""
    service = marker()
    with http_sink() as sink:
        key = folder / "secrets" / "key"
        write_private(key, "0123456789abcdef0123456789abcdef\n")
        variables = {
            ("alerts", "group_wait"): "1s",
            ("alerts", "group_interval"): "3s",
            ("receivers", "pagerduty_url"): f"{sink.url}{PAGES}",
            ("receivers", "pagerduty_key_file"): str(key),
        }
        with native(folder, variables) as stack, watching(stack.target, names) as watch:
            sink.failing[PAGES] = [503] * 1_000_000
            stack.write(line(record("lost", level="CRITICAL", service_name=service)))
            poll(lambda: sink.of(PAGES, accepted=False), "a first attempt", timeout=60)
            time.sleep(seconds)
            watch.until_named()
            sink.failing.clear()
            began = time.monotonic()
            while not _pages(sink.of(PAGES), service) and time.monotonic() < began + 600:
                time.sleep(0.2)
            took = time.monotonic() - began
            time.sleep(5)
            delivered = _pages(sink.of(PAGES), service)
            attempts = f"{len(sink.of(PAGES, accepted=False))} attempts"
            outcome = Outcome(1, min(delivered, 1), max(delivered - 1, 0), took, attempts)
            return outcome.named_by(watch)


def _pages(requests: list[Request], service: str) -> int:
    triggers = [r for r in requests if r.body.get("event_action") == "trigger"]
    return sum(f"{ALERT} {service}" in request.body["payload"]["summary"] for request in triggers)
