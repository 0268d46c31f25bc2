"""From a log line to the body that a channel receives: vmalert, Alertmanager, HTTP and SMTP."""

from __future__ import annotations

import json
from collections.abc import Iterator
from email.message import EmailMessage
from typing import Any

import pytest

from stack.engines.kinds import kind_of
from stack.runtimes.supervisor import Supervisor
from stack.settings.secrets import write_private
from tests.support.alerting import KEY, AlertingStack, alerting_stack
from tests.support.message_formats import check_pagerduty, check_slack
from tests.support.native_stack import (
    ON_ENGINES,
    Combination,
    line,
    marker,
    record,
)
from tests.support.sinks import Request

pytestmark = [pytest.mark.native, ON_ENGINES]


@pytest.fixture(scope="module")
def alerting(
    tmp_path_factory: pytest.TempPathFactory, combination: Combination, binaries: None
) -> Iterator[AlertingStack]:
    folder = tmp_path_factory.mktemp("alerting stack")
    with alerting_stack(folder, combination.variables) as started:
        yield started


def test_a_critical_record_pages_and_is_resolved(alerting: AlertingStack) -> None:
    """PagerDuty and Slack get one message when it fires and one when it is over."""
    mark = marker()
    text = f'<!channel> "lost" & {mark} 😀'
    alerting.stack.write(line(record(text, level="CRITICAL", service_name=mark)))

    def both() -> bool:
        slack, duty = (
            alerting.slack(f"CriticalLogged {mark}"),
            alerting.pagerduty(f"CriticalLogged {mark}"),
        )
        return len(slack) == 2 and len(duty) == 2

    alerting.wait(both, f"CriticalLogged of {mark} fired and resolved at PagerDuty and Slack")
    trigger, resolve = [r.body for r in alerting.pagerduty(f"CriticalLogged {mark}")]
    for body in (trigger, resolve):
        check_pagerduty(body)
        assert body["routing_key"] == KEY
    assert (trigger["event_action"], resolve["event_action"]) == ("trigger", "resolve")
    assert trigger["dedup_key"] == resolve["dedup_key"]
    assert trigger["payload"]["severity"] == "critical"
    assert text in trigger["payload"]["custom_details"]["samples"]
    page = "/explore?" if alerting.stack.settings.stack.engine == "loki" else "/select/vmui/"
    assert page in trigger["client_url"]
    fired, over = [r.body for r in alerting.slack(f"CriticalLogged {mark}")]
    for body in (fired, over):
        check_slack(body)
    assert fired["text"].startswith(f"[PAGE] CriticalLogged {mark} (dev): {mark} logged 1 CRITICAL")
    assert ": over. Before: " in over["text"]
    [attachment] = fired["attachments"]
    assert attachment["title"] == f"[PAGE] CriticalLogged {mark} (dev)"
    assert f'&lt;!channel&gt; "lost" &amp; {mark} 😀' in attachment["text"]
    assert "<!channel>" not in attachment["text"]
    assert f"*{mark} logged 1 CRITICAL records*" in attachment["text"]
    assert "|Records>" in attachment["text"]
    assert "runbooks.md#criticallogged" in attachment["text"]
    assert over["attachments"][0]["title"].startswith("[RESOLVED] ")
    assert over["attachments"][0]["color"] == "good"
    assert not alerting.mails(mark)


def test_a_failed_job_is_a_ticket_in_slack_and_by_mail(alerting: AlertingStack) -> None:
    """Text and HTML say the same, to every address."""
    mark = marker()
    fields = {"event_type": "job_failed", "level": "ERROR", "service_name": mark}
    alerting.stack.write(line(record(f"<b>Job</b> {mark} failed", **fields)))
    alerting.wait(lambda: len(alerting.mails(f"JobFailed {mark}")) == 2, "two e-mails")
    fired, over = alerting.mails(f"JobFailed {mark}")
    assert str(fired["Subject"]).startswith(f"[TICKET] JobFailed {mark} (dev): 1 background jobs")
    assert str(over["Subject"]).startswith("[RESOLVED] ")
    assert str(fired["To"]) == "oncall@example.com, erp@example.com"
    parts = {part.get_content_type(): part for part in fired.walk()}
    plain, html = (str(parts[f"text/{kind}"].get_content()) for kind in ("plain", "html"))
    assert f"<b>Job</b> {mark} failed" in plain
    assert f"&lt;b&gt;Job&lt;/b&gt; {mark} failed" in html
    assert "<b>Job</b>" not in html
    for message in (plain, html):
        assert "JobFailed" in message
        assert "<no value>" not in message
        assert "&lt;no value&gt;" not in message
    alerting.wait(lambda: len(alerting.slack(f"JobFailed {mark}")) == 2, "two messages in Slack")
    assert not alerting.pagerduty(f"JobFailed {mark}")


def test_info_comes_as_a_digest_by_mail_only(alerting: AlertingStack) -> None:
    """Two alerts of severity info are one e-mail."""
    first, second = f"A{marker()}", f"B{marker()}"
    fields = {"level": "ERROR", "logger_name": "tests"}
    alerting.stack.write(
        *(line(record("x", exception_type=name, **fields)) for name in (first, second))
    )

    def digest() -> list[EmailMessage]:
        return [m for m in alerting.mail.messages if first in str(m) and second in str(m)]

    alerting.wait(digest, f"one e-mail about {first} and {second}")
    assert "NewExceptionType" in str(digest()[0]["Subject"])
    assert not alerting.slack("NewExceptionType")
    assert not alerting.pagerduty("NewExceptionType")


def test_an_alert_waits_for_its_time(alerting: AlertingStack) -> None:
    """It is pending first, and nobody is told of one that ends before."""
    mark = marker()
    lines = [line(record("x", level="ERROR", service_name=mark)) for _ in range(150)]
    alerting.stack.write(*lines)
    seen = alerting.wait(
        lambda: alerting.state("ErrorRatioHigh") == "pending", "ErrorRatioHigh pending"
    )
    assert seen
    assert not alerting.slack(f"ErrorRatioHigh {mark}")
    alerting.wait(lambda: alerting.pagerduty(f"ErrorRatioHigh {mark}"), "ErrorRatioHigh fires")


def test_nothing_is_lost_while_alertmanager_is_away(alerting: AlertingStack) -> None:
    """It is tried again; the message arrives once, and a restart does not repeat it."""
    mark = marker()
    supervisor = Supervisor(alerting.stack.target)
    before = alerting.send_errors()
    supervisor.stop("alertmanager")
    fields = {"event_type": "request_finished", "status": 500, "service_name": mark}
    alerting.stack.write(*(line(record("x", **fields)) for _ in range(11)))
    alerting.wait(
        lambda: (
            alerting.state("ServerErrorBurst") == "firing" and alerting.send_errors() >= before + 15
        ),
        "ServerErrorBurst firing and fifteen messages that could not be sent",
    )
    assert not alerting.pagerduty(f"ServerErrorBurst {mark}", accepted=False)
    supervisor.restart("alertmanager")
    alerting.wait(
        lambda: (
            alerting.pagerduty(f"ServerErrorBurst {mark}")
            and alerting.slack(f"ServerErrorBurst {mark}")
        ),
        f"ServerErrorBurst of {mark} at PagerDuty and Slack",
        timeout=150,  # Loki sends an alert again after a minute
    )
    supervisor.restart("alertmanager")
    pings = len(alerting.http.of("/ping/"))
    alerting.wait(lambda: len(alerting.http.of("/ping/")) >= pings + 5, "five more heartbeats")
    assert len(alerting.pagerduty(f"ServerErrorBurst {mark}")) == 1
    assert len(alerting.slack(f"ServerErrorBurst {mark}")) == 1


def test_the_watchdog_calls_the_dead_mans_switch(alerting: AlertingStack) -> None:
    """At every deadman_interval, here a second, and nobody else."""
    before = len(alerting.http.of("/ping/"))

    def often_enough() -> bool:
        times = [request.at for request in alerting.http.of("/ping/")[before:]]
        return any(later - first < 3 * 1.6 for first, later in zip(times, times[3:], strict=False))

    alerting.wait(often_enough, "four calls in a row about a second apart")
    body = alerting.http.of("/ping/")[-1].body
    assert body["commonLabels"]["alertname"] == "Watchdog"
    assert not alerting.slack("Watchdog")
    assert not alerting.mails("Watchdog")


@pytest.mark.parametrize("channel", ["slack", "pagerduty", "email"])
def test_send_delivers_one_marked_message(alerting: AlertingStack, channel: str) -> None:
    """Through Alertmanager, to that channel alone, and says that it was taken."""
    result = alerting.stack.run("alerts", "send", "--channel", channel, "--json")
    assert result.returncode == 0, f"{result.stdout}{result.stderr}\n{alerting.stack.logs()}"
    found = json.loads(result.stdout)
    assert found["delivered"]
    mark = found["mark"]
    received: dict[str, list[Any]] = {
        "slack": [r for r in alerting.http.of("/services/") if mark in json.dumps(r.body)],
        "pagerduty": [r for r in alerting.http.of("/v2/enqueue") if mark in json.dumps(r.body)],
        "email": [m for m in alerting.mail.messages if mark in str(m)],
    }
    assert {name: len(messages) for name, messages in received.items()} == {
        name: int(name == channel) for name in received
    }


def test_send_prints_why_a_channel_refuses(alerting: AlertingStack) -> None:
    """The status and the words of the answer, and exit status 1."""
    alerting.http.failing["/services/"] = [404]
    result = alerting.stack.run("alerts", "send", "--channel", "slack")
    assert result.returncode == 1
    assert "404" in result.stderr
    assert "not now" in result.stderr
    assert "secret" not in result.stderr


def test_status_fails_when_other_rules_are_loaded(alerting: AlertingStack) -> None:
    """It names them, and `up` puts them right."""
    stack = alerting.stack
    evaluator = kind_of(stack.settings).evaluator
    [path] = (stack.target.config_dir(evaluator) / "rules").rglob("*.yaml")
    write_private(path, path.read_text(encoding="utf-8").replace("CriticalLogged", "SomethingElse"))
    Supervisor(stack.target).restart(evaluator)
    alerting.wait(
        lambda: (
            (found := stack.run("status")).returncode == 1
            # Just restarted, Loki has not loaded any.
            and "rules not loaded: CriticalLogged" in found.stdout
        ),
        "status to fail and to name it",
    )
    stack.up()
    assert stack.run("status").returncode == 0


def test_secrets_stand_in_private_files_only(alerting: AlertingStack) -> None:
    """Not in the configuration, the settings of the run folder, or a log."""
    run = alerting.stack.target.run_dir
    holders = {
        path.relative_to(run).as_posix()
        for path in run.rglob("*")
        if path.is_file() and (KEY.encode() in path.read_bytes() or b"/secret" in path.read_bytes())
    }
    secrets = {path for path in holders if path.startswith("alertmanager/secrets/")}
    assert secrets == {
        f"alertmanager/secrets/{name}" for name in ("slack_webhook", "pagerduty_key", "deadman_url")
    }
    assert all((run / path).stat().st_mode & 0o077 == 0 for path in secrets)
    assert KEY not in alerting.stack.logs(10_000_000)


@pytest.mark.parametrize("statuses", [[500, 503], [429]])
def test_a_channel_that_refuses_is_asked_again(
    alerting: AlertingStack, statuses: list[int]
) -> None:
    """The message arrives once, at both channels."""
    mark = marker()
    monitor = Supervisor(alerting.stack.target)
    monitor.stop("monitor")  # it would keep the alert, and stop the watchdog: test_kept_alerts
    for path in ("/services/", "/v2/enqueue"):
        alerting.http.failing[path] = list(statuses)
    fields = {"level": "CRITICAL", "service_name": mark}
    alerting.stack.write(line(record("x", **fields)))

    def told() -> list[Request]:  # in one message with the services before it, if any
        return [r for r in alerting.http.of("/services/") if mark in json.dumps(r.body)]

    def over() -> bool:
        return len(told()) == 2 and len(alerting.pagerduty(f"CriticalLogged {mark}")) == 2

    alerting.wait(over, f"CriticalLogged of {mark}, fired and resolved, once each")
    duty = [r.body["event_action"] for r in alerting.pagerduty(f"CriticalLogged {mark}")]
    assert duty == ["trigger", "resolve"]
    titles = [r.body["attachments"][0]["title"] for r in told()]
    assert [title.split()[0] for title in titles] == ["[PAGE]", "[RESOLVED]"]
    refused = [r.status for r in alerting.http.requests if r.status >= 300]
    assert [status for status in refused if status in statuses]
    assert not any(alerting.http.failing.values())
    monitor.start_program("monitor")
