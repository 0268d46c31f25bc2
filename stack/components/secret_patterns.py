"""What the agent masks in the lines of other programs, as logstack_django masks its own.

The regular expressions are Go's (RE2); a cheap expression says whether a line has to be searched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from logstack_django.secret_rules import Rule
from logstack_django.secret_tokens import TOKENS

# The mask of logstack_django; its names of secrets, too, are those of logstack_django.redaction.
MASK = "[redacted]"


@dataclass(frozen=True)
class Secret:
    """A kind of secrets: `$1` and the other groups of the pattern stay, the rest is masked.

    `hints`: a line without any of these, in lower case, holds no such secret; with `needs`, nor
    does one without that. Nothing repeats often, because Go writes out each repetition.
    """

    name: str
    hints: tuple[str, ...]
    pattern: str
    replacement: str
    needs: str = ""

    def may_be_in(self, value: str) -> str:
        """An expression: whether a text has to be searched."""
        hints = " or ".join(f"text contains {json.dumps(hint)}" for hint in self.hints)
        needs = f"{value} contains {json.dumps(self.needs)} and " if self.needs else ""
        return f"{needs}(let text = lower({value}); {hints})"


# Rows of the library's table that RE2 cannot express; SECRETS has a simpler pattern for them.
NOT_IN_GO = ("JSON web tokens",)
_NOT_BEFORE = re.compile(r"^\(\?<!\[([^\]]+)\]\)")
_NOT_BEHIND = "(?![A-Za-z0-9])"


def tokens(rows: Iterable[Rule] = TOKENS) -> Secret:
    """The library's table of tokens in the syntax of Go: what it may not look behind at is a group
    that stays, and repetitions have no upper bound, because Go writes out each of them."""
    rows = [row for row in rows if row.name not in NOT_IN_GO]
    patterns = [_in_go(row.pattern.pattern) for row in rows]
    groups = "".join(f"${number}" for number in range(1, len(rows) + 1))
    hints = dict.fromkeys(hint for row in rows for hint in row.hints)
    return Secret("tokens", tuple(hints), "|".join(patterns), f"{groups}{MASK}")


def _in_go(pattern: str) -> str:
    """The pattern with one group, of what stays."""
    pattern = re.sub(r"\{(\d+),\d\d+\}", r"{\1,}", pattern.replace(_NOT_BEHIND, r"\b"))
    before, value, rest = pattern.partition("(?P<value>")
    if value:
        return f"({before}){rest.removesuffix(')')}"
    found = _NOT_BEFORE.match(pattern)
    if found is None:
        raise ValueError(f"cannot write {pattern} for Go")
    return f"(^|[^{found[1]}]){pattern[found.end() :]}"


# What a secret key may end with, or may be as a word of its own.
_ENDINGS = (
    r"passwords?|passwd|passphrase|passcode|secrets?|token|credentials?|sessionid|secret[_-]?id"
    r"|(?:api|access|private|secret|encryption|signing|session|auth|master)[_-]?key"
    r"|card[_-]?(?:number|no)|security[_-]?code|connection[_-]?string|database[_-]?url"
)
_WORDS = r"\b(?:pwd|pin|t?otp|cv[vc]|ssn|jwt|dsn|sig(?:nature)?)"
_PARTS = r"[_.-](?:pwd|pin|t?otp|cv[vc]|ssn|jwt|dsn|sig(?:nature)?|pass|auth)"
_IS = r"\\*[\"'\]]*\s?(?:=>|:=|[=:]|%3d)\s*"
# A quote that opens the value stays; a closing one is not part of the match.
_VALUE = (
    r"(?:([bru]?\\+\")(?:[^\"\\]|\\[^\"\\])*|([bru]?\")(?:[^\"\\]|\\.)*|([bru]?')(?:[^'\\]|\\.)*"
    r"|\[[^\]\n]*\]?|[^\s,;&\"'<>)\]}\\]+)"
)
_SCHEMES = "bearer|basic|token|digest|negotiate|apikey|api-key|jwt|key"
_AUTHORIZATION = rf"(authorization{_IS}\\*[\"']?)(?:(?:{_SCHEMES})\s+)?[^\s\"'\\,;]+"
_COOKIE = rf"(cookies?{_IS}\\*[\"']?)[^\r\n\"'\\]+"
_KEY = rf"((?:{_ENDINGS}|{_WORDS}|{_PARTS}){_IS}){_VALUE}"
# A name that says what its value is, in a record.
NAMES = f"(?i)(?:authorization|cookies?|{_ENDINGS}|{_WORDS}|{_PARTS})$"
SECRETS = (
    Secret(
        "keys",
        (
            *(
                "pass",
                "pwd",
                "secret",
                "token",
                "auth",
                "cookie",
                "credential",
                "key",
                "jwt",
                "otp",
            ),
            *("cvv", "cvc", "pin", "ssn", "dsn", "sig", "sessionid", "code", "card", "string"),
            "database",
        ),
        f"(?i)(?:{_AUTHORIZATION}|{_COOKIE}|{_KEY})",
        f"$1$2$3$4$5$6{MASK}",
    ),
    # The password of an address may contain a slash; a port and a path are no password.
    Secret(
        "addresses",
        ("@",),
        r"://(?:[^\s/?#\"'<>@]+|[^\s:/@\"'<>]+:(?:[^\d\s@\"'<>]|\d+[^\d/?#\s@\"'<>])[^\s@\"'<>]*)@",
        f"://{MASK}@",
        needs="://",
    ),
    Secret(
        "credentials",
        ("bearer ", "basic ", "eyj"),
        r"((?i:\bbearer\s+))[\w.~+/=-]{20,}|((?i:\bbasic\s+))[A-Za-z0-9+/]{8,}={1,2}"
        r"|\beyJ[\w-]{8,}(?:\.[\w-]*){1,4}",
        f"$1$2{MASK}",
    ),
    tokens(),
)
