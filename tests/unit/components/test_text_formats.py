"""The patterns for lines of text; the real agent runs them in tests/native/test_agent_text.py."""

from __future__ import annotations

import re

import pytest
from logstack_django.redaction import MASK, Redactor
from logstack_django.secret_rules import Rule
from logstack_django.secret_tokens import TOKENS

from stack import settings
from stack.components import text_formats
from stack.components.secret_patterns import NOT_IN_GO, SECRETS, tokens
from stack.records import contract

HELPERS = {"time", "zone", "named", "priority", "seconds", "microseconds"}
SHAPES = {
    shape.name: shape
    for name in ("auto", "nginx", "apache", "gunicorn", "text")
    for shape in text_formats.used(text_formats.shapes_for(name))
}


def masked(text: str) -> str:
    """As the agent masks a line, with the patterns of Go, which Python has too."""
    for secret in SECRETS:
        hinted = any(hint in text.lower() for hint in secret.hints)
        if hinted and secret.needs in text:
            kept = re.sub(r"\$(\d+)", r"\\g<\1>", secret.replacement)
            text = re.sub(secret.pattern, kept, text)
    return text


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_what_is_read_from_a_line_is_a_field_of_the_contract(shape: text_formats.Shape) -> None:
    """Or one of those that become such a field."""
    assert shape.groups <= set(contract.fields()) | HELPERS
    re.compile(shape.pattern)


def test_what_is_read_from_text_is_beside_the_line_in_loki() -> None:
    """The line is not JSON, so nothing else has it."""
    read = set().union(*(shape.groups for shape in SHAPES.values())) - HELPERS
    read |= {"exception_message", "duration_ms"}
    elsewhere = {*contract.names("label"), *contract.names("metadata")}
    assert read - elsewhere == set(contract.TEXT_FIELDS)


@pytest.mark.parametrize("name", ["nginx", "apache", "gunicorn"])
def test_a_named_access_log_is_tried_first(name: str) -> None:
    """Before the shapes that would take a part of its lines."""
    for fitting in text_formats.shapes_for(name).values():
        shapes = [shape.name for shape in fitting]
        assert name not in shapes or shapes[0] == name
    assert name in {shape.name for shape in text_formats.shapes_for(name)["digit"]}


@pytest.mark.parametrize(
    "key",
    [
        *("password", "DB_PASSWORD", "passwd", "secret", "client_secret", "token", "accessToken"),
        *("api_key", "apiKey", "X-Api-Key", "access_key", "private-key", "sessionid", "db.pwd"),
        *("cvv", "otp", "jwt", "dsn", "sig", "signature", "http_auth", "credentials"),
        *("card_number", "security_code", "connection_string", "database_url", "secret_id"),
    ],
)
@pytest.mark.parametrize("form", ["{}=abc", "a {}: abc", "x?{}=abc&b=1", '{{"{}": "abc"}}'])
def test_a_secret_is_masked_as_the_library_masks_it(key: str, form: str) -> None:
    """The names are the same, and so is the text in place of the value."""
    text = form.format(key)
    assert masked(text) == Redactor().text(text)
    assert MASK in masked(text)


@pytest.mark.parametrize(
    "text",
    [
        *("monkey=1", "spin: 3", "tokens: 5", "token_count=5", "keyword=x", "author: y"),
        *("status code: 200", "http://db:80/a@b", "user=anna", "https://shop.example/x?page=2"),
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    """Names that only begin or end like those of secrets, and addresses without a password."""
    assert masked(text) == text


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"LOGSTACK_AGENT__TIMEZONE": "Berlin"}, "Europe/Berlin or UTC"),
        ({"LOGSTACK_AGENT__TIMEZONE": "../etc/passwd"}, "Europe/Berlin or UTC"),
        (
            {"LOGSTACK_AGENT__FILES": '[{service = "a", path = "/a", format = "iis"}]'},
            "agent.files.0.format: expected one of",
        ),
    ],
)
def test_a_setting_that_cannot_work_is_refused(variables: dict[str, str], message: str) -> None:
    """With what it expects."""
    with pytest.raises(settings.SettingsError, match=re.escape(message)):
        settings.load(variables)


@pytest.mark.parametrize("name", ["UTC", "Europe/Berlin", "Asia/Kolkata"])
def test_a_time_zone_is_a_name_of_the_database(name: str) -> None:
    """UTC needs none."""
    assert settings.load({"LOGSTACK_AGENT__TIMEZONE": name}).agent.timezone == name


@pytest.mark.parametrize("row", TOKENS, ids=lambda row: row.name)
@pytest.mark.parametrize("around", ["{}", "see {} ok", "a={} b={}"])
def test_a_token_of_the_librarys_table_is_masked_by_the_agent(row: Rule, around: str) -> None:
    """So a new token is one edit; what only looks like one stays."""
    for text, shown in row.examples:
        assert masked(around.format(text, text)) == around.format(shown, shown)
    for text in row.kept:
        assert masked(text) == text


def test_rows_that_go_cannot_express_are_named() -> None:
    """Their tokens have another pattern; RE2 neither looks around nor refers back."""
    assert {row.name for row in TOKENS} >= set(NOT_IN_GO)
    assert not re.search(r"\(\?[=!<]|\\[1-9]|[+*?}]\+", tokens().pattern)
