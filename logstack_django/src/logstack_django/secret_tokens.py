"""Tokens, keys and numbers that are known by their form, as their issuers publish it."""

from __future__ import annotations

import re

from logstack_django.secret_rules import MASK, is_random, rule

# 13 to 19 ASCII digits, together or in the groups that cards print them in. Not inside a longer
# number, a decimal fraction, or a hexadecimal id. The first digit precedes the lookbehind,
# so that the search can skip to a digit.
CARD_CANDIDATE = re.compile(
    r"""[2-6](?<![0-9a-fA-F].)(?<![0-9]\..)
        (?: [0-9]{12,18}
          | [0-9]{3}(?P<separator>[ .\-\u00a0])[0-9]{4}
            (?P=separator)[0-9]{4}(?P=separator)[0-9]{1,7}
          | [0-9]{3}(?P<other>[ .\-\u00a0])[0-9]{6}(?P=other)[0-9]{4,5}
        )(?![0-9a-fA-F])""",
    re.ASCII | re.VERBOSE,
)

# Prefix ranges of the brands, with the lengths in use: (digits of prefix, from, to, lengths).
_BRANDS = (
    (1, 4, 4, (13, 16, 19)),
    (2, 51, 55, (16,)),
    (4, 2221, 2720, (16,)),
    (2, 34, 34, (15,)),
    (2, 37, 37, (15,)),
    (3, 300, 305, (14, 16)),
    (2, 36, 36, (14,)),
    (2, 38, 39, (14, 16)),
    (4, 3528, 3589, (16,)),
    (4, 6011, 6011, (16,)),
    (3, 644, 649, (16,)),
    (2, 65, 65, (16,)),
    (2, 62, 62, (16, 17, 18, 19)),
    (4, 5018, 5038, (16,)),
    (4, 6304, 6304, (16,)),
    (4, 6759, 6763, (16,)),
)
CARD_INT_MIN, CARD_INT_MAX = 10**12, 10**19


def is_card_number(digits: str) -> bool:
    """Whether 13 to 19 digits are a card number of a known brand with a right check digit."""
    return _has_brand(digits) and _passes_luhn(digits)


def _has_brand(digits: str) -> bool:
    length = len(digits)
    return any(
        length in lengths and low <= int(digits[:prefix]) <= high
        for prefix, low, high, lengths in _BRANDS
    )


def _passes_luhn(digits: str) -> bool:
    total = 0
    for place, character in enumerate(reversed(digits)):
        digit = int(character)
        if place % 2:
            digit = digit * 2 - 9 if digit > 4 else digit * 2
        total += digit
    return total % 10 == 0


_B = r"(?<![A-Za-z0-9])"  # no letter or digit before a token
_E = r"(?![A-Za-z0-9])"
_A36 = "aB3dE6gH9jK2" * 3  # stands for 36 random characters


def _is_card(match: re.Match[str]) -> bool:
    return is_card_number("".join(filter(str.isdigit, match[0])))


def _is_iban(match: re.Match[str]) -> bool:
    account = match[0].replace(" ", "")
    return int("".join(str(int(sign, 36)) for sign in account[4:] + account[:4])) % 97 == 1


# No group is repeated possessively, nor is one atomic: Python before 3.11.5 gets those wrong
# (python/cpython#106052). Every repetition that may fail late is bounded, or starts only where no
# earlier start could have reached, so that the time grows as the text does.
TOKENS = (
    rule(
        "GitHub",
        "_",
        "ghp_|gho_|ghs_|ghu_|ghr_|github_pat_",
        rf"{_B}(?:gh[opsur]_[A-Za-z0-9]{{36,255}}|github_pat_[A-Za-z0-9_]{{22,255}})",
        [(f"clone ghp_{_A36} now", f"clone {MASK} now"), (f"github_pat_{_A36[:22]}_{_A36}", MASK)],
        ["ghp_short", "the ghs_table", "lengthghp_1"],
        is_random,
    ),
    rule(
        "GitLab",
        "-",
        "glpat-|gloas-|gldt-|glrt-|glcbt-|glptt-|glft-|glimt-|glagent-|glsoat-",
        rf"{_B}gl(?:pat|oas|dt|rt|cbt|ptt|ft|imt|agent|soat)-[\w\-.]{{20,255}}",
        [(f"glpat-{_A36[:20]}", MASK)],
        ["glpat-short", "a glrt-runner"],
    ),
    rule(
        "Slack",
        "-",
        "xox|xapp-",
        rf"{_B}(?:xox[abceoprs]-[A-Za-z0-9\-]{{12,255}}|xapp-[0-9]-[A-Za-z0-9\-]{{12,255}})",
        [(f"xoxb-123456789012-{_A36}", MASK), (f"xapp-1-A123-{_A36}", MASK)],
        ["xoxb-no", "foxox-a"],
    ),
    rule(
        "web hooks",
        "/",
        "hooks.slack|/api/webhooks/|/webhookb2/",
        r"(?:hooks\.slack(?:-gov)?\.com/(?:services|workflows|triggers)/|/api/webhooks/[0-9]{5,25}/"
        r"|/webhookb2/)(?P<value>[\w/@\-]+)",
        [
            (
                "https://hooks.slack.com/services/T0/B0/aB3dE6gH",
                f"https://hooks.slack.com/services/{MASK}",
            ),
            (
                "https://discord.com/api/webhooks/123456/aB3-dE6",
                f"https://discord.com/api/webhooks/123456/{MASK}",
            ),
        ],
        ["https://hooks.slack.com/ is down", "POST /api/webhooks/github"],
        is_random,
    ),
    rule(
        "Stripe",
        "_",
        "sk_live_|sk_test_|rk_live_|rk_test_|whsec_",
        rf"{_B}(?:[rs]k_(?:live|test)_[A-Za-z0-9]{{10,255}}|whsec_[A-Za-z0-9+/]{{16,255}}=*)",
        [(f"sk_live_{_A36}", MASK), (f"rk_test_{_A36}", MASK), (f"whsec_{_A36}", MASK)],
        [f"pk_live_{_A36}", "disk_live_migration_done"],
    ),
    rule(
        "Google",
        "",
        "aiza|ya29.|gocspx-",
        rf"{_B}(?:AIza[\w\-]{{35}}|ya29\.[\w\-]{{20,255}}|GOCSPX-[\w\-]{{20,64}})",
        [(f"AIza{_A36[:35]}", MASK), (f"ya29.{_A36}", MASK), (f"GOCSPX-{_A36[:28]}", MASK)],
        ["AIza is a prefix", "saiza"],
        is_random,
    ),
    rule(
        "AWS",
        "",
        "akia|asia|abia|acca",
        rf"{_B}(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{{16}}{_E}",
        [("AKIAIOSFODNN7EXAMPLE", MASK)],
        ["ASIA AND OCEANIA", "AKIAIOSFODNN7EXAMPLES7"],
        is_random,
    ),
    rule(
        "npm and PyPI",
        "",
        "npm_|pypi-",
        rf"{_B}(?:npm_[A-Za-z0-9]{{36}}|pypi-AgE[\w\-]{{16,255}}){_E}",
        [(f"npm_{_A36}", MASK), (f"pypi-AgE{_A36}", MASK)],
        ["npm_config_cache", "pypi-nt"],
        is_random,
    ),
    rule(
        "SendGrid",
        "",
        "sg.",
        rf"{_B}SG\.[\w\-]{{16,32}}\.[\w\-]{{16,64}}",
        [(f"SG.{_A36[:22]}.{_A36}", MASK)],
        ["MSG.a.b", "SG.1.2"],
        is_random,
    ),
    rule(
        "OpenAI, Anthropic and others",
        "-",
        "sk-",
        rf"{_B}sk-(?:(?:proj|svcacct|admin|ant|or)-[\w\-]{{20,255}}|[A-Za-z0-9]{{32,255}})",
        [(f"sk-proj-{_A36}", MASK), (f"sk-{_A36}", MASK)],
        ["task-12", "sk-learn", "disk-a-b"],
    ),
    rule(
        "Telegram",
        ":",
        ":aa",
        r"(?<![0-9])[0-9]{6,12}:AA[\w\-]{30,64}",
        [(f"/bot123456789:AA{_A36}/send", f"/bot{MASK}/send")],
        ["10:AA", "ratio 123456:AAB"],
        leads=False,
    ),
    rule(
        "other hosts of code and models",
        "_",
        "hf_|dop_v1_|dor_v1_|doo_v1_|shpat_|shpca_|shppa_|shpss_|dckr_pat_|glsa_|lin_api_",
        rf"{_B}(?:hf_[A-Za-z0-9]{{30,64}}|do[opr]_v1_[0-9a-f]{{64}}"
        rf"|shp(?:at|ca|pa|ss)_[0-9a-fA-F]{{32}}"
        rf"|dckr_pat_[\w\-]{{20,64}}|glsa_[A-Za-z0-9_]{{32,64}}|lin_api_[A-Za-z0-9]{{32,64}}){_E}",
        [
            (f"hf_{_A36}", MASK),
            (f"dop_v1_{'0a' * 32}", MASK),
            (f"shpat_{'0a' * 16}", MASK),
            (f"dckr_pat_{_A36[:27]}", MASK),
            (f"glsa_{_A36}", MASK),
            (f"lin_api_{_A36}", MASK),
        ],
        ["half_done", "shp_file", "hf_hub_download"],
        is_random,
    ),
    rule(
        "Vault, age, Databricks, Mailgun",
        "",
        "hvb.|hvs.|hvr.|age-s|dapi|key-",
        rf"{_B}(?:hv[bsr]\.[\w\-]{{24,255}}|AGE-SECRET-KEY-1[0-9A-Z]{{50,64}}|dapi[0-9a-f]{{32}}"
        rf"|key-[0-9a-f]{{32}}){_E}",
        [
            (f"hvs.{_A36}", MASK),
            (f"AGE-SECRET-KEY-1{'Q2' * 29}", MASK),
            (f"dapi{'0a' * 16}", MASK),
            (f"key-{'0a' * 16}", MASK),
        ],
        ["hvs.short", "dapi", "key-value"],
        is_random,
    ),
    rule(
        # Of 2, 3 (signed) or 5 (encrypted) parts. The look ahead finds the first `eyJ` of a run of
        # these characters; were there no end to the token behind that one, there would be none
        # behind the others, at which the search would start again.
        "JSON web tokens",
        "",
        "eyj",
        r"(?<![A-Za-z0-9_\-])(?=([A-Za-z0-9_\-]*?)\beyJ)\1(?P<value>eyJ[A-Za-z0-9_\-]{8,}+"
        r"\.(?:[A-Za-z0-9_\-]{4,}+(?:\.[A-Za-z0-9_\-]*+){0,3}"
        r"|\.[A-Za-z0-9_\-]{4,}+(?:\.[A-Za-z0-9_\-]*+){0,2}))",
        [
            ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozj-gN", MASK),
            ("eyJhbGciOiJSU0EifQ.OKOawDo13gRp.48V1_ALb6US0.5eym8TW_c8.XFBoMYUZ", MASK),
            ("eyJhbGciOiJkaXIifQ..48V1_ALb6US0.5eym8TW_c8.XFBoMYUZ", MASK),
        ],
        ["eyJust a word.", "grey Jersey"],
        is_random,
        leads=False,
    ),
)
BLOCKS = (
    rule(
        "private keys",
        "-",
        "-----begin",
        r"-----BEGIN\ [A-Z0-9 ]{0,40}PRIVATE\ KEY[A-Z ]{0,10}-----.*?"
        r"(?:-----END\ [^-]{0,60}-----|\Z)",
        [
            ("-----BEGIN RSA PRIVATE KEY-----\naB3d\n-----END RSA PRIVATE KEY-----", MASK),
            (r"-----BEGIN PRIVATE KEY-----\naB3d\n-----END PRIVATE KEY----- ok", f"{MASK} ok"),
            ("x -----BEGIN EC PRIVATE KEY-----\naB3d", f"x {MASK}"),
        ],
        ["-----BEGIN CERTIFICATE-----\naB3d", "BEGIN TRANSACTION"],
        None,
        re.DOTALL,
    ),
    rule(
        "PuTTY's keys",
        "-",
        "putty-user-key-file-",
        r"PuTTY-User-Key-File-[0-9]:.*?(?:Private-MAC:[^\r\n]*|\Z)",
        [
            (
                "PuTTY-User-Key-File-3: rsa\nPrivate-Lines: 1\naB3d\nPrivate-MAC: 0a\nok",
                f"{MASK}\nok",
            )
        ],
        ["PuTTY-User-Key-File-3 is old"],
        None,
        re.DOTALL,
    ),
)
CARDS = rule(
    "payment cards",
    "",
    "",
    CARD_CANDIDATE.pattern,
    [
        ("paid with 4111 1111 1111 1111 today", f"paid with {MASK} today"),
        ("pan=5500005555555559", f"pan={MASK}"),
        ("3782 822463 10005", MASK),
        ("4111.1111.1111.1111", MASK),
        ("4111\u00a01111\u00a01111\u00a01111", MASK),
    ],
    [
        "order 4111111111111112",
        "took 1769855401123456 ns",
        "trace 4111111111111111abcdef0123456789",
        "ratio 0.4111111111111111",
    ],
    _is_card,
    re.ASCII,
    leads=False,
)
# Only with the option `redact_personal`.
PERSONAL = {
    "email": rule(
        "addresses of mail",
        "@",
        "@",
        r"(?<![\w.+%\-])[\w.+%\-]++@[A-Za-z0-9\-]{1,63}(?:\.[A-Za-z0-9\-]{1,63}){1,8}",
        [("to ann.b+c@shop.example, ok", f"to {MASK}, ok")],
        ["user@localhost", "a @ b.c"],
        leads=False,
    ),
    "iban": rule(
        "bank accounts",
        "",
        "",
        r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?:[ ]?[A-Z0-9]{4}){2,7}"
        r"(?:[ ]?[A-Z0-9]{1,3})?(?![A-Za-z0-9])",
        [("to DE89 3704 0044 0532 0130 00.", f"to {MASK}."), ("GB82WEST12345698765432", MASK)],
        ["DE89 3704 0044 0532 0130 01", "AB12CDEF3456GHIJ"],
        _is_iban,
        leads=False,
    ),
    "phone": rule(
        "telephone numbers",
        "",
        "+|00",
        r"(?<![\w.+])(?<![0-9][ ])(?:\+|00(?=[1-9]))[0-9](?:[ ()/.\-]{0,2}[0-9]){7,14}(?![\w])",
        [("call +49 (30) 1234-5678 now", f"call {MASK} now"), ("0044 20 1234 5678", MASK)],
        ["+1", "a+12345678901", "1e+10 2000"],
    ),
}
