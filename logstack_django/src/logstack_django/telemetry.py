"""Trace ids from a live OpenTelemetry span, if the application uses OpenTelemetry at all."""

from __future__ import annotations

import sys

from logstack_django.contexts import Context

_MODULE = "opentelemetry.trace"


def live_trace_id() -> str | None:
    """Trace id of the current span: 32 hexadecimal digits; None without a valid span."""
    # Not imported here: an application that uses it has imported it already.
    module = sys.modules.get(_MODULE)
    if module is None:
        return None
    try:
        found = module.get_current_span().get_span_context()
        return f"{found.trace_id:032x}" if found.is_valid else None
    except Exception:
        return None


def differs_from(current: Context | None) -> bool:
    """Whether a live span names another trace than the context does."""
    if _MODULE not in sys.modules:
        return False
    live = live_trace_id()
    return live is not None and (current is None or current.fields().get("trace_id") != live)
