"""Trace ids: a live OpenTelemetry span wins over the request's header; neither is no trace."""

from __future__ import annotations

from logstack_django.sources.opentelemetry import live_trace_id
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from logstack_django import context
from tests.library.support import format_one, run_python

HEADER = "4bf92f3577b34da6a3ce929d0e0e4736"
tracer = TracerProvider().get_tracer("tests")


def test_a_live_span_wins_over_the_context() -> None:
    """And the context's is back afterwards."""
    with context(trace_id=HEADER):
        with tracer.start_as_current_span("work") as span:
            expected = f"{span.get_span_context().trace_id:032x}"
            assert format_one()["trace_id"] == expected
            assert len(expected) == 32
        assert format_one()["trace_id"] == HEADER


def test_an_invalid_span_is_no_trace() -> None:
    """Neither 0 nor all zeros is ever written."""
    with trace.use_span(trace.INVALID_SPAN):
        assert live_trace_id() is None
        assert "trace_id" not in format_one()
        with context(trace_id=HEADER):
            assert format_one()["trace_id"] == HEADER


def test_a_library_without_opentelemetry_does_not_import_it() -> None:
    """It costs nothing then."""
    done = run_python(
        "import sys, logging.config, logstack_django\n"
        "logging.config.dictConfig(logstack_django.logging_config('s'))\n"
        "logging.getLogger('a').info('x')\n"
        "assert not any(name.startswith('opentelemetry') for name in sys.modules)\n"
    )
    assert done.returncode == 0, done.stderr.decode()
