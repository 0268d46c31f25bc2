"""`explain` says what the engine would hold: it is compared with what it holds."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack.settings import variable_name
from tests.support.native_stack import (
    ON_ENGINES,
    ON_EVERY_COMBINATION,
    StackUnderTest,
    line,
    logstack_argv,
    marker,
    poll,
    record,
)

pytestmark = pytest.mark.native


def explained(stack: StackUnderTest, *arguments: str, **options: Any) -> list[dict[str, Any]]:
    result = stack_process(stack, *arguments, **options)
    assert result.returncode == 0, result.stderr
    return [json.loads(text) for text in result.stdout.splitlines()]


def stack_process(
    stack: StackUnderTest, *arguments: str, **options: Any
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        logstack_argv("explain", *arguments),
        env=stack.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        **options,
    )


@ON_EVERY_COMBINATION
def test_the_record_shown_is_the_one_that_the_engine_holds(stack: StackUnderTest) -> None:
    """Contract records, JSON of other programs, text, tracebacks, in one go."""
    mark = marker()
    lines = [
        line(record(mark=mark, user_id=2**60, duration_ms=0.5, nested={"a": [1, None]}, empty="")),
        line({"msg": f"other {mark}", "host": "web1", "level": "warn", "n": 7, "service_name": {}}),
        line(record(f"late {mark}") | {"timestamp": "2020-01-01T00:00:00Z"}),
        "Traceback (most recent call last):",
        f'  File "{mark}.py", line 1, in run',
        f"ValueError: {mark}",
        f'{{"torn": "{mark}',
        f'{{"a": "{mark}"}} {{"b": 2}}',
        line(record("", mark=mark, status=200)),
    ]
    found = explained(stack, "--json", "--service", "erp-backend-api", "--", *lines)
    assert [item["lines"] for item in found] == [
        [1, 1], [2, 2], [3, 3], [4, 6], [7, 7], [8, 8], [9, 9]
    ]  # fmt: skip
    stack.write(*lines)
    stored = [*stack.wait_for({"mark": mark}, 2), *stack.wait_for({}, 5, grep=mark)]
    assert key(item["record"] for item in found) == key(stored)


def key(records: Any) -> list[str]:
    """Records as text, without the time of arrival and the name of the file."""
    kept = []
    for item in records:
        own = {name: value for name, value in item.items() if name != "log.file.path"}
        if item.keys() & {"format", "timestamp_original", "level_original", "msg"}:
            own.pop("timestamp")
        kept.append(json.dumps(own, sort_keys=True))
    return sorted(set(kept))


@ON_ENGINES
def test_it_needs_no_stack_and_reads_standard_input_and_files(
    own_stack: StackUnderTest, tmp_path: Path
) -> None:
    """A file has the service of its entry, and only its first lines are read."""
    path = tmp_path / "shop $HOME [1].log"
    path.write_text("".join(f"{line(record(number=n, service_name=''))}\n" for n in range(50)))
    pattern = f"{tmp_path}/*.log"
    own_stack.variables[variable_name("agent", "files")] = (
        f'[{{service = "shop", path = "{pattern}"}}]'
    )
    found = explained(own_stack, "--json", "--file", str(path), "-n", "3")
    assert [item["record"]["number"] for item in found] in ([0, 1, 2], ["0", "1", "2"])
    assert {item["record"]["service_name"] for item in found} == {"shop"}
    assert {item["record"]["log.file.path"] for item in found} == {str(path)}
    [piped] = explained(own_stack, "--json", input="just text\n")
    assert piped["record"]["message"] == "just text"
    assert explained(own_stack, "--json", input="") == []
    assert path.exists()


@ON_ENGINES
def test_the_table_names_each_source(own_stack: StackUnderTest) -> None:
    result = stack_process(own_stack, '{"message": "m", "host": "web1"}')
    assert result.returncode == 0, result.stderr
    assert "moved aside: `host` is extra_host" in result.stdout
    assert "extra_host" in result.stdout
    assert "time of arrival" in result.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_runs_on_when_it_is_interrupted(
    own_stack: StackUnderTest, tmp_path: Path, number: signal.Signals
) -> None:
    """While the agent runs; after a kill -9 its folder may be left, its process not."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    text = "\n".join(f"text {n}" for n in range(3_000_000))
    (tmp_path / "big.log").write_text(text)
    arguments = ("explain", "--file", str(tmp_path / "big.log"), "-n", "10000")
    process = subprocess.Popen(
        logstack_argv(*arguments), env={**own_stack.environ, "TMPDIR": str(scratch)}
    )

    def agents_of() -> list[psutil.Process]:
        children = psutil.Process(process.pid).children()
        return [child for child in children if "otelcol" in " ".join(child.cmdline())]

    agents = poll(agents_of, "the agent")
    os.kill(process.pid, number)
    process.wait(20)
    poll(lambda: not any(is_alive(agent) for agent in agents), "no agent")
    if number != signal.SIGKILL:
        assert list(scratch.iterdir()) == []


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_it_leaves_nothing_behind(own_stack: StackUnderTest) -> None:
    before = set(Path(tempfile.gettempdir()).glob("logstack-explain-*"))
    explained(own_stack, "--json", "a line")
    assert set(Path(tempfile.gettempdir()).glob("logstack-explain-*")) <= before
