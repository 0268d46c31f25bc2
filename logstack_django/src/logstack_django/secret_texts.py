"""Secrets that are known by the text around them: headers, addresses, commands, databases."""

from __future__ import annotations

import base64
import binascii
import re

from logstack_django.secret_rules import MASK, is_no_prose, rule

# The rest of a quoted text; its end is not part of it.
_PARAMETER = r"[a-z][a-z\-]{0,19}[ \t]?=[ \t]?(?:\\?\"[^\"\\\r\n]*+\\?\"|[^\s,\"\\]*+)"
_QUOTED = r"(?P<quote>[\"'])(?P<value>(?:[^\"'\\\r\n]|\\.|(?!(?P=quote))[\"'])*)"


def _is_user_and_password(match: re.Match[str]) -> bool:
    """What decodes to `user:password`; "basic settings" does not."""
    encoded = match["value"].rstrip("=")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_")
    except (binascii.Error, ValueError):
        return False
    return b":" in decoded


def _is_userinfo(match: re.Match[str]) -> bool:
    """The user of `ssh://git@host` is no secret; nor is a name without a scheme and a password."""
    if ":" in match["value"]:
        return True
    text, start = match.string, match.start()
    return text.endswith(":", 0, start) and not text.endswith(("ssh:", "sftp:"), 0, start)


CREDENTIALS = (
    rule(
        "bearer",
        "",
        "bearer",
        r"\bbearer[ \t]{1,4}(?P<value>[A-Za-z0-9._~+/=\-]{6,})",
        [("sent Bearer aB3dE6gH to x", f"sent Bearer {MASK} to x")],
        ["Bearer authentication failed", "The bearer token is missing"],
        is_no_prose,
        re.IGNORECASE,
    ),
    rule(
        "basic",
        "",
        "basic",
        r"\bbasic[ \t]{1,4}(?P<value>[A-Za-z0-9+/_\-]{4,}={0,2})",
        [("Basic WnE3czNjcmV0WHk6WnE3czNjcmV0WHk=", f"Basic {MASK}")],
        ["Basic settings and basic authentication"],
        _is_user_and_password,
        re.IGNORECASE,
    ),
    rule(
        "digest",
        "=",
        "digest",
        rf"\bDigest[ \t]{{1,4}}"
        rf"(?P<value>{_PARAMETER}(?:[ \t]{{0,4}},[ \t]{{0,4}}{_PARAMETER}){{1,20}})",
        [
            (
                'Proxy-Authorization: Digest username="u", response="aB3d", qop=auth',
                f"Proxy-Authorization: {MASK}",
            )
        ],
        ["digest size=3", "Digest of mails: 3"],
        None,
        re.IGNORECASE,
    ),
    rule(
        "log-ins to mail servers",
        "",
        "auth ",
        r"\bAUTH[ ](?:PLAIN|LOGIN)[ ](?P<value>[A-Za-z0-9+/]{4,}={0,2})(?![\w])",
        [("AUTH PLAIN AHVzZXIAcGFzcw==", f"AUTH PLAIN {MASK}")],
        ["AUTH PLAIN LOGIN", "AUTH LOGIN is off"],
        lambda match: any(map(str.isdigit, match["value"])) or match["value"].endswith("="),
    ),
    rule(
        "users and passwords in URLs",
        "@",
        "//",
        r"//(?P<value>[^\s/?\#\"'<>]*)@",
        [
            ("https://user:aB3d@h/", f"https://{MASK}@h/"),
            ("//user:aB3d@h", f"//{MASK}@h"),
            ("amqp://app:a@B3d@mq", f"amqp://{MASK}@mq"),
            ("redis://:aB3d@h", f"redis://{MASK}@h"),
            ("https://aB3dE6@github.com/x", f"https://{MASK}@github.com/x"),
            ("ssh://git:aB3d@h", f"ssh://{MASK}@h"),
        ],
        ["https://host:8080/path/a@b", "ssh://git@github.com/a", "see //a@b"],
        _is_userinfo,
    ),
    rule(
        "users and passwords before a host",
        "@",
        ":",
        r"(?<![\w.%+\-:/@=])(?!(?:mailto|to|cc|bcc|from|sips?|acct|xmpp|https?|git):)"
        r"[\w.%+\-]{1,64}+"
        r":(?P<value>[^\s:@/\"'<>,;]{1,128})@(?!sha[0-9])[A-Za-z0-9.\-]{1,200}(?::[0-9]{2,5}\b|/)",
        [("db user:aB3d@host:5432", f"db user:{MASK}@host:5432")],
        ["mailto:ann@example.com:25", "image:1.2@sha256:00", "at 10:30@home"],
        leads=False,
    ),
    rule(
        "passwords of commands",
        "-",
        "-u|--user|--proxy-user",
        r"(?<![\w\-])(?:-u|--user|--proxy-user)(?:[\"']\s?,\s?[\"']|[\s=]{1,4}[\"']?)"
        r"[^\s:\"']{1,100}+:(?P<value>[^\s\"']+)",
        [
            ("curl -u ann:aB3d https://h", f"curl -u ann:{MASK} https://h"),
            ("['curl', '--user', 'ann:aB3d']", f"['curl', '--user', 'ann:{MASK}']"),
        ],
        ["curl -u ann https://h", "--user ann"],
    ),
)
# Where a key names the value beside it, in other forms than `key=value`.
NOTATIONS = (
    rule(
        "pairs",
        ",",
        "('|(\"|(b|['|[\"|[b",
        rf"(?:\(|(?:(?<=[\[(,])|(?<=,\s))\[)\s?[bru]?(?P<first>[\"'])"
        rf"(?P<key>[\w.\-]{{1,100}}+)(?P=first)\s?,\s?[bru]?{_QUOTED}",
        [
            ("[('Authorization', 'Token aB3d')]", f"[('Authorization', '{MASK}')]"),
            ("[('a', 'b'), (b'x-api-key', b'aB3d')]", f"[('a', 'b'), (b'x-api-key', b'{MASK}')]"),
            ('[["a", "b"], ["cookie", "a=b"]]', f'[["a", "b"], ["cookie", "{MASK}"]]'),
        ],
        ["['password', 'email']", "(a, 'password', 'b')", "('user', 'ann')"],
    ),
    rule(
        "names and values",
        ":",
        "value",
        r"[\"'\\](?:name|key|field)\\?[\"']\s?:\s?\\?"
        r"[\"'](?P<key>[\w.\-]{1,100}+)\\?[\"']\s?,\s?\\?"
        r"[\"']value\\?[\"']\s?:\s?\\?" + _QUOTED,
        [
            ('{"name": "password", "value": "aB3d"}', f'{{"name": "password", "value": "{MASK}"}}'),
            ("{'key': 'API_TOKEN', 'value': 'aB3d'}", f"{{'key': 'API_TOKEN', 'value': '{MASK}'}}"),
        ],
        ['{"name": "plan", "value": "pro"}'],
        leads=False,
    ),
    rule(
        "elements",
        "<",
        "<",
        r"<(?P<key>[A-Za-z_][\w.:\-]{0,80}+)(?:\s[^<>]{0,200}+)?>"
        r"(?:<!\[CDATA\[)?(?P<value>[^<>\]]+)(?:\]\]>)?</",
        [
            ("<u>ann</u><password>aB3d</password>", f"<u>ann</u><password>{MASK}</password>"),
            (
                '<wsse:Password Type="x">aB3d</wsse:Password>',
                f'<wsse:Password Type="x">{MASK}</wsse:Password>',
            ),
        ],
        ["<user>ann</user>", "a <token> is missing"],
    ),
    rule(
        "form fields",
        "=",
        "name=|name =",
        r"\bname[ ]?=\s?[\"'](?P<key>[\w.\-]{1,100}+)[\"']"
        r"[^<>]{0,60}?\bvalue\s?=\s?[\"'](?P<value>[^\"'<>]*)",
        [
            (
                '<input name="csrfmiddlewaretoken" value="aB3d">',
                f'<input name="csrfmiddlewaretoken" value="{MASK}">',
            )
        ],
        ['<input name="plan" value="pro">'],
    ),
    rule(
        "parts of a form",
        "=",
        'name="',
        r"\bname=\"(?P<key>[\w.\-]{1,100}+)\"[^\r\n\\]{0,200}+"
        r"(?:(?:\r?\n|\\r\\n)[A-Za-z\-]{1,40}+:[^\r\n\\]{0,200}+){0,3}"
        r"(?:\r?\n|\\r\\n){2}(?P<value>[^\r\n\\]+)",
        [
            (
                'form-data; name="password"\r\n\r\naB3d\r\n--x',
                f'form-data; name="password"\r\n\r\n{MASK}\r\n--x',
            )
        ],
        ['form-data; name="plan"\r\n\r\npro'],
    ),
    rule(
        "options of commands",
        "-",
        "--",
        r"(?<![\w\-])--(?P<key>[A-Za-z][\w\-]{1,80}+)"
        r"(?:[\"']\s?,\s?[\"']|[\"']?\s{1,4}[\"']?)(?P<value>[^\s\"',\-\[][^\s\"',]*)",
        [
            (
                "Command '['x', '--password', 'aB3d']' returned 1",
                f"Command '['x', '--password', '{MASK}']' returned 1",
            ),
            ("mysql --password aB3d -h x", f"mysql --password {MASK} -h x"),
        ],
        ["use --password to log in", "--plan pro", "--token --quiet"],
        is_no_prose,
    ),
)
DATABASES = (
    rule(
        "rows that PostgreSQL refuses",
        "(",
        "failing row contains",
        r"Failing\ row\ contains\ \((?P<value>[^\r\n]*?)\)?\.?(?=$|[\r\n]|\\n|\"\s?[,})])",
        [
            (
                "DETAIL:  Failing row contains (12, pbkdf2$a, f, bob).",
                f"DETAIL:  Failing row contains ({MASK}).",
            )
        ],
        ["Failing row contains nothing"],
    ),
    rule(
        # An index may be on an expression: `Key (lower(token))=(abc)`.
        "keys that PostgreSQL refuses",
        "(",
        "key (",
        r"Key\ \((?P<key>(?:(?!Key\ \()[^\r\n=]){1,400}?)\)=\((?P<value>[^\r\n]*(?=\))|[^\r\n]*)",
        [("Key (a, lower(token))=(7, aB3d) exists", f"Key (a, lower(token))=({MASK}) exists")],
        ["Key (id)=(7) already exists."],
    ),
    rule(
        "lines of a COPY",
        ":",
        "copy ",
        r"\bCOPY\ [\w.\"]{1,130},\ line\ [0-9]{1,18}(?:,\ column\ \w{1,64})?:"
        r"\ \"(?P<value>[^\r\n]*?)\"?(?=$|[\r\n])",
        [('COPY auth_user, line 3: "7 pbkdf2$a"', f'COPY auth_user, line 3: "{MASK}"')],
        ["COPY a, line 3"],
    ),
    rule(
        "parameters of a statement",
        "$",
        "parameters: $",
        r"\bparameters:\ (?P<value>\$1\ =\ [^\r\n]*)",
        [("portal with parameters: $1 = 'aB3d'", f"portal with parameters: {MASK}")],
        ["parameters: none, $1 = a"],
    ),
    rule(
        "values that MySQL refuses",
        "'",
        "duplicate entry",
        r"Duplicate\ entry\ '(?P<value>(?:(?!Duplicate\ entry)[^\r\n]){0,1000}?)'"
        r"\ for\ key\ '(?P<key>[^'\r\n]{1,200})'",
        [
            (
                "Duplicate entry 'aB3d' for key 'authtoken_token.key'",
                f"Duplicate entry '{MASK}' for key 'authtoken_token.key'",
            )
        ],
        ["Duplicate entry '7' for key 'a.PRIMARY'"],
    ),
    rule(
        "values that SQL Server refuses",
        "(",
        "duplicate key value is",
        r"duplicate\ key\ value\ is\ \((?P<value>(?:(?!duplicate\ key)[^\r\n]){0,1000}?)\)\.",
        [("The duplicate key value is (aB3d).", f"The duplicate key value is ({MASK}).")],
        ["the duplicate key value is lost"],
    ),
    rule(
        "inserted rows",
        "(",
        "insert into",
        r"\bINSERT\ +INTO\ [^(\r\n]{1,200}+\((?P<key>[^()]{1,2000}+)\)\s{0,8}"
        r"VALUES\s{0,8}\((?P<value>[^\r\n]*)\)",
        [
            (
                "INSERT INTO u (name, password) VALUES ('bob', 'aB3d')",
                f"INSERT INTO u (name, password) VALUES ({MASK})",  # noqa: S608
            )
        ],
        ["INSERT INTO u (name) VALUES ('bob')"],
        None,
        re.IGNORECASE,
    ),
)
