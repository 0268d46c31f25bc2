"""What the agent masks in the lines of other programs, as logstack_django masks its own.

One regular expression of Go (RE2) for all secrets, and a cheap expression that says whether a line
has to be searched at all.
"""

from __future__ import annotations

import json

# The mask of logstack_django; its names of secrets, too, are those of logstack_django.redaction.
MASK = "[redacted]"
# What a secret key may end with ...
_ENDINGS = (
    r"passwords?|passwd|passphrase|passcode|secrets?|token|credentials?|sessionid|secret[_-]?id"
    r"|(?:api|access|private|secret|encryption|signing|session|auth|master)[_-]?key"
    r"|card[_-]?(?:number|no)|security[_-]?code|connection[_-]?string|database[_-]?url"
)
# ... also as a word of its own only.
_WORDS = "pwd|pin|otp|totp|cvv|cvc|ssn|jwt|dsn|sig|signature"
_KEY = rf"\b(?:[\w.-]*(?:{_ENDINGS})|(?:[\w.-]*[_.-])?(?:{_WORDS})|[\w.-]*[_.-](?:pass|auth))"
_IS = r"\\{0,4}[\"'\]]{0,2}\s{0,4}(?:=>|:=|[=:]|%3d)\s{0,4}"
# A quote that opens the value stays; a closing one is not part of the match.
_VALUE = (
    r"(?:([bru]?\\{1,4}\")(?:[^\"\\]|\\[^\"\\])*|([bru]?\")(?:[^\"\\]|\\.)*|([bru]?')(?:[^'\\]|\\.)*"
    r"|\[[^\]\n]*\]?|[^\s,;&\"'<>)\]}\\]+)"
)
_SCHEMES = "bearer|basic|token|digest|negotiate|apikey|api-key|jwt|key"
_KINDS = (
    rf"(\b(?:proxy-)?authorization{_IS}\\*[\"']?)(?:(?:{_SCHEMES})\s+)?[^\s\"'\\,;]+",
    rf"(\b(?:set-)?cookies?{_IS}\\*[\"']?)[^\r\n\"'\\]+",
    rf"({_KEY}{_IS}){_VALUE}",
    # The password of an address may contain a slash; a port and a path are no password.
    r"(://)(?:[^\s/?#\"'<>@]+|[^\s:/@\"'<>]+:(?:[^\d\s@\"'<>]|\d+[^\d/?#\s@\"'<>])[^\s@\"'<>]*)(@)",
    r"(\bbearer\s+)[\w.~+/=-]{20,}",
    r"(\bbasic\s+)[A-Za-z0-9+/]{8,}={1,2}",
    r"\b(?-i:eyJ)[\w-]{6,}\.[\w-]{4,}(?:\.[\w-]*)?",
    r"\b(?-i:AKIA|ASIA)[0-9A-Z]{16}\b",
)
SECRET = f"(?i){'|'.join(_KINDS)}"
# The groups of SECRET that stay: one kind of secret has some, the others are empty.
MASKED = f"$1$2$3$4$5$6$7$9$10{MASK}$8"
# A line without one of these holds no secret.
_HINTS = (
    *("pass", "pwd", "secret", "token", "auth", "cookie", "credential", "key", "bearer", "basic"),
    *("jwt", "otp", "cvv", "cvc", "pin", "ssn", "dsn", "sig", "session", "code", "card", "string"),
    *("database", "://", "eyj", "akia", "asia"),
)


def may_hold_secret(value: str) -> str:
    """An expression: whether a text has to be searched for secrets."""
    hints = " or ".join(f"text contains {json.dumps(hint)}" for hint in _HINTS)
    return f"let text = lower({value}); {hints}"
