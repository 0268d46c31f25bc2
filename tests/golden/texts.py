"""Every text that the stack renders: configuration, command lines, units, `--help`, settings.

Pure but for `secrets init`, whose random values are replaced by their names. `make golden` and
tests/golden/test_golden.py call it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import typer
from typer.testing import CliRunner

from stack import settings
from stack.alerting.files import alert_files
from stack.artifacts import bundles
from stack.cli.main import build_app
from stack.components import catalogue as components
from stack.hosts import secrets
from stack.hosts.plan import HostPlan, plan_for
from stack.runtimes.docker import images
from stack.runtimes.docker import runtime as docker
from stack.runtimes.docker.compose import compose_document
from stack.runtimes.files import render_components, render_native
from stack.settings import ROOT, Layer, Settings, targets
from stack.settings.secrets import ARCHIVE_SECRETS, SAMPLE_APP_SECRETS

# What `sums` printed when somebody last looked at the differences; `make golden` shows them.
SUMS = Path(__file__).with_name("sums.txt")
COMBINATIONS = (("victorialogs", "otelcol"), ("loki", "otelcol"), ("loki", "promtail"))
HOST = {"stack": {"host": "golden-host", "grafana": "on"}}
BUCKET = {"loki_storage": {"bucket": "shelf"}, "stack": {"engine": "loki"}}
READERS = {"gateway": {"readers": ["alice"]}}
# By name: the shipped environments, and production with the other engine and agent.
FLEETS: Mapping[str, tuple[str, Mapping[str, Mapping[str, Any]]]] = {
    "staging": ("staging", READERS),
    "prod": ("prod", READERS),
    "prod-loki": ("prod", {**READERS, **BUCKET}),
    "prod-promtail": (
        "prod",
        {**READERS, **BUCKET, "stack": {"engine": "loki", "agent": "promtail"}},
    ),
}
# Keys that are made from a secret.
DERIVED = re.compile(r'key = "[0-9a-f]{64}"')
PEM = re.compile(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", re.DOTALL)
BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
# What a change of a source file changes, and nothing else about what is rendered.
ARCHIVER_VERSION = re.compile(r"0\.1\.0-[0-9a-f]{12}")


def texts() -> dict[str, str]:
    """Each text by its path below the golden folder."""
    found: dict[str, str] = {}
    for engine, agent in COMBINATIONS:
        values = _settings({"stack": {**HOST["stack"], "engine": engine, "agent": agent}})
        found |= _below(f"native/{engine}-{agent}", _native(values))
        found |= _below(f"docker/{engine}-{agent}", _docker(values))
    for fleet, (environment, sections) in FLEETS.items():
        found |= _below(f"hosts/{fleet}", _hosts(environment, sections))
    found |= _below("help", dict(_help()))
    found["settings.json"] = _json(_settings({}).model_dump(mode="json"))
    found["bundles.json"] = _json(
        {
            "archiver": [str(path.relative_to(ROOT)) for path in bundles._sources()],
            "sample_app": images.APP_FOLDERS,
        }
    )
    return {
        path: _without_checkout(text)
        for path, text in found.items()
        if "/grafana/dashboards/" not in path  # copies of dashboards/generated/
    }


def _without_checkout(text: str) -> str:
    """The same text from every checkout, also from one whose path has to be quoted."""
    text = text.replace(ROOT.as_uri(), "file://<checkout>").replace(str(ROOT), "<checkout>")
    return re.sub(r"'([\w=.-]*<checkout>[\w/.-]*)'", r"\1", text)


def sums() -> str:
    """A line per text, as `sha256sum` prints it, in the order of the paths."""
    lines = (f"{hashlib.sha256(t.encode()).hexdigest()}  {p}" for p, t in sorted(texts().items()))
    return "\n".join(lines) + "\n"


def _below(folder: str, files: Mapping[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


def _settings(sections: Mapping[str, Mapping[str, Any]]) -> Settings:
    base = settings.read_layers({})[0]  # without what this checkout sets locally
    return settings.validate([base, Layer("golden", sections)])


def _native(values: Settings) -> dict[str, str]:
    target = replace(targets.native(values), disk_full=targets.DISK_FULL)
    names = {c.artifact or c.name for c in components.selected(values)}
    binaries = {name: f"/programs/{name}" for name in names}
    known = {name: f"<{name}>" for name in (*SAMPLE_APP_SECRETS, "GF_SECURITY_ADMIN_PASSWORD")}
    with mock.patch("sys.executable", "/programs/python3"):
        files = render_native(target, binaries, {**known, **_archive_keys()})
    return files | alert_files(target)


def _archive_keys() -> dict[str, str]:
    return {name: f"<{name} id>:<{name}>" for name in ARCHIVE_SECRETS}


def _docker(values: Settings) -> dict[str, str]:
    runtime = docker.DockerRuntime(values)
    target = targets.docker(values)
    files = {**render_components(target, {}), **alert_files(target)}
    document = compose_document(
        runtime.components,
        target,
        images={c.name: runtime.image(c.name) for c in runtime.components},
        digests=dict.fromkeys((c.name for c in runtime.components), "<digest>"),
        configured={name.partition("/")[0] for name in files},
        run_dir=Path("/run-folder"),
        probe=Path("/programs/probe"),
        container_logs=Path("/docker/containers"),
    )
    return {**files, "compose.json": _json(document)}


def _hosts(environment: str, sections: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    shipped = settings.read_layers({"LOGSTACK_ENV": environment}, for_hosts=True)
    values = settings.validate([shipped[0], *shipped[1:-1], Layer("golden", sections)])
    with TemporaryDirectory() as folder:
        path = Path(folder) / "secrets.json"
        secrets.init(path, values, {})
        known = {**secrets.read(path, values, {}), secrets.LOKI_STORAGE: "<id>:<loki_storage>"}
    found: dict[str, str] = {}
    for name in values.hosts:
        plan = plan_for(values, known, name)
        found |= _below(name, {p: _without(known, t) for p, t in _host(plan)})
    return found


def _host(plan: HostPlan) -> Iterator[tuple[str, str]]:
    """A host's files, and the rest of its plan without their texts."""
    files = [file for c in plan.components for file in (*c.files, c.unit)] + list(plan.files)
    for file in files:
        yield file.path.lstrip("/"), file.text
    described = json.loads(json.dumps(asdict(plan), default=str))
    for described_file in _files_of(described):
        described_file["text"] = ""
    yield "plan.json", _json(described)


def _files_of(described: Any) -> Iterator[dict[str, Any]]:
    if isinstance(described, dict):
        if "text" in described:
            yield described
        for value in described.values():
            yield from _files_of(value)
    elif isinstance(described, list):
        for value in described:
            yield from _files_of(value)


def _without(known: Mapping[str, str], text: str) -> str:
    """A text with the names of secrets in place of their values."""
    for name, value in sorted(known.items(), key=lambda item: -len(item[1])):
        if value and not value.startswith("<"):
            for part in (value, *(p for p in value.split(":", 1) if len(p) > 15)):
                text = text.replace(part, f"<{name}>")
    text = re.sub(r"Basic ([A-Za-z0-9+/=]+)", _user_of, text)
    text = PEM.sub(r"<\1>", DERIVED.sub('key = "<derived>"', text))
    return ARCHIVER_VERSION.sub("0.1.0-<sources>", BCRYPT.sub("<bcrypt>", text))


def _user_of(match: re.Match[str]) -> str:
    return f"Basic <{base64.b64decode(match[1]).decode().partition(':')[0]}:password>"


def _help() -> Iterator[tuple[str, str]]:
    app = build_app()
    yield from _help_of(app, typer.main.get_command(app), ())


def _help_of(app: typer.Typer, command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    variables = {"COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1", "TERMINAL_WIDTH": "100"}
    answer = CliRunner().invoke(app, [*path, "--help"], prog_name="logstack", env=variables)
    yield f"{'-'.join(('logstack', *path))}.txt", answer.output
    for name, child in getattr(command, "commands", {}).items():
        yield from _help_of(app, child, (*path, name))


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, default=str) + "\n"
