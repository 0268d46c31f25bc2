"""VictoriaLogs: the log engine, and a second one for records that `archive restore` restores."""

from __future__ import annotations

from stack.components.component import IMAGE_USER, Artifact, Component, Container
from stack.components.host_names import VICTORIA_METRICS
from stack.components.victorialogs_patches import PATCHES
from stack.engines.facts import VL_EMPTY_MESSAGE, VL_MOST_FIELDS
from stack.engines.kinds import kind_of
from stack.settings import Settings, SettingsError
from stack.settings.targets import Target
from stack.settings.units import (
    go_duration,
    parse_bytes,
    parse_duration,
    to_hours,
)

RESTORED_RETENTION = "100y"


def arguments(target: Target) -> list[str]:
    """Raises SettingsError for retention.shorter without an archiver."""
    shorter = target.settings.retention.shorter
    lateness = to_hours(target.settings.archive.lateness)
    if shorter and not target.has_archive:
        raise SettingsError(
            "retention.shorter: expected Loki, or an archiver (in the native runtime) that deletes "
            "archived records, got VictoriaLogs alone, which keeps all records equally long. "
            "Set stack.engine = loki, or remove the setting"
        )
    return [
        *common_arguments(target, "victorialogs"),
        f"-retentionPeriod={target.settings.retention.engine_days(archived=target.has_archive)}d",
        # An archive would not notice older records; without one `import` brings any that are kept.
        *([f"-maxBackfillAge={lateness}h"] if target.has_archive else []),
        f"-futureRetention={kind_of(target.settings).ahead.days}d",
        *(["-delete.enable"] if shorter or target.settings.retention.allow_delete else []),
    ]


def restored_arguments(target: Target) -> list[str]:
    return [
        *common_arguments(target, "restored"),
        f"-retentionPeriod={RESTORED_RETENTION}",
        "-delete.enable",  # of copies: whoever deletes some of them harms nothing
    ]


def common_arguments(target: Target, name: str) -> list[str]:
    """Arguments of both the engine and the one for restored records."""
    settings = target.settings
    return [
        f"-storageDataPath={target.storage_dir(name)}",
        f"-httpListenAddr={target.listen(name)}",
        f"-storage.minFreeDiskSpaceBytes={parse_bytes(settings.limits.free_disk)}",
        f"-search.maxQueryDuration={go_duration(settings.limits.query)}",
        f"-defaultMsgValue={VL_EMPTY_MESSAGE}",
        "-insert.maxLineSizeBytes=2MiB",  # the limit of an entry; agents split lines below it
        # Below the limit of a block, 2000, as the engine adds fields to a record.
        f"-insert.maxFieldsPerLine={VL_MOST_FIELDS}",
        f"-inmemoryDataFlushInterval={go_duration(settings.timing.flush_interval)}",
        f"-http.maxGracefulShutdownDuration={_engine_shutdown(target)}",
        "-http.disableCORS",
        "-loggerFormat=json",
    ]


def _engine_shutdown(target: Target) -> str:
    """How long VictoriaLogs waits for open requests; the other half is for writing its memory.

    Meanwhile it accepts no records and writes every flush_interval, so that nothing is lost even
    when a request stays open until the end.
    """
    stop = parse_duration(target.settings.timing.stop_timeout)
    return f"{round(stop.total_seconds() * 1000 / 2)}ms"


def program(settings: Settings) -> Artifact:
    return Artifact(
        "victorialogs",
        settings.versions["victorialogs"],
        packages=("github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs",),
        binaries=("victoria-logs",),
        patches=(*PATCHES, VICTORIA_METRICS),
    )


COMPONENTS = (
    Component(
        "victorialogs",
        10,
        arguments,
        program,
        port="victorialogs",
        health="/health",
        metrics="/metrics",
        page="/select/vmui/",
        is_selected=lambda settings, containers: kind_of(settings).name == "victorialogs",
        container=Container(user=IMAGE_USER, is_built=True),
    ),
    Component(
        "restored",
        70,
        restored_arguments,
        shares="victorialogs",
        port="restored",
        health="/health",
        metrics="/metrics",
        page="/select/vmui/",
        on_demand=True,
        is_selected=lambda settings, containers: (
            not containers and kind_of(settings).restored_component == "restored"
        ),
    ),
)
