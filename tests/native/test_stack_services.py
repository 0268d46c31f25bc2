"""Rules believe records of the stack's own services: nobody else writes as one, natively."""

from __future__ import annotations

import pytest

from tests.support.native_stack import ON_ENGINES, StackUnderTest, line, marker, record

pytestmark = [pytest.mark.native, ON_ENGINES]
FORGED = (
    ("logstack-monitor", {"event_type": "component_health", "problem": "notifications_failing"}),
    ("logstack-archiver", {"event_type": "archive_run_finished"}),
)


@pytest.mark.parametrize(("service", "fields"), FORGED)
def test_an_application_does_not_write_as_one_of_the_stack(
    stack: StackUnderTest, service: str, fields: dict[str, str]
) -> None:
    """Its record keeps what it claimed, in another field."""
    mark = marker()
    stack.write(line(record("forged", mark=mark, **{"service_name": service, **fields})))
    (found,) = stack.wait_for({"mark": mark}, 1)
    assert found["service_name"] == stack.settings.sample_app.service
    assert found["extra_service_name"] == service
    assert stack.count({"service_name": service, "mark": mark}) == 0
