"""The rendered files: the values arrive in them, whatever characters the paths have."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from jinja2 import UndefinedError
from supervisor.options import ServerOptions

from stack.components.catalogue import CATALOGUE, by_name, command, selected
from stack.components.component import as_pattern
from stack.components.loki import render_loki
from stack.components.otelcol import render_otelcol
from stack.components.promtail import render_promtail
from stack.render.templates import RenderError, render_template
from stack.runtimes.files import render_native
from stack.settings import ROOT
from stack.settings.targets import Target, docker
from stack.settings.units import parse_duration
from tests.support.example import ARCHIVE_SECRETS, SECRETS, settings_with, target_in

FOLDERS = [
    "plain",
    "with two  spaces",
    "100% %(here)s %%",
    "$HOME ${env:HOME} $$",
    "it's",
    'a "quoted" one',
    "a\\b",
    "a,b=c;d#e",
    "[brackets] {braces} *?",
    "größe 😀",
]


def binaries_in(folder: Path) -> dict[str, str]:
    return {c.artifact: str(folder / "bin" / c.artifact) for c in CATALOGUE if c.artifact}


def read_by_supervisord(target: Target, text: str) -> ServerOptions:
    """What supervisord itself makes of a configuration."""
    target.run_dir.mkdir(parents=True)
    target.log_file("supervisord").parent.mkdir(parents=True)
    path = target.run_dir / "supervisord.conf"
    path.write_text(text, encoding="utf-8")
    options = ServerOptions()
    options.realize(["-c", str(path)])
    return options


def scalars(text: str, key: str) -> list[Any]:
    """The values of a key in the collector's configuration, after the expansion of `$`."""
    found = re.findall(rf"\b{key}: (\[[^\n]*?\]|\"[^\n]*?\")(?= *(?:#|\}}|$|\n))", text)
    return [json.loads(value.replace("$$", "$")) for value in found]


def test_exactly_these_files_are_rendered(tmp_path: Path) -> None:
    """One folder per component that reads a file, and supervisord's own."""
    assert list(
        render_native(target_in(tmp_path), binaries_in(tmp_path), {**SECRETS, **ARCHIVE_SECRETS})
    ) == [
        "otelcol/config.yaml",
        "seaweedfs/s3.json",
        "seaweedfs/security.toml",
        "seaweedfs/grpc.crt",
        "seaweedfs/grpc.key",
        "monitor/monitor.json",
        "supervisord.conf",
    ]


def test_the_object_store_knows_three_users_with_the_least_rights(tmp_path: Path) -> None:
    """The writer writes, the reader reads and lists, both in the archive's bucket alone."""
    target = target_in(tmp_path, archive={"bucket": "shelf"})
    text = render_native(target, binaries_in(tmp_path), {**SECRETS, **ARCHIVE_SECRETS})
    users = json.loads(text["seaweedfs/s3.json"])["identities"]
    assert {user["name"]: user["actions"] for user in users} == {
        "admin": ["Admin", "Read", "Write", "List", "Tagging"],
        "writer": ["Write:shelf/v1/*", "Write:shelf/probes/*"],
        "reader": ["Read:shelf", "List:shelf"],
    }
    assert [user["credentials"] for user in users] == [
        [{"accessKey": f"{name}-key", "secretKey": f"{name}:secret"}]
        for name in ("admin", "writer", "reader")
    ]


def test_the_object_stores_servers_ask_each_other_for_keys_of_this_store(tmp_path: Path) -> None:
    """One to write and one to read, derived from the administrator's key."""
    keys = []
    for admin in (ARCHIVE_SECRETS["LOGSTACK_ARCHIVE_ADMIN"], "another:secret"):
        secrets = {**ARCHIVE_SECRETS, "LOGSTACK_ARCHIVE_ADMIN": admin}
        files = render_native(target_in(tmp_path), binaries_in(tmp_path), {**SECRETS, **secrets})
        signing = tomllib.loads(files["seaweedfs/security.toml"])["jwt"]["signing"]
        keys += [signing["key"], signing["read"]["key"]]
    assert len(set(keys)) == 4
    assert {len(key) for key in keys} == {64}


def test_loki_and_promtail_have_files_of_their_own(tmp_path: Path) -> None:
    """The tenants' limits and the rules are apart from what needs a restart."""
    target = target_in(tmp_path, stack={"engine": "loki", "agent": "promtail"})
    assert list(render_native(target, binaries_in(tmp_path), {**SECRETS, **ARCHIVE_SECRETS})) == [
        "loki/config.yaml",
        "loki/tenants.yaml",
        "promtail/config.yaml",
        "seaweedfs/s3.json",
        "seaweedfs/security.toml",
        "seaweedfs/grpc.crt",
        "seaweedfs/grpc.key",
        "monitor/monitor.json",
        "supervisord.conf",
    ]


def test_rendering_twice_gives_the_same(tmp_path: Path) -> None:
    """Otherwise every `up` would restart something."""
    target, binaries = target_in(tmp_path), binaries_in(tmp_path)
    assert render_native(target, binaries, {**SECRETS, **ARCHIVE_SECRETS}) == render_native(
        target, binaries, {**SECRETS, **ARCHIVE_SECRETS}
    )


def test_a_value_that_is_not_given_is_an_error() -> None:
    """A typing mistake in a template does not become an empty text in a configuration."""
    with pytest.raises(UndefinedError, match="'version' is undefined"):
        render_template("otelcol/builder.yaml.j2")


@pytest.mark.parametrize("folder", FOLDERS)
def test_supervisord_reads_exactly_what_was_meant(tmp_path: Path, folder: str) -> None:
    """Command, variables and every path, as supervisord's own reader understands them."""
    base = tmp_path / folder
    target, binaries = target_in(base), binaries_in(base)
    text = render_native(target, binaries, {**SECRETS, **ARCHIVE_SECRETS})["supervisord.conf"]
    options = read_by_supervisord(target, text)
    programs = {p.name: p for g in options.process_group_configs for p in g.process_configs}
    assert sorted(programs) == sorted(component.name for component in selected(target.settings))
    for component in selected(target.settings):
        program = programs[component.name]
        secrets = {name: SECRETS[name] for name in component.variables}
        assert shlex.split(program.command) == command(component, target, binaries)
        assert program.environment == {**component.env(target), **secrets}
        assert program.directory == str(ROOT)
        assert program.stdout_logfile == str(target.log_file(component.name))
    assert options.pidfile == str(target.run_dir / "supervisord.pid")
    assert options.logfile == str(target.log_file("supervisord"))
    assert options.server_configs[0]["file"] == str(target.supervisor_socket)


def test_supervisord_restarts_without_end_and_stops_whole_groups(tmp_path: Path) -> None:
    """A crash at night is not the end, and no worker outlives its parent."""
    target = target_in(tmp_path, timing={"stop_timeout": "1m30s"})
    text = render_native(target, binaries_in(tmp_path), {**SECRETS, **ARCHIVE_SECRETS})[
        "supervisord.conf"
    ]
    options = read_by_supervisord(target, text)
    assert (options.umask, options.server_configs[0]["chmod"]) == (0o077, 0o600)
    for group in options.process_group_configs:
        (program,) = group.process_configs
        assert program.stopwaitsecs == (by_name(program.name).stop_seconds or 90)
        assert (program.stopasgroup, program.killasgroup) == (True, True)
        assert program.autorestart.__name__ == "RestartUnconditionally"
        assert program.startretries == 1_000_000


@pytest.mark.parametrize(("text", "seconds"), [("8200ms", 8), ("9500ms", 10), ("20s", 20)])
def test_the_time_to_stop_is_in_whole_seconds(tmp_path: Path, text: str, seconds: int) -> None:
    """supervisord knows no fraction."""
    target = target_in(tmp_path, timing={"stop_timeout": text})
    rendered = render_native(target, binaries_in(tmp_path), {**SECRETS, **ARCHIVE_SECRETS})[
        "supervisord.conf"
    ]
    others = [item for item in selected(target.settings) if not item.stop_seconds]
    assert rendered.count(f"\nstopwaitsecs={seconds}\n") == len(others)


def test_the_engine_is_started_first_and_stopped_last(tmp_path: Path) -> None:
    """supervisord starts by rising priority and stops by falling: the engine outlives senders."""
    target = target_in(tmp_path)
    text = render_native(target, binaries_in(tmp_path), {**SECRETS, **ARCHIVE_SECRETS})[
        "supervisord.conf"
    ]
    groups = read_by_supervisord(target, text).process_group_configs
    names = [group.name for group in sorted(groups, key=lambda group: group.priority)]
    assert names == [component.name for component in selected(target.settings)]
    assert names[:2] == ["victorialogs", "otelcol"]


@pytest.mark.parametrize("folder", ["My #1 project", "a ;b", "line\nbreak"])
def test_a_path_that_supervisord_cannot_read_is_refused(tmp_path: Path, folder: str) -> None:
    """It would be cut, and supervisord would start something else."""
    target = target_in(tmp_path / folder)
    with pytest.raises(RenderError, match="supervisor: expected a path without") as caught:
        render_native(target, binaries_in(tmp_path / folder), {**SECRETS, **ARCHIVE_SECRETS})
    assert repr(folder)[1:-1] in str(caught.value)
    assert "set paths.run, paths.data and paths.cache to other folders" in str(caught.value)


@pytest.mark.parametrize("secret", ["both ' and \"", "'quoted'", 'ends in "', "a #b", "a\nb"])
def test_a_secret_that_supervisord_cannot_read_is_refused_and_not_shown(
    tmp_path: Path, secret: str
) -> None:
    """The app would be started with another one, or with none."""
    secrets = {**SECRETS, "LOGSTACK_SAMPLE_PASSWORD": secret}
    with pytest.raises(RenderError) as caught:
        render_native(target_in(tmp_path), binaries_in(tmp_path), {**secrets, **ARCHIVE_SECRETS})
    assert str(caught.value) == (
        "LOGSTACK_SAMPLE_PASSWORD: expected a value without quotes of both kinds, quotes and "
        "spaces at its ends, ` #`, ` ;` and control characters, which supervisord cannot read"
    )


@pytest.mark.parametrize("folder", FOLDERS)
def test_paths_reach_the_collector_as_they_are(tmp_path: Path, folder: str) -> None:
    """Quotes, dollars and characters of patterns mean themselves."""
    target = target_in(tmp_path / folder)
    text = render_otelcol(target)
    log = as_pattern(target.app_log_file)
    storage = str(target.storage_dir("otelcol"))
    assert scalars(text, "directory") == [storage, storage]
    own = [as_pattern(path) for path in (target.archiver_log_file, target.monitor_log_file)]
    year = "[0-9]" * 4
    read = [[path, f"{path}.*", f"{path}-{year}*"] for path in (log, *own)]
    assert scalars(text, "include") == read
    others = [f"{path}*.{{gz,zst,xz,bz2,lz4,lzma,Z,zip,7z,swp,swo,swx}}" for path in (log, *own)]
    assert scalars(text, "exclude") == [
        [others[0]],
        [others[1], *read[0]],
        [others[2], *read[0], *read[1]],
    ]


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/srv/a b", "/srv/a b"),
        ("/srv/[1]", r"/srv/\[1\]"),
        ("/srv/{a,b}*?", r"/srv/\{a,b\}\*\?"),
    ],
)
def test_a_path_as_a_pattern_matches_only_itself(path: str, pattern: str) -> None:
    """The collector and vmalert would otherwise look for other files."""
    assert as_pattern(Path(path)) == pattern


def test_characters_that_yaml_forbids_are_escaped(tmp_path: Path) -> None:
    """DEL and the C1 controls, which JSON writes as they are."""
    text = render_otelcol(target_in(tmp_path / "a\x7fb\x9b"))
    assert r"/a\x7fb\x9b/data/otelcol" in text
    assert not re.search(r"[\x7f-\x9f]", text)


def test_another_log_file_is_another_receiver(tmp_path: Path) -> None:
    """With its own service, its pattern as it was given, and a place in the pipeline."""
    files = [{"service": "billing", "path": "/var/log/$x/*.log"}]
    text = render_otelcol(target_in(tmp_path, agent={"files": files}))
    assert re.findall(r"(?m)^  (file_log/\d+):$", text) == [f"file_log/{n}" for n in (1, 2, 3, 4)]
    assert scalars(text, "receivers") == [[f"file_log/{n}" for n in (1, 2, 3, 4)]]
    first, rest = text.split("  file_log/2:\n")
    second = rest.partition("  file_log/3:\n")[0]
    assert [patterns[:2] for patterns in scalars(second, "include")] == [
        ["/var/log/$x/*.log", "/var/log/$x/*.log.*"]
    ]
    assert '"/var/log/$$x/*.log"' in second
    assert second.count('value: "billing"') == 2
    assert "billing" not in first
    assert first.count('value: "erp-backend-api"') == 2


def test_the_values_of_the_settings_reach_the_collector(tmp_path: Path) -> None:
    """Durations in Go's spelling, sizes in bytes."""
    agent = {
        "poll_interval": "30s",
        "flush_interval": "50ms",
        "text_flush": "3s",
        "compression": "gzip",
        "fsync": True,
    }
    limits = {"line": "5000B", "queue": "5MiB"}
    stack = {"host": "web-7", "environment": "lab"}
    text = render_otelcol(target_in(tmp_path, agent=agent, limits=limits, stack=stack))
    for line in (
        "poll_interval: 30s",
        "min_size: 4000000, max_size: 8000000, flush_timeout: 50ms}",
        "force_flush_period: 3s",
        "compression: gzip",
        "fsync: true",
        "max_log_size: 5000",
        "queue_size: 5242880",
        'resource: {host: "web-7"}',
        'field: attributes.environment, value: "lab"}',
        "endpoint: 127.0.0.1:21002",
        "logs_endpoint: http://127.0.0.1:21001/insert/opentelemetry/v1/logs",
        'prometheus: {host: "127.0.0.1", port: 21003}',
        'VL-Stream-Fields: "service_name,environment,host"',
    ):
        assert re.search(rf"{re.escape(line)}$|{re.escape(line)}[\n ,}}]", text), line


def test_the_collector_is_built_without_a_batch_processor() -> None:
    """It would acknowledge records before the queue on disk has them."""
    parts = {"emptied": ("example.com/a/b",), "patched": (), "modules": ["names"]}
    manifest = render_template("otelcol/builder.yaml.j2", version="4.5.6", **parts)
    modules = re.findall(r"(?m)^  - gomod: (\S+) v(\S+)$", manifest)
    assert {version for _, version in modules} == {"4.5.6"}
    assert [name.rpartition("/")[2] for name, _ in modules] == [
        "filelogreceiver",
        "journaldreceiver",
        "otlpreceiver",
        "otlphttpexporter",
        "groupbyattrsprocessor",
        "resourceprocessor",
        "names",
        "healthcheckextension",
        "filestorage",
    ]


def test_loki_keeps_some_streams_shorter_where_no_archiver_runs(tmp_path: Path) -> None:
    """Of two rules for a stream the shorter time counts; beside an archiver it has none."""
    shorter = [
        {"service": "billing", "level": "DEBUG", "days": 3},
        {"level": "DEBUG", "days": 7},
    ]
    values: dict[str, Any] = {"stack": {"engine": "loki"}, "retention": {"shorter": shorter}}
    limits = [
        yaml.safe_load(render_loki(target)["loki/config.yaml"])["limits_config"]
        for target in (docker(settings_with(**values)), target_in(tmp_path, **values))
    ]
    assert limits[0]["retention_stream"] == [
        {"selector": '{level="DEBUG"}', "priority": 1, "period": "168h"},
        {
            "selector": '{service_name="billing", level="DEBUG"}',
            "priority": 2,
            "period": "72h",
        },
    ]
    assert "retention_stream" not in limits[1]


@pytest.mark.parametrize(
    "retention", [{}, {"hot_days": 7, "margin_days": 2}, {"hot_days": 1, "margin_days": 1}]
)
def test_rules_are_within_lokis_reach(tmp_path: Path, retention: dict[str, int]) -> None:
    """Loki refuses a query all of which lies before its look-back: the rule would never fire."""
    target = target_in(tmp_path, stack={"engine": "loki"}, retention=retention)
    limits = yaml.safe_load(render_loki(target)["loki/config.yaml"])["limits_config"]
    values = target.settings.retention
    rule_ends_before = timedelta(days=values.hot_days + values.margin_days + 1)
    assert parse_duration(limits["max_query_lookback"]) > rule_ends_before
    assert parse_duration(limits["max_query_lookback"]) >= timedelta(days=8)  # a week and a window


def test_promtail_drops_the_lines_of_other_peoples_containers() -> None:
    """What it writes where the label is missing is what it looks for."""
    target = docker(settings_with(stack={"engine": "loki", "agent": "promtail"}))
    [job] = yaml.safe_load(render_promtail(target))["scrape_configs"]
    stages = [(name, values) for stage in job["pipeline_stages"] for name, values in stage.items()]
    of_containers = [pair for pair in stages if "docker_service" in str(pair[1])][1:]
    (_, mark), (name, drop) = of_containers[:2]
    assert name == "drop"
    assert mark["template"].endswith("{{ else }}" + drop["value"] + "{{ end }}")
