"""Secrets never come out; what only looks like one does."""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple
from urllib.parse import urlparse, urlsplit

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.http.request import HttpHeaders
from logstack_django.options import Options
from logstack_django.redaction import Redactor
from logstack_django.testing import CapturedLogs

from logstack_django import context
from tests.library.support import format_both, format_one, make_record

SECRET = "Zq7s3cretXy"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"
KEY_BLOCK = f"-----BEGIN RSA PRIVATE KEY-----\n{SECRET}\n{SECRET}\n-----END RSA PRIVATE KEY-----"

SECRET_KEYS = [
    "password", "PASSWORD", "passwd", "db_password", "dbPassword", "new-password1", "api_key",
    "apiKey", "APIKey", "X-Api-Key", "apikey", "access_token", "accessToken", "token", "csrftoken",
    "Authorization", "Proxy-Authorization", "HTTP_AUTHORIZATION", "Cookie", "Set-Cookie",
    "client_secret", "SECRET_KEY", "AWS_SECRET_ACCESS_KEY", "private_key", "credentials",
    "sessionid", "session_key", "otp", "pin", "cvv", "card_number", "basic_auth", "passphrase",
    "signature", "DATABASE_URL", "user.password", "db_pass", "EMAIL_HOST_PASS", "PGPASSWORD",
    "dbpassword", "passwords", "auth_key", "X-Auth-Key", "master_key", "secret_id",
]  # fmt: skip
PLAIN_KEYS = [
    "monkey", "bucket", "tokenizer", "max_tokens", "tokens", "keyboard", "key", "keys", "author",
    "authority", "passenger", "compass", "secretary", "spinning", "pinned", "shipping",
    "primary_key",
    "token_count", "password_changed_at", "token_type", "session", "cookie_policy_length_at",
    "authenticated", "authentication", "signal", "card", "cards_played", "key_value", "public_key",
    "hotpot", "accession", "passes", "pass_count", "PGPASSWORD_length", "master",
    "secret_name",
]  # fmt: skip


@pytest.mark.parametrize("key", SECRET_KEYS)
def test_values_under_secret_keys_are_masked(key: str) -> None:
    """On the top level, nested, in dict arguments, and as text in several notations."""
    assert Redactor().is_secret_key(key)
    found = format_one(
        "%s",
        {"deep": [{key: SECRET}]},
        fields={key: SECRET, "own": {"list": [{key: [SECRET]}], key: {"a": SECRET}}},
    )
    assert SECRET not in json.dumps(found)
    for text in (
        f"{key}={SECRET}", f"{key}: {SECRET}", f'{key} = "{SECRET} {SECRET}"', f"{key}='{SECRET}'",
        json.dumps({key: SECRET, "a": 1}), json.dumps(json.dumps({key: f'{SECRET}"{SECRET}'})),
        str({key: SECRET}), f"?a=1&{key}={SECRET}&b=2", f"{key}={SECRET},{SECRET}",
        f"{key}=>{SECRET}",
        json.dumps({key: [SECRET, SECRET]}), f"f({key}={SECRET})", f"a: b, {key}: {SECRET}",
    ):  # fmt: skip
        found = format_one(f"Before {text} after", own=text)
        assert SECRET not in json.dumps(found), text
        assert found["message"].startswith("Before")


@pytest.mark.parametrize("key", PLAIN_KEYS)
def test_values_under_plain_keys_are_kept(key: str) -> None:
    """Whole words decide, not parts of words."""
    assert not Redactor().is_secret_key(key)
    found = format_one(f"{key}=value {key}: value", fields={key: "value"})
    assert found[key] == "value"
    assert found["message"] == f"{key}=value {key}: value"


@pytest.mark.parametrize(
    "text",
    [
        f"Authorization: Bearer {SECRET}",
        f"authorization: bearer {SECRET}",
        f"Authorization: Token {SECRET}",
        f"Authorization: Basic {'WnE3czNjcmV0WHk6WnE3czNjcmV0WHk='}",
        f"sent Bearer {SECRET} to the server",
        "Basic WnE3czNjcmV0WHk6WnE3czNjcmV0WHk=",
        f"Cookie: a=b; sessionid={SECRET}; c={SECRET}",
        f"curl -H 'X-Api-Key: {SECRET}' https://api",
        f"postgres://app:{SECRET}@db:5432/erp",
        f"redis://:{SECRET}@cache",
        f"https://{SECRET}@github.com/x",
        f"amqp://app:a@{SECRET}@mq",
        f"mysql://app:a/{SECRET}@db",
        f"GET /callback?access_token={SECRET}&page=2",
        f"GET /callback?key={SECRET}{SECRET}",
        f"url=https%3A%2F%2Fx%3Ftoken%3D{SECRET}",
        f"token {JWT}",
        KEY_BLOCK,
        KEY_BLOCK[:60],
        "AKIAIOSFODNN7EXAMPLE",
        "paid with 4111 1111 1111 1111 today",
        "4111-1111-1111-1111",
        "pan=5500005555555559",
        "3782 822463 10005",
        "6011000990139424",
    ],
)
@pytest.mark.parametrize("place", ["message", "argument", "extra", "context", "error", "nested"])
def test_secrets_in_text_are_masked_everywhere(text: str, place: str) -> None:
    """Whatever part of the record they are in."""
    fragments = [
        SECRET,
        "WnE3",
        "eyJzdWI",
        "AKIAIOS",
        "4111",
        "1111",
        "55000",
        "822463",
        "60110009",
    ]
    given: dict[str, Any] = {
        "message": lambda: make_record(text),
        "argument": lambda: make_record("Got %s and %r", text, {"a": text}),
        "extra": lambda: make_record(own=text, event_type=text, path=text),
        "nested": lambda: make_record(own={"list": [{"a": (text,)}]}),
        "context": lambda: make_record(),
        "error": lambda: make_record(exc_info=(ValueError, _noted(text), None)),
    }
    with context(own=text if place == "context" else None):
        found = format_both(given[place]())
    del found["timestamp"]  # whose digits may be anything
    line = json.dumps(found)
    assert "[redacted]" in line
    assert not [fragment for fragment in fragments if fragment in line]


def _noted(text: str) -> ValueError:
    error = ValueError(text)
    error.add_note(text)
    return error


@pytest.mark.parametrize(
    "text",
    [
        "Basic settings and basic authentication",
        "Bearer authentication failed",
        "The bearer token is missing",
        "https://host:8080/path/a@b",
        "https://example.com/search?q=a@b.c&page=2",
        "mail to ann@example.com",
        "id 12345678-1234-4234-8234-123456789012",
        "order 4111111111111112",
        "took 1769855401123456 ns",
        "trace 4111111111111111abcdef0123456789",
        "ratio 0.4111111111111111",
        "max_tokens=4096 tokenizer: fast",
        "has_token=True password=None",
        "The password was changed",
        "http://localhost:7000/?key=short",
        "Time: 10:30:01, level: high",
        "a=b c==d e:f http://x",
        "SELECT * FROM t WHERE monkey = 'x'",
        "eyJust a word.",
        "BEGIN TRANSACTION",
    ],
)
def test_text_that_only_looks_secret_is_kept(text: str) -> None:
    """Masking too much makes a log useless."""
    assert format_one(text, own=text)["message"] == text
    assert format_one(text, own=text)["own"] == text


@pytest.mark.parametrize(
    ("value", "masked"),
    [
        (4111111111111111, True),
        (4111111111111112, False),
        (378282246310005, True),
        (1769855401123, False),
        (1769855401123456, False),
        (7111111111111116, False),
    ],
)
def test_card_numbers_among_integers_are_masked(value: int, masked: bool) -> None:
    """Brand, length and check digit must fit; ids of the contract are ids."""
    assert (format_one(own=value)["own"] == "[redacted]") is masked
    assert format_one(object_id=value)["object_id"] == value


@pytest.mark.parametrize("place", ["extra", "context"])
def test_a_session_key_is_hashed(place: str) -> None:
    """The hash of the middleware stays; a key could be used to log in."""
    key = "abcdefghijklmnopqrstuvwxyz012345"
    with context(session_id=key if place == "context" else None):
        found = format_one(session_id=key) if place == "extra" else format_one()
    hashed = found["session_id"]
    assert len(hashed) == 32
    assert hashed != key
    assert format_one(session_id=hashed)["session_id"] == hashed


def test_a_secret_across_the_cut_is_still_masked() -> None:
    """Text is redacted before it is cut to its final length."""
    for shift in range(0, 60, 3):
        text = "x" * (8192 - 30 - shift) + f" password={SECRET} " + "y" * 5000
        line = json.dumps(format_one(text, own=text))
        assert SECRET[:5] not in line


def test_own_keys_patterns_and_exceptions_are_options() -> None:
    """Rules of the application, by the words of a key."""
    options = Options(
        service="s",
        redact_keys=("national_id", "iban"),
        keep_keys=("token",),
        redact_patterns=(r"EMP-\d{4}",),
    )
    record = make_record(
        "nationalId=123 EMP-1234", national_id="1", IBAN="2", token="kept", a="EMP-12"
    )
    found = format_both(record, options)
    assert found["national_id"] == found["IBAN"] == "[redacted]"
    assert found["token"] == "kept"
    assert found["message"] == "nationalId=[redacted] [redacted]"
    assert found["a"] == "EMP-12"


class _Login(NamedTuple):
    user: str
    token: str


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (urlsplit(f"https://ann:{SECRET}@h/p?a=1"), "https://[redacted]@h/p?a=1"),
        (urlparse(f"https://h/p?token={SECRET}"), "https://h/p?token=[redacted]"),
        (urlsplit(f"https://ann:{SECRET}@h/".encode()), "https://[redacted]@h/"),
        (_Login("ann", SECRET), {"user": "ann", "token": "[redacted]"}),
        (("token", SECRET), ["token", "[redacted]"]),
        (["Cookie", [SECRET]], ["Cookie", "[redacted]"]),
        (
            [(b"authorization", f"Token {SECRET}".encode()), (b"host", b"h")],
            [["authorization", "[redacted]"], ["host", "h"]],
        ),
        ({"X-Api-Key": SECRET, "a": "b"}.items(), [["X-Api-Key", "[redacted]"], ["a", "b"]]),
        (
            HttpHeaders({"HTTP_AUTHORIZATION": f"Token {SECRET}"}).items(),
            [["Authorization", "[redacted]"]],
        ),
        (("token", None), ["token", None]),
        (("an invalid token", "b"), ["an invalid token", "b"]),
        (("user", "ann"), ["user", "ann"]),
        (("token", "a", "b"), ["token", "a", "b"]),
    ],
)
def test_a_secret_beside_its_name_is_masked(value: Any, shown: Any) -> None:
    """In pairs, named tuples and split URLs, as a field, in a list and as an argument."""
    found = format_one("Got %s", [value], own=value, deep={"list": [value]})
    assert found["own"] == shown
    assert found["deep"] == {"list": [shown]}
    assert SECRET not in json.dumps(found)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"Key (token)=({SECRET}) already exists.", "Key (token)=([redacted]) already exists."),
        (f"Key (token, id)=(a) {SECRET}, 7) is", "Key (token, id)=([redacted]) is"),
        (f"Key (id, token)=(7, {SECRET}) is", "Key (id, token)=([redacted]) is"),
        (f"Key (lower(token))=({SECRET})", "Key (lower(token))=([redacted])"),
        (f'on "a_token_key"\nKey (token)=({SECRET}', 'on "a_token_key"\nKey (token)=([redacted]'),
        ('"a_token_key" Key (id)=(7) already', '"a_token_key" Key (id)=(7) already'),
    ],
)
def test_the_row_that_postgresql_shows_is_masked_by_its_columns(text: str, shown: str) -> None:
    """The text of an IntegrityError."""
    assert format_one(text)["message"] == shown
    error = format_one(exc_info=(ValueError, ValueError(text), None))
    assert error["exception_message"] == shown


@pytest.mark.parametrize("key", ["", "*", "_-"])
def test_a_key_without_words_changes_no_rule(key: str) -> None:
    """It stands in every key, and would mask or show them all."""
    redactor = Redactor(keys=[key], keep=[key])
    assert redactor.is_secret_key("password")
    assert not redactor.is_secret_key("plan")


def test_keys_may_have_letters_of_any_language() -> None:
    """And mean these letters only."""
    redactor = Redactor(keys=["пароль_1", "contraseña"], keep=["令牌_token"])
    assert redactor.is_secret_key("ПАРОЛЬ-1")
    assert redactor.is_secret_key("mi_contraseña")
    assert not redactor.is_secret_key("page_1")
    assert not redactor.is_secret_key("令牌-token")
    assert redactor.is_secret_key("token")


def test_redaction_can_be_switched_off() -> None:
    """For whoever masks further down the line."""
    options = Options(service="s", redaction=False)
    found = format_both(make_record("password=x %s", {"token": "y"}, password="z"), options)
    assert found["message"] == "password=x {'token': 'y'}"
    assert found["password"] == "z"


def test_rules_that_fail_hide_the_value_and_keep_the_record(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Closed for the value, open for the record."""

    def fail(self: Redactor, text: str) -> str:
        raise IndexError("no such group")

    monkeypatch.setattr(Redactor, "text", fail)
    found = format_one("password=hunter2", own="plain")
    assert found["message"] == "[redacted]"
    assert found["own"] == "plain"


def test_the_cheap_check_misses_nothing_that_the_rules_would_mask() -> None:
    """Otherwise the quick path would let it through."""
    redactor = Redactor()
    texts = [f"{key}={SECRET}" for key in SECRET_KEYS]
    texts += [JWT, KEY_BLOCK, "bEaReR abcdefg1", "bAsIc WnE3czNjcmV0WHk6eA==", "4111111111111111"]
    texts += ["AKIAIOSFODNN7EXAMPLE", "ASIAIOSFODNN7EXAMPLE", "x://u:p@h", "token%3Dabc"]
    for text in texts:
        assert redactor.text(text) != text
        assert redactor.may_hold_secret(text)


@pytest.mark.usefixtures("database")
def test_statements_are_logged_without_their_parameters(captured_logs: CapturedLogs) -> None:
    """Django's debug records of the database, as they are made."""
    logger = logging.getLogger("django.db.backends")
    before, connection.force_debug_cursor = logger.level, True
    logger.setLevel(logging.DEBUG)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 AS one")
            cursor.execute("SELECT %s", [SECRET])
            cursor.execute("CREATE TEMP TABLE secrets (a text)")
            cursor.executemany("INSERT INTO secrets VALUES (%s)", [(SECRET,), ("b",)])
        User.objects.filter(username=SECRET).exists()
        User.objects.filter(username=SECRET).update(last_name=f'{SECRET}\' FROM "{SECRET}"')
        Session.objects.filter(session_key=SECRET).delete()
    finally:
        logger.setLevel(before)
        connection.force_debug_cursor = False
    found = captured_logs.matching(logger_name="django.db.backends")
    assert [record["message"] for record in found] == [
        "SELECT 1 AS one",
        "SELECT …",
        "CREATE TEMP TABLE secrets (a text)",
        "INSERT INTO …",
        'SELECT … FROM "auth_user" …',
        'UPDATE "auth_user" …',
        "BEGIN",
        'DELETE FROM "django_session" …',
        "COMMIT",
    ]
    for record in found:
        assert record["alias"] == "default"
        assert record["duration_ms"] >= 0
        assert not {"params", "sql", "duration"} & record.keys()
        assert SECRET not in json.dumps(record)


@pytest.mark.parametrize(
    ("sql", "shown"),
    [
        (f"SELECT '{SECRET} FROM \"{SECRET}\"'", "SELECT …"),  # noqa: S608
        (f"select a from `t` where a = {SECRET}", "SELECT … FROM `t` …"),  # noqa: S608
        (f"WITH a AS (SELECT {SECRET}) SELECT 1", "WITH …"),
        (f"/* {SECRET} */ SELECT 1", "SQL …"),
    ],
)
def test_of_a_statement_with_parameters_only_its_target_is_shown(sql: str, shown: str) -> None:
    """However the database's adapter has filled them in."""
    message = "(%.3f) %s; args=%s; alias=%s"
    args = (0.1, sql, (SECRET,), "default")
    fields = {"duration": 0.1, "sql": sql, "params": (SECRET,), "alias": "default"}
    found = format_one(message, *args, name="django.db.backends", fields=fields)
    assert (found["message"], found["duration_ms"]) == (shown, 100.0)
    assert SECRET not in json.dumps(found)


def test_a_schema_change_is_shown_with_its_placeholders() -> None:
    """Its text has no parameters in it."""
    fields = {"sql": "ALTER TABLE a DEFAULT %s", "params": [SECRET]}
    name = "django.db.backends.schema"
    found = format_one("%s; (params %r)", *fields.values(), name=name, fields=fields)
    assert found["message"] == "ALTER TABLE a DEFAULT %s"
    assert SECRET not in json.dumps(found)
    assert format_one("Plain", name=name, params="kept")["message"] == "Plain"
