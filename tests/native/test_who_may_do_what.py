"""Every cell of the table in docs/operations.md, asked of a real gateway."""

from __future__ import annotations

import pytest

from tests.native.test_gateway import Gateway, gateway
from tests.support.permissions import REFUSED, Cell, cells, credentials

__all__ = ["gateway"]
pytestmark = pytest.mark.native


@pytest.mark.parametrize("cell", cells(), ids=str)
def test_the_table_says_who_may(gateway: Gateway, cell: Cell) -> None:
    """A component that does not run here answers 502 to those who may."""
    method, path = cell.request
    answer = gateway.ask(method, path, *credentials(cell.who, gateway.secrets))
    assert (answer.status_code not in REFUSED) == cell.may, (answer.status_code, answer.text)
