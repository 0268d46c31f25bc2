"""The tables of secrets: every row masks its examples, keeps the rest, passes the cheap check."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from logstack_django.key_names import KEY_HINTS, KeyNames, vocabulary
from logstack_django.options import Options
from logstack_django.redaction import MASK, RULES, Redactor
from logstack_django.secret_rules import Rule
from logstack_django.secret_tokens import CARDS, PERSONAL

from tests.library.support import format_both, format_one, make_record

SECRET = "Zq7s3cretXy"
ROWS = [*RULES, CARDS, *PERSONAL.values()]
EXAMPLES = [(rule, *example) for rule in ROWS for example in rule.examples]
KEPT = [(rule, text) for rule in ROWS for text in rule.kept]


def redactor_for(rule: Rule) -> Redactor:
    return Redactor(personal=[name for name, found in PERSONAL.items() if found is rule])


@pytest.mark.parametrize(("rule", "text", "shown"), EXAMPLES, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("around", ["{}", "see {}", "größer {} ok"])
def test_a_row_masks_its_examples(rule: Rule, text: str, shown: str, around: str) -> None:
    """Whatever is beside them, and the cheap check lets none of them pass."""
    redactor = redactor_for(rule)
    given, expected = around.format(text), around.format(shown)
    # What runs to the end of the line or the text takes what is behind it, too.
    shown_part, mask, _ = expected.rpartition(MASK)
    assert redactor.text(given).startswith(shown_part + mask)
    assert around.endswith("ok") or redactor.text(given) == expected
    assert redactor.may_hold_secret(given)


@pytest.mark.parametrize(("rule", "text"), KEPT, ids=lambda value: str(value)[:40])
def test_a_row_keeps_what_only_looks_like_it(rule: Rule, text: str) -> None:
    """Alone and in a sentence."""
    redactor = redactor_for(rule)
    assert redactor.text(text) == text
    assert redactor.text(f"x {text}") == f"x {text}"


@pytest.mark.parametrize("rule", ROWS, ids=lambda rule: rule.name)
def test_a_row_is_complete(rule: Rule) -> None:
    """Something to mask, something to keep; mark and hints are in each example."""
    assert rule.examples
    assert rule.kept
    for text, _ in rule.examples:
        assert rule.mark in text
        assert any(hint in text.lower() for hint in rule.hints)


def test_tokens_of_lower_case_letters_pass_the_cheap_check_unchanged() -> None:
    """What it does not see is not masked in other text either."""
    redactor = Redactor()
    for prefix in ("ghp_", "github_pat_", "npm_", "hf_", "dapi", "hvs.", "glpat-", "sk_live_"):
        text = prefix + "a" * 36
        assert redactor.may_hold_secret(text) == (redactor.text(text) != text), prefix
        assert (redactor.text(text) != text) == (redactor.text(f"{text} = 1:2") != f"{text} = 1:2")


PIECES = [*(text for _, text, _ in EXAMPLES), *(text for _, text in KEPT), "password", "token"]
PIECES += [
    "=",
    ": ",
    "'",
    '"',
    "\\",
    "{",
    "]",
    "(",
    ",",
    " ",
    "\n",
    "user=bob",
    "Bearer ",
    "//",
    "@",
    "--",
]


def test_the_cheap_check_misses_nothing_in_any_mixture() -> None:
    """Pieces of all rows, thrown together."""
    redactor = Redactor(personal=PERSONAL)
    chance = random.Random(7)
    texts = ("".join(chance.choices(PIECES, k=chance.randint(1, 8))) for _ in range(5000))
    missed = [
        text for text in texts if not redactor.may_hold_secret(text) and redactor.text(text) != text
    ]
    assert missed == []


def test_every_secret_word_has_a_hint() -> None:
    """Text without a hint is not searched for keys."""
    from logstack_django import key_names

    words = set(key_names._SECRET_WORDS) | key_names._SECRET_LAST | set(key_names._SECRET_ENDS)
    words |= {"_".join(pair) for pair in key_names._SECRET_PAIRS}
    words |= {"_".join(key) for key in key_names._SECRET_ALONE}
    assert [word for word in words if not any(hint in word for hint in KEY_HINTS)] == []


@pytest.mark.parametrize(
    "key",
    sorted(
        vocabulary(
            "api_keys access_tokens refreshTokens auth_tokens private_keys session_keys pass pass1 "
            "push_tokens pw license_key ssh_key fernet_key hmac_key STRIPE_KEY AccountKey sid iban "
            "subscription-key X-Functions-Key X-Hub-Signature-256 recovery_codes PHPSESSID "
            "_auth_user_hash connect.sid passwort kennwort contraseña пароль apiKeys db_pw"
        )
    ),
)
def test_values_under_these_keys_are_secret(key: str) -> None:
    """Plural, compound and foreign ones."""
    assert KeyNames().is_secret(key)
    for text in (f"{key}={SECRET}", f"{key}: {SECRET}", json.dumps({key: SECRET})):
        found = format_one(text, own={key: SECRET})
        assert SECRET not in json.dumps(found), text


@pytest.mark.parametrize(
    "key",
    sorted(
        vocabulary(
            "next_page_token nextPageToken continuation_token postal_pin cookie_banner "
            "email_signature secret_santa authorization_status password_validators token_bucket "
            "token_bucket_size pin_attempts passwords_checked session_key_prefix "
            "card_number_last4 encryption_key_rotation message_sid inside user_name"
        )
    ),
)
def test_values_under_these_keys_are_no_secrets(key: str) -> None:
    """Facts about a secret, and other things."""
    assert not KeyNames().is_secret(key)
    assert format_one(f"{key}=plain", fields={key: "plain"})[key] == "plain"


# Text, and what is shown of it.
LEAKS = [
    ("Proxy-Authorization: Digest username=\"u\", response=\"{}\"", f"Proxy-Authorization: {MASK}"),
    ("password = '''{}'''", f"password = '''{MASK}'''"),
    ('password = """{}"""', f'password = """{MASK}"""'),
    ("GET //user:{}@host/", f"GET //{MASK}@host/"),
    ("to user:{}@host:5432", f"to user:{MASK}@host:5432"),
    ("amqp://u:12345/{}@h", f"amqp://{MASK}@h"),
    ("password\n  Input should be text [type=string_type, input_value='{}', input_type=int]",
     f"password\n  Input should be text [type=string_type, input_value={MASK}, input_type=int]"),
    ("password | Input should be short, input_value='{}'",
     f"password | Input should be short, input_value={MASK}"),
    ("input_value={{'PASS': '{}'}}", f"input_value={{'PASS': '{MASK}'}}"),
    ('{{"pass\\u0077ord": "{}"}}', f'{{"password": "{MASK}"}}'),
    ("body=%7B%22password%22%3A%22{}%22%7D", f'body={{"password":"{MASK}"}}'),
    ("{{&quot;password&quot;: &quot;{}&quot;}}", f'{{"password": "{MASK}"}}'),
    ("?token%253D{}", f"?token%253D{MASK}"),
    ("password -> {}", f"password -> {MASK}"),
    ("password:          {}", f"password:          {MASK}"),
    (f"{'long_' * 40}password=" + "{}", f"{'long_' * 40}password={MASK}"),
    ("AccountName=a;AccountKey={};End=b", f"AccountName=a;AccountKey={MASK};End=b"),
    ("cut: {}\nMIIB\n-----END RSA PRIVATE KEY----- end", f"cut:{MASK} end"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "shown"), LEAKS, ids=lambda value: str(value)[:30])
def test_a_secret_is_masked_in_every_notation(text: str, shown: str) -> None:
    """As a message, and as a value."""
    given = text.format(SECRET)
    assert Redactor().text(given) == shown
    assert SECRET not in json.dumps(format_one(given, own=[given]))


@pytest.mark.parametrize(
    "text",
    [
        "token: expired",
        "Password: must be at least 8 characters",
        "Authorization: denied for user bob",
        "JWT: decode error",
        "field 'password': this field may not be blank",
        "signature: invalid",
        "credentials: invalid",
        "pwd: /home/bob",
        "cookies: disabled by the browser",
        "password='' user='x'",
        'password="", token=""',
        "clone ssh://git@github.com/a.git",
        "?key=customer_number_descending",
        "sig: SIGTERM",
        "secret_santa=ann email_signature: Best regards",
        "next_page_token=abc pin_attempts=3",
        "Job done at 10:30, 93.5% of 12 steps",
        "GET https://api.example.com/v1/orders/42?page=2 200 in 31.5 ms",
        "pull image:1.2@sha256:0011",
        "from bob@example.com: hello",
        "organization_created for admin-user_1",
    ],
)
def test_text_about_secrets_is_kept(text: str) -> None:
    """Masking too much makes a log useless."""
    assert format_one(text, own=text)["own"] == text


def test_a_call_as_a_value_is_masked_as_a_whole() -> None:
    """pydantic's SecretStr in a repr."""
    shown = Redactor().text("Settings(secret_key=SecretStr('**********'), debug=True)")
    assert shown == f"Settings(secret_key={MASK}, debug=True)"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("email", "ann@shop.example"),
        ("phone", "+49 30 12345678"),
        ("iban", "GB82WEST12345698765432"),
    ],
)
def test_personal_data_is_masked_where_asked_for(name: str, text: str) -> None:
    """Not by default."""
    assert format_one(text)["message"] == text
    options = Options(service="s", redact_personal=(name,))
    found: dict[str, Any] = format_both(make_record(f"to {text}", own=[text]), options)
    assert (found["message"], found["own"]) == (f"to {MASK}", [MASK])
