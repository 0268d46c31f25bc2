"""Passes the request id and the trace on to other services."""

from __future__ import annotations

import os

from logstack_django.config import current_options
from logstack_django.contexts import bind, current_context, new_request_id
from logstack_django.sources.opentelemetry import live_trace_id


def outgoing_headers() -> dict[str, str]:
    """Headers for a call of another service: the request id (`request_id_header`), and
    `traceparent` (W3C Trace Context) with the trace of the current request.

    A request without a trace gets one, which its later records have, too.
    """
    fields = current_context()
    trace_id = live_trace_id() or fields.get("trace_id")
    if not trace_id:
        trace_id = new_request_id()
        bind(trace_id=trace_id)
    headers = {"traceparent": f"00-{trace_id}-{os.urandom(8).hex()}-01"}
    name, request_id = current_options().request_id_header, fields.get("request_id")
    if name and request_id:
        headers[name] = str(request_id)
    return headers
