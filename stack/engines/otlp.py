"""Records as the OpenTelemetry Collector sends them (OTLP in JSON), before an engine has them.

Each engine's `from_otlp` makes of them what it would return.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class OtlpRecord:
    """One log record. `time` and `observed` in nanoseconds since the epoch; 0: none."""

    time: int
    observed: int
    body: Any
    resource: Mapping[str, Any]
    attributes: Mapping[str, Any]

    @property
    def moment(self) -> int:
        """The time under which an engine stores it: its own, or that of its arrival."""
        return self.time or self.observed


def parse_batch(body: bytes) -> Iterator[OtlpRecord]:
    """The records of an ExportLogsServiceRequest in JSON. Raises ValueError."""
    for part in json.loads(body)["resourceLogs"]:
        resource = _attributes(part.get("resource", {}))
        for scope in part["scopeLogs"]:
            for record in scope["logRecords"]:
                yield OtlpRecord(
                    time=int(record.get("timeUnixNano", 0)),
                    observed=int(record.get("observedTimeUnixNano", 0)),
                    body=_value(record.get("body", {})),
                    resource=resource,
                    attributes=_attributes(record),
                )


def _attributes(holder: Mapping[str, Any]) -> dict[str, Any]:
    return {item["key"]: _value(item.get("value", {})) for item in holder.get("attributes", ())}


def _value(value: Mapping[str, Any]) -> Any:
    """A value of OTLP, which names its type, as Python has it."""
    for kind, content in value.items():
        if kind == "intValue":
            return int(content)
        if kind == "doubleValue":
            return float(content)
        if kind == "arrayValue":
            return [_value(item) for item in content.get("values", ())]
        if kind == "kvlistValue":
            return {item["key"]: _value(item["value"]) for item in content.get("values", ())}
        return content
    return None
