"""Every LogQL query parses with Grafana's grammar, if Node and npm are installed."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboards import generate
from stack import artifacts, settings
from stack.queries.language import Scope, over
from tests.support.every_query import every_query
from tests.support.require import unavailable

HERE = Path(__file__).parent / "logql"
Problems = Callable[[list[str]], list[list[str]]]


@pytest.fixture(scope="module")
def problems() -> Problems:
    """A function from queries to the problems of each. npm installs the grammar once."""
    if not shutil.which("node") or not shutil.which("npm"):
        unavailable("logql", "node and npm are not on PATH")
    files = [HERE / name for name in ("package.json", "package-lock.json", "check.mjs")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:12]
    folder = artifacts.cache_dir(settings.load({})).parent / "logql-syntax" / digest
    folder.mkdir(parents=True, exist_ok=True)
    for path in files:
        shutil.copy(path, folder)
    if not (folder / "node_modules" / ".package-lock.json").exists():
        argv = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            unavailable("logql", f"npm cannot install the grammar: {done.stderr.strip()[-300:]}")

    def check(queries: list[str]) -> list[list[str]]:
        done = subprocess.run(
            ["node", "check.mjs"],
            cwd=folder,
            input=json.dumps(queries),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        answer: list[list[str]] = json.loads(done.stdout)
        return answer

    return check


def test_the_grammar_reports_invalid_queries(problems: Problems) -> None:
    """A missing bracket, a matcher without a value; no problem in a valid query."""
    found = problems(['{a="b"}', 'sum(rate({a="b"}[5m])', "{a=}"])
    assert [bool(item) for item in found] == [False, True, True]


def test_every_query_of_the_catalogue_is_logql(problems: Problems) -> None:
    """With plain values."""
    queries = every_query(Scope("prod", ("erp", "billing"), "7"), over("5m"))
    found = problems([query.logql for query in queries])
    assert len(found) > 25
    assert not [item for item in found if item]


def test_every_query_of_a_dashboard_is_logql(problems: Problems) -> None:
    """With values in place of Grafana's variables."""
    queries = []
    for name, text in generate.render().items():
        if name.startswith("loki/"):
            dashboard = json.loads(text)
            queries += [t["expr"] for p in dashboard["panels"] for t in p.get("targets", [])]
            queries += [item["expr"] for item in dashboard["annotations"]["list"]]
    filled = [re.sub(r"\$\w+", "x", re.sub(r"\$__\w+", "5m", query)) for query in queries]
    assert len(filled) > 50
    assert not [item for item in problems(filled) if item]
