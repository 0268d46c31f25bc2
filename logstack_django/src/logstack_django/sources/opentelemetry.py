"""OpenTelemetry: the trace of the current span, if the application uses OpenTelemetry at all."""

from __future__ import annotations

import sys
from typing import Any

from logstack_django.sources.source import Source

_MODULE = "opentelemetry.trace"
# The last span's context, an immutable object, and its trace: most records follow one of the same.
_last: tuple[Any, str | None] = (None, None)


def live_trace_id() -> str | None:
    """Trace id of the current span: 32 hexadecimal digits; None without a valid span."""
    global _last
    # Not imported here: an application that uses it has imported it already.
    module = sys.modules.get(_MODULE)
    if module is None:
        return None
    try:
        span = module.get_current_span()
        if span is module.INVALID_SPAN:
            return None
        found = span.get_span_context()
        known, trace_id = _last
        if found is not known:
            trace_id = f"{found.trace_id:032x}" if found.is_valid else None
            _last = (found, trace_id)
        return trace_id
    except Exception:
        return None


SOURCE = Source(
    # "0" without a span, and with one the trace_id again.
    hidden=frozenset({"otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName"}),
)
