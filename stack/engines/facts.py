"""Names and values that engines define: stream fields, tenants, markers, plugins."""

from __future__ import annotations

from stack.records.contract import OTLP_FIELDS

# The fields that make a stream in VictoriaLogs; `level` is a field there, a label in Loki.
VL_STREAM_FIELDS = ("service_name", "environment", "host")
# OTLP adds these to every record; `level` says the same and the scope is always the collector's.
VL_IGNORED_FIELDS = OTLP_FIELDS
# The tenants of Loki: what comes from the agents, and what comes back from the archive.
LOKI_TENANT = "main"
LOKI_RESTORED_TENANT = "restored"
# What VictoriaLogs stores where a record has no message; it cannot store an empty one.
VL_EMPTY_MESSAGE = "(empty message)"
# Grafana's plugin for VictoriaLogs; for Loki it has one itself.
VL_DATA_SOURCE = "victoriametrics-logs-datasource"
# Characters of a label's value, where agents cut it: with four bytes each half of Loki's limit.
LOKI_LABEL_LENGTH = 256
