"""Names and values that engines define: stream fields, tenants, markers, plugins."""

from __future__ import annotations

from stack.records.contract import OTLP_FIELDS, SEARCHED_FIELDS

# The fields that make a stream in VictoriaLogs; `level` is a field there, a label in Loki.
VL_STREAM_FIELDS = ("service_name", "environment", "host")
# OTLP adds these to every record; `level` has the same value and the scope is always the collector.
VL_IGNORED_FIELDS = OTLP_FIELDS
# The tenants of Loki: for records of the agents, and for records restored from the archive.
LOKI_TENANT = "main"
LOKI_RESTORED_TENANT = "restored"
# What VictoriaLogs stores for an empty message, which it cannot store.
VL_EMPTY_MESSAGE = "(empty message)"
# The fields of a record; VictoriaLogs drops records with more.
VL_MOST_FIELDS = 1990
# The fields that a search for text looks at, by their names in VictoriaLogs.
VL_SEARCHED_FIELDS = ("_msg", *SEARCHED_FIELDS[1:])
# Grafana's plugin for VictoriaLogs; Grafana includes one for Loki.
VL_DATA_SOURCE = "victoriametrics-logs-datasource"
# Characters of a label's value; agents cut the rest. With four bytes each, half of Loki's limit.
LOKI_LABEL_LENGTH = 256
