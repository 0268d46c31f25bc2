"""One program with thousands of names of services does not stop the records of others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import requests

from stack.engines.facts import LOKI_TENANT
from stack.settings import variable_name
from tests.support.native_stack import LOKI, StackUnderTest, line, marker, on, poll, record

pytestmark = [pytest.mark.native, on(LOKI)]
STREAMS, NAMES = 300, 600


@pytest.fixture
def noisy(own_stack: StackUnderTest) -> Path:
    """The log file of a program with many names, in a stack with few streams."""
    path = own_stack.folder / "noisy.log"
    files = f"[{{service = 'noisy', path = '{path}'}}]"
    own_stack.variables[variable_name("agent", "files")] = files
    own_stack.variables[variable_name("limits", "streams")] = str(STREAMS)
    own_stack.up()
    return path


def names(stack: StackUnderTest, label: str) -> set[str]:
    """The values of a label in Loki."""
    url = stack.target.url("loki", f"/loki/api/v1/label/{label}/values")
    answer = requests.get(url, headers={"X-Scope-OrgID": LOKI_TENANT}, timeout=10).json()
    return set(answer["data"])


def write(path: Path, records: list[dict[str, Any]]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(f"{line(item)}\n" for item in records)


def test_records_of_a_program_with_many_names_are_stored_and_others_go_on(
    own_stack: StackUnderTest, noisy: Path
) -> None:
    """Names beyond the bound are `other` in the labels; the line keeps its own."""
    mark, bystander = marker(), marker()
    write(noisy, [record(mark=mark, service_name=f"{mark}-{n}") for n in range(NAMES)])
    stored = own_stack.wait_for({"mark": mark}, NAMES)
    own_stack.write(*(line(record(mark=bystander, number=n)) for n in range(2000)))
    own_stack.wait_for({"mark": bystander}, 2000)
    found = names(own_stack, "service_name")
    assert "other" in found
    assert len(found) < STREAMS / 6
    said = own_stack.target.log_file("otelcol").read_text(encoding="utf-8")
    assert said.count("too many names of services") == 1
    read = {str(item["service_name"]) for item in stored}
    assert "other" in read
    assert read <= found


def test_names_of_environments_are_bounded_too(own_stack: StackUnderTest, noisy: Path) -> None:
    """They are labels as well."""
    mark = marker()
    write(noisy, [record(mark=mark, environment=f"env-{n}") for n in range(NAMES)])
    own_stack.wait_for({"mark": mark}, NAMES)
    poll(lambda: "other" in names(own_stack, "environment"), "the label `other`")
    assert len(names(own_stack, "environment")) < STREAMS / 6
