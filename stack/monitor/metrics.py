"""The programs' own metrics: which of them are read, and under which names they are logged."""

from __future__ import annotations

import re
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass

TIMEOUT = 3  # seconds
_SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? ([^\s]+)(?: \d+)?$")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# Without the proxy of the environment: every address is on this machine, or of this stack.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Metric:
    """A metric of a program and its name here; `by` are the labels that tell its series apart.

    Values of other labels are summed up. `counts`: it only grows while the program runs.
    """

    name: str
    field: str
    by: str = ""
    counts: bool = True


def _gauge(name: str, field: str, by: str = "") -> Metric:
    return Metric(name, field, by, counts=False)


_GO = (
    _gauge("process_resident_memory_bytes", "memory_bytes"),
    _gauge("process_open_fds", "open_files"),
    _gauge("process_start_time_seconds", "started_s"),
)
_VICTORIA = (
    *_GO,
    Metric("vl_rows_ingested_total", "rows_taken"),
    Metric("vl_rows_dropped_total", "rows_dropped", "reason"),
    Metric("vl_too_long_lines_skipped_total", "lines_skipped"),
    Metric("vl_slow_queries_total", "slow_queries"),
    _gauge("vl_storage_rows", "rows_stored"),
    _gauge("vl_partitions", "days"),
    _gauge("vl_storage_is_read_only", "is_read_only"),
)
METRICS: Mapping[str, tuple[Metric, ...]] = {
    "victorialogs": _VICTORIA,
    "restored": _VICTORIA,
    "loki": (
        *_GO,
        Metric("loki_distributor_lines_received_total", "rows_taken"),
        Metric("loki_discarded_samples_total", "rows_dropped", "reason"),
        Metric("loki_ingester_wal_disk_full_failures_total", "disk_full_failures"),
        Metric("loki_ingester_chunk_entries_sum", "rows_flushed"),
        _gauge("loki_ingester_wal_recovered_entries_total", "rows_recovered"),
        _gauge("loki_ingester_memory_streams", "streams"),
    ),
    "otelcol": (
        _gauge("otelcol_process_memory_rss", "memory_bytes"),
        _gauge("otelcol_fileconsumer_open_files", "open_files"),
        _gauge("otelcol_process_uptime", "uptime_s"),
        Metric("otelcol_receiver_accepted_log_records", "accepted_records", "receiver"),
        Metric("otelcol_receiver_refused_log_records", "refused_records"),
        Metric("otelcol_receiver_failed_log_records", "failed_records"),
        Metric("otelcol_exporter_sent_log_records", "sent_records", "exporter"),
        Metric("otelcol_exporter_send_failed_log_records", "unsendable_records", "exporter"),
        Metric("otelcol_exporter_enqueue_failed_log_records", "unqueued_records", "exporter"),
        _gauge("otelcol_exporter_queue_size", "queue_bytes", "exporter"),
        _gauge("otelcol_exporter_queue_capacity", "queue_limit_bytes", "exporter"),
    ),
    "promtail": (
        *_GO,
        _gauge("promtail_files_active_total", "open_files"),
        Metric("promtail_read_lines_total", "accepted_records"),
        Metric("promtail_sent_entries_total", "sent_records", "host"),
        Metric("promtail_dropped_entries_total", "unsendable_records", "host"),
    ),
    "alertmanager": (
        *_GO,
        Metric(
            "alertmanager_notification_requests_total",
            "notifications",
            "receiver_name integration",
        ),
        Metric(
            "alertmanager_notification_requests_failed_total",
            "notifications_failed",
            "receiver_name integration",
        ),
    ),
    "vmalert": (
        *_GO,
        Metric("vmalert_execution_errors_total", "rule_errors"),
        Metric("vmalert_alerts_send_errors_total", "unsent_alerts"),
    ),
}
"""By component; each metric that it may have. One that is missing is not logged."""

Samples = dict[str, dict[str, float]]
"""Values by field and by the values of its labels, such as `page/slack`; `""` without any."""


def parse(text: str, metrics: tuple[Metric, ...]) -> Samples:
    """The samples of these metrics in Prometheus' text format."""
    known = {metric.name: metric for metric in metrics}
    found: Samples = {}
    for line in text.splitlines():
        match = _SAMPLE.match(line)
        metric = known.get(match[1]) if match else None
        if match is None or metric is None:
            continue
        labels = dict(_LABEL.findall(match[2] or ""))
        label = "/".join(filter(None, (labels.get(name) for name in metric.by.split())))
        try:
            value = float(match[3])
        except ValueError:
            continue
        series = found.setdefault(metric.field, {})
        series[label] = series.get(label, 0.0) + value
    return found


def fetch(url: str, host: str = "") -> str:
    """The answer at an address, asked for as `host`.

    Raises OSError, and ValueError for what is not an address.
    """
    headers = {"Host": host} if host else {}
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 -- that of the plan
    with OPENER.open(request, timeout=TIMEOUT) as answer:
        return bytes(answer.read()).decode("utf-8", "replace")
