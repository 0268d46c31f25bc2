"""What the agent masks in the lines of other programs, as logstack_django masks its own.

The regular expressions are Go's (RE2); a cheap expression says whether a line has to be searched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

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
        "tokens",
        ("bearer ", "basic ", "eyj", "akia", "asia"),
        r"((?i:\bbearer\s+))[\w.~+/=-]{20,}|((?i:\bbasic\s+))[A-Za-z0-9+/]{8,}={1,2}"
        r"|\beyJ[\w-]+\.[\w-]+(?:\.[\w-]*)?|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
        f"$1$2{MASK}",
    ),
)
