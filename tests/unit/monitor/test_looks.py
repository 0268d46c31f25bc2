"""What the monitor makes of logs, files, disks, certificates and counters."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from stack.hosts.certificates import make_authority
from stack.monitor import accounts, disks, files, history, logs, metrics, network, plan, processes
from stack.monitor.history import History
from stack.monitor.metrics import METRICS
from stack.monitor.model import Observation, Problem, merged
from stack.monitor.plan import Files, Limits, Plan, Program, Server
from stack.monitor.view import View

LIMITS = Limits(300, 259_200, 5, 14, 1, 720, 360)
EMPTY = Plan("dev", 30, "", "", "make up", "otelcol", "victorialogs", (), (), LIMITS)
LOG = """\
2026-01-31 10:00:00,000 INFO supervisord started with pid 100
2026-01-31 10:00:01,000 WARN exited: vmalert (exit status 1; not expected)
2026-01-31 11:00:00,000 INFO supervisord started with pid 200
2026-01-31 11:00:01,000 INFO spawned: 'vmalert' with pid 201
2026-01-31 11:00:02,000 INFO success: vmalert entered RUNNING state, process has stayed up
2026-01-31 11:00:03,000 WARN exited: vmalert (terminated by SIGKILL; not expected)
2026-01-31 11:00:04,000 WARN exited: otelcol (exit status 2; not expected)
2026-01-31 11:00:05,000 WARN exited: otelcol (exit status 2; not expected)
2026-01-31 11:00:06,000 INFO exited: sample_app (exit status 0; expected)
2026-01-31 11:00:07,000 INFO waiting for alertmanager to stop
2026-01-31 11:00:08,000 WARN stopped: alertmanager (exit status 0)
"""


def ends(log: str) -> dict[str, list[str]]:
    found = processes.supervised(log)
    return {name: [item.how for item in process.exits] for name, process in found.items()}


def test_ends_that_nobody_asked_for_are_counted_since_supervisord_started() -> None:
    """Whatever the status; a stop on purpose is none and forgets those before it."""
    expected = {
        "vmalert": ["terminated by SIGKILL"],
        "otelcol": ["exit status 2", "exit status 2"],
        "sample_app": ["exit status 0"],
        "alertmanager": [],
    }
    assert ends(LOG) == expected
    stopped = f"{LOG}2026-01-31 11:00:09,000 INFO stopped: otelcol (terminated by SIGTERM)\n"
    assert ends(stopped) == {**expected, "otelcol": []}
    assert processes.supervised(stopped)["otelcol"].stopped


def test_the_end_of_a_log_is_enough_to_count() -> None:
    """Where the beginning was rotated away, all that is left counts."""
    assert ends(LOG.partition("pid 200\n")[2]) == ends(LOG)
    assert ends("") == {}


def test_the_times_of_supervisord_are_local(new_delhi: None) -> None:
    """They are compared with the clock."""
    (end,) = processes.supervised(LOG)["vmalert"].exits
    assert time.strftime("%H:%M:%S", time.gmtime(end.moment)) == "05:30:03"


def test_three_ends_in_five_minutes_are_a_loop(new_delhi: None) -> None:
    """Two are not, and neither are three in an hour."""
    found = processes.supervised(LOG.replace("sample_app", "otelcol"))["otelcol"].exits
    last = found[-1].moment
    assert processes.is_restarting(found, last + 1)
    assert not processes.is_restarting(found[1:], last + 1)
    assert not processes.is_restarting(found, last + 301)


def test_a_crash_is_explained_by_the_programs_own_last_words(tmp_path: Path) -> None:
    """The newest line that says so; a known cause has its command."""
    log = tmp_path / "victorialogs.log"
    program = Program("victorialogs", folder="/srv/data", log=str(log))
    log.write_text(
        '{"level":"panic","msg":"FATAL: cannot flush: write x: no space left on device"}\n'
        '{"level":"info","msg":"started"}\n'
    )
    assert logs.why_it_ended(program, EMPTY) == (
        "the disk is full",
        "FATAL: cannot flush: write x: no space left on device",
        "df -h /srv/data",
    )
    log.write_text('{"level":"info","msg":"started"}\n')
    assert logs.why_it_ended(program, EMPTY) == ("", "", EMPTY.apply)


def test_a_failed_delivery_is_explained_by_the_agents_newest_error(tmp_path: Path) -> None:
    """Digits of its time are none of its cause, and an old error counts no more."""
    log = tmp_path / "otelcol.log"
    program = Program("otelcol", log=str(log))
    line = '{{"ts":"2026-01-31T10:00:00.401Z","msg":"Exporting failed.","error":"{}"}}\n'
    now = logs.seconds("2026-01-31T10:00:30Z")
    for error, cause in (
        ("dial tcp 127.0.0.1:1: connect: connection refused", "nothing listens there"),
        ("responded with HTTP Status Code 401", "the destination refuses the password"),
        ("responded with HTTP Status Code 500", "it was refused"),
        ("x509: certificate has expired", "the destination's certificate has expired"),
    ):
        log.write_text(line.format(error))
        assert next(logs.delivery_errors(program, EMPTY, now))[0] == cause
    assert list(logs.delivery_errors(program, EMPTY, now + 600)) == []


def samples(**fields: float) -> dict[str, dict[str, float]]:
    return {name: {"": value} for name, value in fields.items()}


def test_metrics_are_summed_up_but_for_the_labels_that_tell_them_apart() -> None:
    """Escaped quotes in labels, comments and unknown metrics are passed over."""
    text = (
        "# TYPE vl_rows_dropped_total counter\n"
        'vl_rows_dropped_total{reason="too_small_timestamp"} 3\n'
        'vl_rows_dropped_total{reason="debug"} 0\n'
        'vl_rows_ingested_total{type="a"} 4\nvl_rows_ingested_total{type="\\"b\\""} 5e1\n'
        "other_metric 1\nvl_partitions NaNs\n"
    )
    assert metrics.parse(text, METRICS["victorialogs"]) == {
        "rows_dropped": {"too_small_timestamp": 3, "debug": 0},
        "rows_taken": {"": 54},
    }
    text = (
        "alertmanager_notification_requests_total"
        '{integration="slack",receiver_name="page",receiver_idx="0"} 2\n'
    )
    found = metrics.parse(text, METRICS["alertmanager"])
    assert found == {"notifications": {"page/slack": 2}}


def test_a_counter_that_begins_again_or_appears_has_grown_from_nothing() -> None:
    """A restart of the program, and a reason that was never counted before."""
    known = History()
    for moment, value in enumerate((100.0, 160.0, 10.0, 30.0)):
        known.add(moment, {"agent": samples(sent=value)})
    known.add(5, {"agent": {**samples(sent=30), "dropped": {"old": 7}}})
    assert known.increase("agent", "sent") == 90
    assert known.increase("agent", "dropped", "old") == 7
    assert known.increase("agent", "unknown") == 0
    assert known.increase("unknown", "sent") == 0


def test_what_is_older_than_ten_minutes_counts_no_more(tmp_path: Path) -> None:
    """The state survives a restart of the monitor, readable for its user alone."""
    known = History()
    for moment in (0, 30, 60, 640):
        known.add(moment, {"agent": samples(sent=float(moment))})
    assert known.increase("agent", "sent") == 610
    known.save(tmp_path / "new")
    path = tmp_path / "new" / history.FILE
    assert path.stat().st_mode & 0o777 == 0o600
    assert history.load(tmp_path / "new").increase("agent", "sent") == 610
    path.write_text("{")
    assert history.load(tmp_path / "new").looks == []


def agent(moment: float, accepted: float, sent: float, queue: float, **more: float) -> Any:
    """A look at an agent with one destination."""
    found: dict[str, dict[str, float]] = {
        **samples(uptime_s=moment + 1, **more),
        "accepted_records": {"file_log/1": accepted / 2, "journald": accepted / 2},
        "sent_records": {"d": sent},
        "queue_bytes": {"d": queue},
    }
    return moment, {"otelcol": found}


@pytest.mark.parametrize(
    ("looks", "lost"),
    [
        # all is sent, at once or from the queue
        ([(0, 0, 0, 0), (30, 100, 100, 0), (60, 200, 200, 0), (90, 300, 300, 0)], 0),
        ([(0, 0, 0, 0), (30, 100, 0, 6e4), (60, 200, 0, 1.2e5), (90, 300, 0, 1.8e5)], 0),
        ([(0, 0, 0, 0), (30, 9000, 10, 9e6), (60, 9000, 9000, 0), (90, 9000, 9000, 0)], 0),
        # sent is counted before accepted
        ([(0, 50, 80, 0), (30, 100, 100, 0), (60, 200, 200, 0), (90, 300, 300, 0)], 0),
        # the queue of a process before it
        ([(0, 0, 500, 1e5), (30, 0, 900, 0), (60, 5, 905, 0), (90, 9, 909, 0)], 0),
        # three of them are nowhere
        ([(0, 0, 0, 0), (30, 100, 100, 0), (60, 203, 200, 0), (90, 303, 300, 0)], 3),
    ],
)
def test_records_that_leave_a_queue_without_a_word_are_counted(
    looks: list[tuple[float, float, float, float]], lost: int
) -> None:
    """Accepted = sent + refused + in the queue, within the bounds of what is known."""
    known = History([agent(*look) for look in looks])
    assert accounts.dropped_by_queue(known, "otelcol", "d") == lost


def test_a_destination_with_receivers_of_its_own_has_their_records() -> None:
    """Where there are none, all of them are for every destination."""
    names = ("file_log/1_logs-1", "journald/logs-1", "file_log/1_logs-11", "journald/logs-11")
    apart = {"accepted_records": dict.fromkeys(names, 1.0)}
    assert accounts.receivers(apart, "otlp_http/logs-1") == list(names[:2])
    together = {"accepted_records": dict.fromkeys(("file_log/1", "journald"), 1.0)}
    assert accounts.receivers(together, "otlp_http/logs-1") == ["file_log/1", "journald"]
    assert accounts.receivers(together, "otlp_http") == ["file_log/1", "journald"]


@pytest.mark.parametrize(
    ("looks", "age"),
    [
        ([(0, 0, 0, 0), (30, 9, 9, 0), (60, 19, 19, 0), (90, 29, 29, 0)], 0),
        ([(0, 0, 0, 0), (30, 10, 10, 0), (60, 20, 15, 640), (90, 30, 15, 1280)], 60),
        ([(0, 0, 0, 0), (30, 10, 0, 640), (60, 20, 0, 1280), (90, 30, 0, 1920)], 90),
        # in a steady stream something always waits
        ([(0, 0, 0, 0), (30, 10, 9, 99), (60, 20, 19, 99), (90, 30, 29, 99)], 30),
    ],
)
def test_the_oldest_record_in_a_queue_is_as_old_as_what_was_not_delivered(
    looks: list[tuple[float, float, float, float]], age: float
) -> None:
    """As far as looks can tell."""
    known = History([agent(*look) for look in looks])
    moment, seen = known.looks[-1]
    assert accounts.queue_age(View(EMPTY, moment, known, seen, {}), "d") == age


def engine(moment: float, taken: float, stored: float, dropped: float = 0, days: float = 1) -> Any:
    found = samples(rows_stored=stored, rows_dropped=dropped, days=days)
    return moment, {"victorialogs": found, accounts.ACCOUNT: samples(first=taken, later=taken)}


@pytest.mark.parametrize(
    ("looks", "lost"),
    [
        ([(0, 0, 70), (30, 100, 170), (60, 200, 270), (90, 300, 370)], 0),
        # others write, too; rows are dropped by name; a day is deleted
        ([(0, 0, 0), (30, 100, 900), (60, 200, 1000), (90, 300, 1100)], 0),
        ([(0, 0, 0), (30, 100, 90, 10), (60, 200, 190, 10), (90, 300, 280, 20)], 0),
        ([(0, 0, 900, 0, 2), (30, 9, 909, 0, 2), (60, 9, 9, 0, 1), (90, 9, 9, 0, 1)], 0),
        # it was killed: 40 were acknowledged and are not there
        ([(0, 0, 0), (30, 100, 100), (60, 200, 160), (90, 300, 260)], 40),
        # the agent restarted meanwhile
        ([(0, 500, 0), (30, 600, 100), (60, 50, 110), (90, 150, 210)], 40),
    ],
)
def test_records_that_an_engine_took_and_does_not_have_are_counted(
    looks: list[tuple[float, ...]], lost: int
) -> None:
    """Taken = stored + dropped by name."""
    known = History([engine(*look) for look in looks])
    assert accounts.lost_by_engine(known, "victorialogs") == lost


def test_a_disk_that_fills_has_an_end() -> None:
    """A forecast goes twelve times as far as the observation, and no further."""
    gib = 1024**3
    assert disks.full_in([(0, 10 * gib), (3600, 9 * gib)]) == 9 * 3600
    assert disks.full_in([(0, 10 * gib), (600, 9.99 * gib)]) is None
    assert disks.full_in([(0, 9 * gib), (3600, 10 * gib)]) is None
    points: disks.Points = []
    for moment in range(0, 2 * 86_400, 30):
        disks.remember(points, moment, 1.0)
    assert len(points) == 288


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.log", {"a.log", "b.log"}),
        ("[ab].log", {"a.log", "b.log"}),
        ("{a,c}.*", {"a.log", "c.txt"}),
        ("**/d.log", {"sub/d.log"}),
        ("\\*.log", set()),
        ("a.log.{gz,zst}", set()),
    ],
)
def test_patterns_match_as_the_agents_do(tmp_path: Path, pattern: str, names: set[str]) -> None:
    """Folders are no log files."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "folder.log").mkdir()
    for name in ("a.log", "b.log", "c.txt", "sub/d.log"):
        (tmp_path / name).touch()
    assert files.matching(f"{tmp_path}/{pattern}") == {str(tmp_path / name) for name in names}


def entry(service: str, pattern: str) -> Files:
    return Files(service, (pattern, f"{pattern}.*"), (f"{pattern}*.gz",), expected=True)


def found_in(*entries: Files) -> list[tuple[str, str]]:
    values = Plan(**{**EMPTY.__dict__, "files": entries})
    return [(problem.name, problem.evidence) for problem in files.examine(values)[0]]


def test_patterns_without_files_and_files_of_two_entries_are_said(tmp_path: Path) -> None:
    """The second entry reads nothing of what the first reads."""
    (tmp_path / "a.log").touch()
    everything, one = f"{tmp_path}/*.log", f"{tmp_path}/a.log"
    assert found_in(entry("a", everything)) == []
    assert found_in(entry("a", everything), entry("b", one)) == [
        ("file_matched_twice", f"{one} and {everything}: {one}")
    ]
    absent = f"{tmp_path}/typo/*.log"
    assert found_in(entry("a", absent)) == [
        ("no_files", f"{absent} matches nothing: there is no folder {tmp_path}/typo")
    ]


def test_a_link_is_refused_where_the_agent_follows_none(tmp_path: Path) -> None:
    """As on hosts; elsewhere it is a log file."""
    (tmp_path / "a.log").touch()
    link = tmp_path / "b.log"
    link.symlink_to(tmp_path / "a.log")
    entries = (entry("a", f"{tmp_path}/*.log"),)
    assert files.examine(replace(EMPTY, files=entries)) == ([], 2)
    (found,), watched = files.examine(replace(EMPTY, files=entries, links=False))
    assert (found.name, found.evidence, watched) == ("file_refused", f"symbolic links: {link}", 1)


@pytest.mark.skipif(os.getuid() == 0, reason="root reads every file")
def test_what_may_not_be_read_is_said(tmp_path: Path) -> None:
    """A file, and a folder."""
    path = tmp_path / "a.log"
    path.touch(0o000)
    assert found_in(entry("a", str(path))) == [("file_refused", f"permission denied: {path}")]
    tmp_path.chmod(0o000)
    try:
        closed = found_in(entry("a", f"{tmp_path}/*.log"))
    finally:
        tmp_path.chmod(0o700)
    assert closed == [("file_refused", f"permission denied: {tmp_path}")]


def test_the_days_of_a_certificate_are_those_of_its_second_time() -> None:
    """Whatever precedes them in the certificate."""
    made = x509.load_pem_x509_certificate(make_authority("lab").certificate.encode())
    ends_at = made.not_valid_after_utc.timestamp()
    data = made.public_bytes(Encoding.DER)
    assert network.seconds_left(data, ends_at - 10.5 * 86_400) == 10.5 * 86_400
    assert network.seconds_left(data, ends_at + 60) == -60
    with pytest.raises(ValueError, match="expected a certificate"):
        network.seconds_left(b"other data", ends_at)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Another version's is refused."""
    values = Plan(
        **{
            **EMPTY.__dict__,
            "programs": (Program("otelcol", "http://h", "http://m", "/f", "/l"),),
            "files": (entry("a", "/a"),),
            "certificates": ("h:443",),
            "servers": (Server("https://h/", "app-1", "/file"),),
            "logs": ("/var/log/journal",),
        }
    )
    (tmp_path / plan.FILE).write_text(plan.to_text(values))
    assert plan.read_plan(tmp_path) == values
    (tmp_path / plan.FILE).write_text("{}")
    with pytest.raises(ValueError, match="expected the plan of a monitor"):
        plan.read_plan(tmp_path)


def test_observations_of_one_component_are_one() -> None:
    """Several probes look at it."""
    problem = Problem("p", "c", "e", "r")
    assert merged(
        [
            Observation("a", values={"x": 1}),
            Observation("b"),
            Observation("a", "", {"y": 2}, (problem,)),
        ]
    ) == [Observation("a", "", {"x": 1, "y": 2}, (problem,)), Observation("b")]
