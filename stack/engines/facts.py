"""Names and values that engines define: stream fields, tenants, markers, plugins."""

from __future__ import annotations

# The fields that make a stream in VictoriaLogs; `level` is a field there, a label in Loki.
VL_STREAM_FIELDS = ("service_name", "environment", "host")
# OTLP adds these to every record; `level` says the same and the scope is always the collector's.
VL_IGNORED_FIELDS = ("severity_number", "severity_text", "scope.name", "scope.version")
# The tenants of Loki: what comes from the agents, and what comes back from the archive.
LOKI_TENANT = "main"
LOKI_RESTORED_TENANT = "restored"
# What VictoriaLogs stores where a record has no message; it cannot store an empty one.
VL_EMPTY_MESSAGE = "(empty message)"
# Grafana's plugin for VictoriaLogs; for Loki it has one itself.
VL_DATA_SOURCE = "victoriametrics-logs-datasource"
