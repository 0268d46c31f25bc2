"""Rules for every generated dashboard, and that its file is up to date."""

from __future__ import annotations

import ast
import itertools
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import dashboard as models

from dashboards import generate
from dashboards.grafana import OWNER_TAG, encode
from dashboards.grafana_sources import SOURCES
from dashboards.pages import PAGES
from stack.components.grafana_files import GENERATED
from stack.components.grafana_links import LINKS, uid
from stack.engines.kinds import KINDS
from stack.settings import ROOT

Json = dict[str, Any]

FILES = generate.render()
DASHBOARDS = {name: json.loads(text) for name, text in FILES.items()}
# Variables that Grafana defines itself.
BUILT_IN = {
    *("__all", "__range", "__interval", "__url_time_range"),
    *("__value", "__field", "__data", "__cell_"),
}
UNIT_FREE = {"logs", "row"}


def engine_of(name: str) -> str:
    return next(engine for engine in SOURCES if name.startswith(f"{engine}/"))


def panels(dashboard: Json, *, rows: bool = False) -> list[Json]:
    return [panel for panel in dashboard["panels"] if rows or panel["type"] != "row"]


def texts(value: object) -> Iterator[str]:
    """Every text in nested values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts(item)
    elif isinstance(value, list):
        for item in value:
            yield from texts(item)


def of_numbers(panel: Json) -> list[Json]:
    """The properties of fields that are numbers."""
    numbers = {"id": "byType", "options": "number"}
    overrides = panel["fieldConfig"]["overrides"]
    return [p for o in overrides if o["matcher"] == numbers for p in o["properties"]]


def unit_of_numbers(panel: Json) -> str:
    """The unit of all fields, or of those that are numbers."""
    default: str = panel["fieldConfig"]["defaults"].get("unit", "")
    return default or "".join(p["value"] for p in of_numbers(panel) if p["id"] == "unit")


every_dashboard = pytest.mark.parametrize("name", DASHBOARDS)


def test_generated_files_are_those_of_the_pages() -> None:
    """`make dashboards` was run after the last change, and the folder has no other file."""
    found = {
        str(path.relative_to(GENERATED)): path.read_text(encoding="utf-8")
        for path in GENERATED.rglob("*")
        if path.is_file()
    }
    different = sorted(name for name in found.keys() | FILES if found.get(name) != FILES.get(name))
    assert not different, "Run: make dashboards, and commit the changes"


def test_generating_writes_only_what_changed(tmp_path: Path) -> None:
    """A second run changes nothing; an unknown file is removed, a changed one restored."""
    assert generate.write(tmp_path) == sorted(FILES)
    assert generate.write(tmp_path) == []
    first = tmp_path / min(FILES)
    first.write_text("{}", encoding="utf-8")
    strange = tmp_path / "loki" / "strange.json"
    strange.write_text("{}", encoding="utf-8")
    assert generate.write(tmp_path) == sorted(["loki/strange.json", min(FILES)])
    assert not strange.exists()


@every_dashboard
def test_a_round_trip_through_the_sdks_models_changes_nothing(name: str) -> None:
    """Every property is known to the SDK."""
    register_default_plugins()
    assert encode(models.Dashboard.from_json(DASHBOARDS[name])) == FILES[name]


@every_dashboard
def test_the_file_works_for_import_and_provisioning(name: str) -> None:
    """Classic JSON with a fixed uid and nothing for an import to fill in."""
    dashboard = DASHBOARDS[name]
    assert dashboard["schemaVersion"] == 42
    assert dashboard["uid"] == Path(name).stem
    assert len(dashboard["uid"]) <= 40
    assert dashboard.get("id") is None
    assert not {"__inputs", "__requires", "__elements"} & set(dashboard)
    assert dashboard["editable"] is False
    assert OWNER_TAG in dashboard["tags"]
    assert FILES[name] == json.dumps(dashboard, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


@every_dashboard
def test_every_data_source_is_the_variable(name: str) -> None:
    """In panels, queries, variables and annotations alike."""
    dashboard, kind = DASHBOARDS[name], KINDS[engine_of(name)].grafana_type
    expected = {"type": kind, "uid": "${datasource}"}
    variables = {item["name"]: item for item in dashboard["templating"]["list"]}
    assert variables["datasource"]["query"] == kind
    assert [item["datasource"] for item in dashboard["annotations"]["list"]] == [expected]
    used = [item["datasource"] for item in variables.values() if item["type"] == "query"]
    for panel in panels(dashboard):
        used += [panel["datasource"], *(target["datasource"] for target in panel["targets"])]
    assert len(used) > 4
    assert all(source == expected for source in used)


@every_dashboard
def test_query_variables_follow_the_time_range(name: str) -> None:
    """Values that appear within the time range can be selected."""
    variables = DASHBOARDS[name]["templating"]["list"]
    refreshed = {item["name"]: item["refresh"] for item in variables if item["type"] == "query"}
    assert refreshed == {"environment": 2, "service": 2}


@every_dashboard
def test_every_panel_has_its_texts_and_units(name: str) -> None:
    """Title, description, queries, a unit for numbers, a legend for lines, times for records."""
    for panel in panels(DASHBOARDS[name]):
        title = panel["title"]
        assert title
        assert len(panel["description"]) > 8, title
        assert panel["targets"], title
        assert all(target["expr"] for target in panel["targets"]), title
        if panel["type"] not in UNIT_FREE:
            assert unit_of_numbers(panel), title
        if panel["type"] == "timeseries":
            assert panel["options"]["legend"]["showLegend"], title
        if panel["type"] == "logs":
            assert panel["options"]["showTime"], title


@every_dashboard
def test_ids_are_unique_and_stable(name: str) -> None:
    """The first row has 100; its panels count up from there."""
    ids = [panel["id"] for panel in panels(DASHBOARDS[name], rows=True)]
    assert len(ids) == len(set(ids))
    assert ids == sorted(ids)
    assert ids[0] == 100


@every_dashboard
def test_panels_fill_their_lines_without_overlap(name: str) -> None:
    """The panels of every line of the grid are 24 columns wide together."""
    taken: set[tuple[int, int]] = set()
    for panel in panels(DASHBOARDS[name], rows=True):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        columns = range(place["x"], place["x"] + place["w"])
        cells = set(itertools.product(columns, range(place["y"], place["y"] + place["h"])))
        assert not cells & taken, panel["title"]
        taken |= cells
    lines = {y for _, y in taken}
    assert lines == set(range(max(lines) + 1))
    assert all(len([x for x, y in taken if y == line]) == 24 for line in lines)


@every_dashboard
def test_variables_are_defined_and_used(name: str) -> None:
    """Every used one is defined, every defined one is used."""
    dashboard = DASHBOARDS[name]
    defined = {item["name"] for item in dashboard["templating"]["list"]}
    pattern = re.compile(r"\$\{?([A-Za-z_]+)")
    used = {match for text in texts(dashboard) for match in pattern.findall(text)}
    assert used - BUILT_IN <= defined
    assert defined <= used


@every_dashboard
def test_links_lead_to_dashboards_that_exist(name: str) -> None:
    """They keep the time range, data source and environment, and set a variable of the target."""
    engine = engine_of(name)
    urls = [text for text in texts(DASHBOARDS[name]) if text.startswith("/d/")]
    for url in urls:
        path, _, query = url.partition("?")
        target = DASHBOARDS[f"{engine}/{path.removeprefix('/d/')}.json"]
        kept = query.split("&")
        assert kept[:3] == [
            "${__url_time_range}",
            "${datasource:queryparam}",
            "${environment:queryparam}",
        ]
        variable = kept[3].removeprefix("var-").partition("=")[0]
        assert variable in {item["name"] for item in target["templating"]["list"]}


def test_values_with_a_page_link_to_it() -> None:
    """In every panel with the label request_id, exception_type or organization_id."""
    seen = set()
    for engine, page in itertools.product(SOURCES, PAGES):
        dashboard = DASHBOARDS[f"{engine}/{uid(page.name, engine)}.json"]
        for panel in panels(dashboard):
            by = [" ".join(re.findall(r"by \(([^)]*)\)", t["expr"])) for t in panel["targets"]]
            for link in LINKS:
                if panel["type"] != "logs" and any(link.field in names for names in by):
                    start = f"/d/{uid(link.page, engine)}?"
                    assert any(text.startswith(start) for text in texts(panel)), panel["title"]
                    seen.add(link.field)
    assert seen == {"request_id", "exception_type", "organization_id"}


@pytest.mark.parametrize("name", [name for name in DASHBOARDS if name.startswith("loki/")])
def test_logql_follows_the_time_range_and_skips_lines_that_do_not_parse(name: str) -> None:
    """[$__interval] in charts, an equality matcher in all, `__error__` where a line is parsed."""
    for panel in panels(DASHBOARDS[name]):
        for target in panel["targets"]:
            query = target["expr"]
            assert 'environment="$environment"' in query, panel["title"]
            if panel["type"] == "timeseries":
                assert set(re.findall(r"\[([^\]]*)\]", query)) == {"$__interval"}, panel["title"]
            if panel["type"] != "logs":
                for source in re.findall(r"(?:over_time|rate)\((.*?) \[", query):
                    if "| json " in source or "| unwrap " in source:
                        assert "__error__" in source, panel["title"]


@every_dashboard
def test_numbers_as_of_now_are_one_table(name: str) -> None:
    """Loki's plugin returns a table: reduced to one value, a bar gauge would show one bar only."""
    seen = set()
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] not in ("bargauge", "table"):
            continue
        seen.add(panel["type"])
        assert [target["refId"] for target in panel["targets"]] == ["A"], panel["title"]
        steps = {item["id"]: item["options"] for item in panel["transformations"]}
        assert list(steps) == ["labelsToFields", "merge", "organize", "sortBy"], panel["title"]
        by = re.search(r"by \(([^)]*)\)", panel["targets"][0]["expr"])
        labels = re.split(", ?", by[1]) if by else []
        assert steps["organize"]["indexByName"] == {x: n for n, x in enumerate(labels)}
        if panel["type"] == "bargauge":
            assert panel["options"]["reduceOptions"]["values"] is True, panel["title"]
            names = " ".join(f"${{__cell_{n}}}" for n, _ in enumerate(labels))
            assert panel["fieldConfig"]["defaults"]["displayName"] == names
            assert {"id": "displayName", "value": names} in of_numbers(panel)
    assert "bargauge" in seen or name.startswith(
        ("loki/logstack-request", "victorialogs/logstack-r")
    )


@every_dashboard
def test_units_of_tables_and_bars_are_those_of_numbers_alone(name: str) -> None:
    """A unit for all fields turns the status 200 into 200 ms: Grafana reads texts as numbers."""
    for panel in panels(DASHBOARDS[name]):
        if panel["type"] in ("bargauge", "table"):
            assert "unit" not in panel["fieldConfig"]["defaults"], panel["title"]


def test_no_query_is_written_outside_the_catalogue() -> None:
    """Pages, panels and alert rules call stack/queries/catalogue.py by name."""
    words = (
        "_over_time",
        r"\brate\(",
        r"\| (json|unwrap|stats) ",
        "_time:",
        ':="',
        r'\{[a-z_]+=[~"]',
    )
    signs = re.compile("|".join(words))
    looked_at = 0
    for path in [*(ROOT / "dashboards").rglob("*.py"), *(ROOT / "alerts").rglob("*.py")]:
        looked_at += 1
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not signs.search(node.value), f"{path}:{node.lineno}: {node.value}"
    assert looked_at > 15
