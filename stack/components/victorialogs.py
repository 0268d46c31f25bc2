"""VictoriaLogs: the log engine, and a second one for what `archive restore` brings back."""

from __future__ import annotations

from stack.components.component import IMAGE_USER, Artifact, Component, Container
from stack.engines.facts import VL_EMPTY_MESSAGE
from stack.engines.kinds import kind_of
from stack.settings import Settings, SettingsError
from stack.settings.targets import Target
from stack.settings.units import (
    go_duration,
    parse_bytes,
    parse_duration,
    whole_hours,
)

RESTORED_RETENTION = "100y"


def arguments(target: Target) -> list[str]:
    """Raises SettingsError for retention.shorter where no archiver is there to see to it."""
    shorter = target.settings.retention.shorter
    if shorter and not target.has_archive:
        raise SettingsError(
            "retention.shorter: wanted Loki, or the native runtime, whose archiver deletes what is "
            "archived; found VictoriaLogs without one, which knows one time for all records. "
            "Set stack.engine = loki, or remove the setting"
        )
    return [
        *common_arguments(target, "victorialogs"),
        f"-retentionPeriod={target.settings.retention.engine_days(archived=target.has_archive)}d",
        f"-maxBackfillAge={whole_hours(target.settings.archive.lateness)}h",
        f"-futureRetention={kind_of(target.settings).ahead.days}d",
        *(["-delete.enable"] if shorter else []),
    ]


def restored_arguments(target: Target) -> list[str]:
    return [*common_arguments(target, "restored"), f"-retentionPeriod={RESTORED_RETENTION}"]


def common_arguments(target: Target, name: str) -> list[str]:
    """What the engine and the one for restored records have in common."""
    settings = target.settings
    return [
        f"-storageDataPath={target.storage_dir(name)}",
        f"-httpListenAddr={target.listen(name)}",
        f"-storage.minFreeDiskSpaceBytes={parse_bytes(settings.limits.free_disk)}",
        f"-search.maxQueryDuration={go_duration(settings.limits.query)}",
        f"-defaultMsgValue={VL_EMPTY_MESSAGE}",
        "-insert.maxLineSizeBytes=2MiB",  # the hard limit of an entry; the agent splits below it
        "-insert.maxFieldsPerLine=2000",  # what a block may hold: a record with more is dropped
        f"-inmemoryDataFlushInterval={go_duration(settings.timing.flush_interval)}",
        f"-http.maxGracefulShutdownDuration={_engine_shutdown(target)}",
        "-http.disableCORS",
        "-loggerFormat=json",
    ]


def _engine_shutdown(target: Target) -> str:
    """How long VictoriaLogs waits for open requests: it writes what it holds in the other half.

    Meanwhile it takes no records and goes on writing every flush_interval, so that nothing is
    lost even where a request stays open and it gives up.
    """
    stop = parse_duration(target.settings.timing.stop_timeout)
    return f"{round(stop.total_seconds() * 1000 / 2)}ms"


def program(settings: Settings) -> Artifact:
    return Artifact(
        "victorialogs",
        settings.versions["victorialogs"],
        packages=("github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs",),
        binaries=("victoria-logs",),
    )


COMPONENTS = (
    Component(
        "victorialogs",
        10,
        arguments,
        program,
        port="victorialogs",
        health="/health",
        page="/select/vmui/",
        is_wanted=lambda settings, containers: kind_of(settings).name == "victorialogs",
        container=Container(user=IMAGE_USER, is_built=True),
    ),
    Component(
        "restored",
        70,
        restored_arguments,
        shares="victorialogs",
        port="restored",
        health="/health",
        page="/select/vmui/",
        on_demand=True,
        is_wanted=lambda settings, containers: (
            not containers and kind_of(settings).restored_component == "restored"
        ),
    ),
)
