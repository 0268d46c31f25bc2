"""The OpenTelemetry Collector: the agent."""

from __future__ import annotations

from datetime import timedelta

from stack.components import agent_expressions as expressions
from stack.components import host_names, secret_patterns, text_formats
from stack.components import record_expressions as records
from stack.components.component import Artifact, Component, Container, Patch, config_check
from stack.components.log_sources import (
    MOST_LINES,
    SERVICE_LABEL,
    Source,
    log_sources,
    window,
)
from stack.engines.facts import LOKI_LABEL_LENGTH, LOKI_TENANT, VL_IGNORED_FIELDS, VL_STREAM_FIELDS
from stack.engines.kinds import kind_of
from stack.records import contract
from stack.render.templates import render_template
from stack.settings import ROOT, Settings
from stack.settings.targets import Target
from stack.settings.units import (
    parse_bytes,
    parse_duration,
)

# In lines of up to so many characters, invalid bytes become U+FFFD, in longer ones `?`. With four
# bytes for each character, an entry stays below the limit of VictoriaLogs (2 MiB).
MOST_REPLACED = 480_000


# The names of services in the labels of one log file, at most.
MOST_NAMES = 100
# The agent's systemd unit on hosts.
AGENT_UNIT = "logstack-otelcol.service"
# The service of an entry of the journal: its unit without instance, number of a session, or ending.
SERVICE_OF_UNIT = (
    'let unit = string(body._SYSTEMD_UNIT ?? ""); '
    'unit == "" ? (body._TRANSPORT == "kernel" ? "kernel" : "journal") : '
    '(unit == "init.scope" ? "systemd" : '
    '(unit matches "^(session|run)-[0-9a-z]+[.]" ? split(unit, "-")[0] : '
    'trimSuffix(trimSuffix(split(unit, "@")[0], ".service"), ".scope")))'
)


# The Go module proxy does not have it, and only a test of the journald receiver imports it.
EMPTIED = ("github.com/open-telemetry/opentelemetry-collector-contrib/pkg/semconvtest",)
# At its start the queue moves what was being sent when the collector was killed. It deletes all of
# that before it stores it again: killed once more in between, the collector lost thousands of
# records. The change deletes afterwards, which at worst sends records twice (decision 3).
CLEANUP = """\
	cleanupErr := pq.client.Batch(ctx, cleanupBatch...)

	if cleanupErr != nil {
		pq.logger.Debug("Failed cleaning items left by consumers", zap.Error(cleanupErr))
	}
"""
QUEUE = Patch(
    "go.opentelemetry.io/collector/exporter/exporterhelper",
    "internal/queue/persistent_queue.go",
    before=CLEANUP,
    after=f"\tdefer func() {{\n{CLEANUP}\t}}()\n",
)


# A FIFO whose name matches a pattern would be opened without end, and with it no other file of the
# pattern be read. What is not a file is refused and named, as what cannot be read is. So is a link
# to a file of another folder: who may write to a folder could let the agent read its own secrets.
REGULAR = Patch(
    "github.com/open-telemetry/opentelemetry-collector-contrib/pkg/stanza",
    "fileconsumer/file_other.go",
    before="""\
	return os.Open(path) // #nosec - operator must read in files defined by user
""",
    after="""\
	// A FIFO without a writer would be waited for.
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // #nosec
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &os.PathError{Op: "not a regular file", Path: path, Err: fs.ErrPermission}
	} else if err == nil && !isInFolder(file, path) {
		err = &os.PathError{Op: "a link out of its folder", Path: path, Err: fs.ErrPermission}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// isInFolder tells whether the open file is in the folder of its path. Of that, only links of root
// and of this user are followed: others could plant one.
func isInFolder(file *os.File, path string) bool {
	real, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(int(file.Fd())))
	if err != nil || filepath.Dir(real) == filepath.Dir(path) {
		return err == nil || runtime.GOOS != "linux"
	}
	folder, err := filepath.Abs(filepath.Dir(path))
	if err != nil {
		return false
	}
	for above := folder; above != "/"; above = filepath.Dir(above) {
		info, err := os.Lstat(above)
		if err != nil {
			return false
		}
		owner := info.Sys().(*syscall.Stat_t).Uid
		if info.Mode()&fs.ModeSymlink != 0 && owner != 0 && int(owner) != os.Geteuid() {
			return false
		}
	}
	folder, err = filepath.EvalSymlinks(folder)
	return err == nil && filepath.Dir(real) == folder
""",
)
IMPORTS = Patch(
    REGULAR.module,
    REGULAR.file,
    before="""\
	"context"
	"os"
	"path/filepath"
	"sync"
""",
    after="""\
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
""",
)
PATCHES = (QUEUE, REGULAR, IMPORTS, *host_names.COLLECTOR)
# A processor of our own.
NAMES = ROOT / "stack" / "artifacts" / "names.go"


def arguments(target: Target) -> list[str]:
    return [
        f"--config={target.config_dir('otelcol') / 'config.yaml'}",
        # Without it, entries wait in memory after their file position is stored: a kill loses them.
        "--feature-gates=stanza.synchronousLogEmitter",
    ]


def environment(target: Target) -> dict[str, str]:
    """On hosts Go keeps its memory below the unit's limit, which several log servers would pass."""
    variables = {"GOGC": str(target.settings.agent.gc_percent)}
    limit = target.settings.services.agent_memory
    if target.on_host and not limit.endswith("%"):
        variables["GOMEMLIMIT"] = str(parse_bytes(f"{limit}iB") * 3 // 4)
    return variables


def render_otelcol(
    target: Target,
    sources: tuple[Source, ...] | None = None,
    accepted: tuple[timedelta, timedelta] | None = None,
) -> str:
    """The collector's configuration.

    `sources`: instead of those of the target; `accepted`: how far a record's time may be before and
    after now, instead of what the engine accepts.
    """
    settings = target.settings
    sources = log_sources(target) if sources is None else sources
    in_window = expressions.in_window(*(accepted or window(target)))
    return render_template(
        "otelcol/config.yaml.j2",
        settings=settings,
        target=target,
        storage=str(target.storage_dir("otelcol")),
        sources=sources,
        exporters=exporters(target),
        agent_unit=AGENT_UNIT,
        queue_bytes=parse_bytes(settings.limits.queue),
        stream_fields=VL_STREAM_FIELDS,
        ignored_fields=VL_IGNORED_FIELDS,
        levels=contract.LEVELS,
        kept=[*contract.names("metadata"), *contract.agent_fields(), "log.file.path"],
        loki_tenant=LOKI_TENANT,
        label_length=LOKI_LABEL_LENGTH,
        service_label=SERVICE_LABEL,
        service_of_unit=SERVICE_OF_UNIT,
        own_services=contract.OWN_SERVICES,
        aside=contract.ASIDE,
        most_lines=MOST_LINES,
        most_replaced=MOST_REPLACED,
        is_plain=expressions.is_plain(),
        has_no_reserved_name=expressions.has_no_reserved_name(),
        trimmed=expressions.trimmed(),
        one_object=expressions.one_object(),
        is_one_object=expressions.is_one_object(),
        members=records.members(),
        has_members=records.has_members(),
        as_record=records.as_record(),
        quoted_digits=records.quoted_digits(),
        line_of_record=records.line_of_record(in_window),
        changed=records.CHANGED,
        end=records.END,
        times=records.TIMES,
        formats=text_formats,
        # The last line of a trace itself waits for another one.
        trace_flush=f"{2 * parse_duration(settings.agent.text_flush).total_seconds():g}s",
        mask=secret_patterns.MASK,
        secrets=secret_patterns.SECRETS,
        in_window=in_window,
        is_complete=expressions.is_complete(in_window),
        names=bounds_of_names(target),
    )


def bounds_of_names(target: Target) -> dict[str, int]:
    """How many names of services the labels of one log file may have, and those of all files.

    Each name has up to six streams, one per level and one without; half of limits.streams is kept
    for other clients, and the agents of all hosts share the rest.
    """
    total = target.settings.limits.streams // 2 // 6 // max(1, len(target.settings.hosts))
    return {"most": max(1, min(MOST_NAMES, total // 2)), "total": max(2, total)}


def exporters(target: Target) -> list[dict[str, str]]:
    """Where the collector sends records: the local engine, or the gateways of the log servers.

    Each has a pipeline of its own, with its own receivers, so that one that takes no records, and
    whose queue is full, stops nothing but its own reading.
    """
    if not target.destinations:
        engine = kind_of(target.settings)
        url = target.peer(engine.name, engine.ingestion["otelcol"])
        local = {"name": "otlp_http", "pipeline": "logs", "destination": "", "url": url}
        return [{**local, "authorization_file": "", "ca_file": ""}]
    return [
        {
            "name": f"otlp_http/{destination.name}",
            "pipeline": f"logs/{destination.name}",
            "destination": destination.name,
            "url": destination.url,
            "authorization_file": destination.authorization_file,
            "ca_file": destination.ca_file,
        }
        for destination in target.destinations
    ]


def program(settings: Settings) -> Artifact:
    version = settings.versions["otelcol"]
    modules = {"names": NAMES.read_text(encoding="utf-8")}
    return Artifact(
        "otelcol",
        version,
        manifest=render_template(
            "otelcol/builder.yaml.j2",
            version=version,
            emptied=EMPTIED,
            patched=[patch.module for patch in PATCHES],
            modules=list(modules),
        ),
        modules=tuple(modules.items()),
        binaries=("otelcol-logstack",),
        emptied=EMPTIED,
        patches=PATCHES,
        added=host_names.COLLECTOR_FILES,
    )


COMPONENTS = (
    Component(
        "otelcol",
        30,
        arguments,
        program,
        port="otelcol_health",
        health="/",
        metrics="/metrics",
        metrics_port="otelcol_metrics",
        other_ports=("otelcol_metrics",),
        env=environment,
        files=lambda target, secrets: {"otelcol/config.yaml": render_otelcol(target)},
        is_agent=True,
        is_selected=lambda settings, containers: settings.stack.agent == "otelcol",
        check=config_check(
            "otelcol",
            "config.yaml",
            '{rewritten} | "$0" validate --config=/dev/stdin',
        ),
        # Root owns Docker's log files; the process has no capabilities.
        container=Container(user="0:0", is_built=True, reads_logs=True),
    ),
)
