"""JSON in text stays JSON, whatever is masked in it."""

from __future__ import annotations

import json
import re

import pytest
from logstack_django.redaction import MASK, Redactor


@pytest.mark.parametrize(
    "given",
    [
        {"pin": 1234, "a": 1},
        [{"pin": 1234}, {"cvv": -12.5e3}, 4],
        {"a": 4111111111111111, "b": [4111111111111111, 1]},
        {"a": -4111111111111111, "b": 4111111111111111.5},
        {"token": [1, 2], "a": {"secret": {"b": {"c": 1}}, "d": 2}},
        {"body": json.dumps({"pin": 1234, "card": 4111111111111111})},
        {"body": json.dumps({"body": json.dumps({"cvv": 123})})},
    ],
    ids=str,
)
@pytest.mark.parametrize("separators", [(", ", ": "), (",", ":")])
def test_json_text_stays_json_where_a_number_is_masked(
    given: object, separators: tuple[str, str]
) -> None:
    """Also where JSON is text in JSON; and what is beside the secret stays."""
    redactor = Redactor()
    text = json.dumps(given, separators=separators)
    masked = redactor.text(text)
    found = json.loads(masked)
    while isinstance(found, dict) and "body" in found:
        found = json.loads(found["body"])
    assert MASK in json.dumps(found)
    assert not re.search(r"1234|12\.5|4111|123|\[1, 2\]", masked)
    assert redactor.text(masked) == masked
    if isinstance(given, list):
        assert found == [{"pin": MASK}, {"cvv": MASK}, 4]
