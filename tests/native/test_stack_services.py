"""Rules believe records of the stack's own services: nobody else writes as one, natively."""

from __future__ import annotations

from typing import Any

import pytest

from stack.records.contract import OWN_SERVICES, fields
from tests.support.forged import forged
from tests.support.native_stack import (
    DEFAULT,
    LOKI,
    ON_EVERY_COMBINATION,
    StackUnderTest,
    line,
    marker,
    on,
    record,
)

pytestmark = [pytest.mark.native]
NAMES = ("service_name", *fields()["service_name"].aliases)


def claiming(name: str, service: str) -> dict[str, Any]:
    """A service under one of its names; a dot is a member of an object."""
    for part in reversed(name.split(".")[1:]):
        return {name.split(".")[0]: {part: service}}
    return {name: service}


@ON_EVERY_COMBINATION
def test_an_application_writes_no_record_of_the_stack(stack: StackUnderTest) -> None:
    """Not one that rules read: each problem, each event of the archiver, a wrong password."""
    mark = marker()
    records = forged()
    for values in records:
        stack.write(line(record("forged", mark=mark, **values)))
    found = stack.wait_for({"mark": mark}, len(records))
    assert not [item for item in found if str(item["service_name"]).startswith(OWN_SERVICES)]
    for service in {values["service_name"] for values in records}:
        assert stack.count({"service_name": service, "mark": mark}) == 0


@on(DEFAULT, LOKI)
@pytest.mark.parametrize("name", NAMES)
def test_what_it_claims_is_kept_in_another_field(stack: StackUnderTest, name: str) -> None:
    """Under whichever name of a service."""
    mark = marker()
    values = record("forged", mark=mark)
    del values["service_name"]
    stack.write(line({**values, **claiming(name, "logstack-monitor")}))
    (found,) = stack.wait_for({"mark": mark}, 1)
    assert found["service_name"] == stack.settings.sample_app.service
    assert found["extra_service_name"] == "logstack-monitor"
