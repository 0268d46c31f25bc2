"""Masks secrets in text and in the values of secret keys, with a cheap check before any regex.

The formatter calls `may_hold_secret` once per record; only text that could hold a secret is matched
against the patterns. Keys are compared by whole words: `api_key` is secret, `monkey` is not.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable

from logstack_django.card_numbers import CARD_CANDIDATE, mask_cards

MASK = "[redacted]"


def _vocabulary(text: str) -> frozenset[str]:
    return frozenset(text.split())


# A key is secret when one of its words is one of these ...
_SECRET_WORDS = _vocabulary(
    "password passwords passwd pwd passphrase passcode secret secrets token authorization "
    "bearer cookie cookies credential credentials jwt otp totp cvv cvc pin ssn "
    "csrftoken csrfmiddlewaretoken xsrftoken accesstoken refreshtoken authtoken "
    "idtoken apikey apitoken secretkey privatekey accesskey authkey masterkey sessionid sessionkey "
    "clientsecret dsn"
)
# ... or ends in one of these (PGPASSWORD) ...
_SECRET_ENDS = ("password", "passwd")
_KEY_OWNERS = (
    "api",
    "access",
    "private",
    "secret",
    "encryption",
    "signing",
    "session",
    "auth",
    "master",
)
# ... or two neighbouring words are one of these ...
_SECRET_PAIRS = frozenset(
    [
        *((word, "key") for word in _KEY_OWNERS),
        ("pass", "word"),
        ("pass", "phrase"),
        ("card", "number"),
        ("card", "no"),
        ("security", "code"),
        ("connection", "string"),
        ("secret", "id"),
        ("database", "url"),
    ]
)
# ... or it ends in one of these.
_SECRET_LAST = frozenset({"auth", "signature", "sig"})
# A word after the secret one that makes the key a fact about the secret, not the secret.
_ABOUT_WORDS = _vocabulary(
    "count type length len limit expiry expires expired expiration at changed "
    "required policy strength valid validity age ttl usage used name size lifetime "
    "budget max min enabled hint field reset path domain samesite secure httponly id "
    "ids"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_A-Za-z]+")

# Values that say whether a secret is set.
_PLAIN_FACTS = frozenset({"true", "false", "none", "null"})
_UNSUSPICIOUS = bytes(set(range(256)) - set(b"=:%0123456789"))
# Text without one of these cannot hold `key=value`; every secret word contains one of them.
_KEY_HINTS = (
    *("pass", "pwd", "secret", "token", "auth", "bearer", "cookie", "credential", "jwt", "otp"),
    *("cvv", "cvc", "pin", "ssn", "key", "session", "dsn", "sig", "card", "code", "string", "url"),
)
_KEY = re.compile(
    r"""(?:(?<![A-Za-z0-9_])|(?<=%[0-9A-Fa-f][0-9A-Fa-f]))(?P<key>[A-Za-z_][A-Za-z0-9_.\-]{0,80}+)
        \\{0,4}["'\]]{0,2}\s{0,4}(?:=>|:=|[=:]|%3[dD])\s{0,4}""",
    re.VERBOSE,
)
# The opening quote may be escaped (JSON inside a string); the closing one looks the same.
# No group is repeated possessively, nor is one atomic: Python before 3.11.5 gets those wrong
# (python/cpython#106052). A repetition at the end of an alternative never backtracks anyway.
_VALUE = re.compile(
    r"""[bru]?(?P<open>(?P<quote>\\{0,8}["'])(?:(?!(?<!\\)(?P=quote)).)*)
      | \[[^\]]*+\]? | \{[^}]*+\}? | \([^)]*+\)?
      | [^\s,;&"'<>)\]}\\]++(?:[,;&)\]}]+[^\s,;&"'<>)\]}\\=:]++(?![=:]))*
    """,
    re.VERBOSE | re.DOTALL,
)
# The words after which a second word belongs to the value: `Authorization: Bearer abc`.
_SCHEME = re.compile(
    r"(?i)\s{0,2}(?:bearer|basic|token|digest|negotiate|apikey|api-key|jwt|key)(?![A-Za-z0-9])"
)
_HEADER_REST = re.compile(r"""[^\r\n"'\\]*+""")
_NEXT_WORD = re.compile(r"""\s{1,4}[^\s"'\\,;]++""")

_WORD_OF_ROW = re.compile(r"\w+")

_BEARER = re.compile(r"(?i)\b(bearer)(\s{1,4})([A-Za-z0-9._~+/=\-]{6,})")
_BASIC = re.compile(r"(?i)\b(basic)(\s{1,4})([A-Za-z0-9+/_\-]{4,}={0,2})")
# What may follow "bearer" in prose.
_BEARER_PROSE = _vocabulary(
    "authentication authorization scheme schemes token tokens header headers "
    "credential credentials realm challenge format required missing invalid expired "
    "failed"
)
_USERINFO = re.compile(r"""(://)[^\s/?#"'<>]*@""")
# A password may contain an unescaped slash; a port and a path are not a password.
# In two steps, because text without an @ would be read again from each of its `://` on.
_BEFORE_AT = re.compile(r"""(?<![^\s@"'<>])[^\s@"'<>]++@""")
_USERINFO_SLASH = re.compile(r"""://[^\s:/@"'<>]+:(?!\d{1,5}[/?#])(?!@)""")
_PRIVATE_KEY = re.compile(
    r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----.*?(?:-----END [^-]{0,60}-----|\Z)",
    re.DOTALL,
)
# The look ahead finds the first `eyJ` of a run of these characters; were there no end to the token
# behind that one, there would be none behind the others, at which the search would start again.
_JWT = re.compile(
    r"(?<![A-Za-z0-9_\-])(?=([A-Za-z0-9_\-]*?)\beyJ)\1"
    r"eyJ[A-Za-z0-9_\-]{6,}+\.[A-Za-z0-9_\-]{4,}+(?:\.[A-Za-z0-9_\-]*+)?"
)
_CLOUD_KEY = re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b")
_QUERY_KEY = re.compile(r"(?i)([?&](?:key|code|sig)=)[^\s&#\"'<>]{16,}")


class Redactor:
    """The rules of one configuration.

    `keys` are further secret keys, `keep` keys that are never secret (both compared by their
    words, so `api_key` means apiKey too), `patterns` regular expressions whose matches are masked.
    """

    def __init__(
        self, keys: Iterable[str] = (), keep: Iterable[str] = (), patterns: Iterable[str] = ()
    ) -> None:
        # Without `filter`, a key without words would stand in every key.
        self._keys = frozenset(filter(None, map(key_words, keys)))
        self._keep = frozenset(filter(None, map(key_words, keep)))
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._hints = (*_KEY_HINTS, *(word for key in self._keys for word in key[:1]))
        self._decisions: dict[str, bool] = {}
        self._search_card = CARD_CANDIDATE.search
        self._any_pattern: Callable[[str], bool] | None = None
        if self._patterns:
            self._any_pattern = lambda text: any(found.search(text) for found in self._patterns)

    def is_secret_key(self, key: str) -> bool:
        """Whether values under this key are secret."""
        verdict = self._decisions.get(key)
        if verdict is None:
            if len(self._decisions) > 4096:  # keys may come from a client
                self._decisions.clear()
            verdict = self._decisions[key] = self._is_secret(key_words(key[:200]))
        return verdict

    def may_hold_secret(self, text: str) -> bool:
        """Whether `text` has to go through `text`; never False for text that would be changed.

        UnicodeEncodeError if the text holds a lone surrogate.
        """
        # What is left when everything but separators and digits is taken out: nearly nothing in
        # most texts, for the price of one pass in C.
        left = text.encode().translate(None, _UNSUSPICIOUS)
        if left and (b"=" in left or b":" in left or b"%" in left):
            return True
        if len(left) > 12 and self._search_card(text) is not None:
            return True
        if "eyJ" in text or "BEGIN" in text or "IA" in text:
            return True
        lowered = text.lower()
        if "bearer" in lowered or "basic" in lowered:
            return True
        return self._any_pattern is not None and self._any_pattern(text)

    def text(self, text: str) -> str:
        """`text` with every secret masked."""
        lowered = text.lower()
        if "-----begin" in lowered:
            text = _PRIVATE_KEY.sub(MASK, text)
        if "://" in text and "@" in text:
            text = _USERINFO.sub(rf"\1{MASK}@", text)
            text = _BEFORE_AT.sub(_mask_userinfo_with_slash, text)
        if ("=" in text or ":" in text or "%3" in text) and any(
            hint in lowered for hint in self._hints
        ):
            if ")=(" in text:
                text = self._mask_rows(text)
            text = self._mask_key_values(text)
            text = _QUERY_KEY.sub(rf"\1{MASK}", text)
        if "bearer" in lowered:
            text = _BEARER.sub(_mask_bearer, text)
        if "basic" in lowered:
            text = _BASIC.sub(_mask_basic, text)
        if "eyJ" in text:
            text = _JWT.sub(rf"\1{MASK}", text)
        if "AKIA" in text or "ASIA" in text:
            text = _CLOUD_KEY.sub(MASK, text)
        if self._search_card(text) is not None:
            text = mask_cards(text, MASK)
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return text

    def _is_secret(self, words: tuple[str, ...]) -> bool:
        if not words or _contains(self._keep, words):
            return False
        if _contains(self._keys, words):
            return True
        if words[-1] in _SECRET_LAST or (words[-1] == "pass" and len(words) > 1):
            return True
        last = len(words) - 1
        for place, word in enumerate(words):
            following = words[place + 1] if place < last else ""
            secret = word in _SECRET_WORDS or word.endswith(_SECRET_ENDS)
            if secret and following not in _ABOUT_WORDS:
                return True
            if (word, following) in _SECRET_PAIRS:
                after = words[place + 2] if place + 2 <= last else ""
                if after not in _ABOUT_WORDS:
                    return True
        return False

    def _mask_rows(self, text: str) -> str:
        """PostgreSQL's `Key (organization_id, token)=(7, abc) already exists.`"""
        pieces: list[str] = []
        done = 0
        while (middle := text.find(")=(", done)) >= 0:
            # An index may be on an expression: `Key (lower(token))=(abc)`.
            start = max(text.rfind("Key (", done, middle), text.rfind("\n", done, middle), done)
            columns = _WORD_OF_ROW.findall(text[max(start, middle - 400) : middle])
            end = middle + 3
            pieces.append(text[done:end])
            if any(map(self.is_secret_key, columns)):
                line_end = text.find("\n", end)
                line_end = len(text) if line_end < 0 else line_end
                close = text.rfind(")", end, line_end)  # the value may hold one, too
                close = text.find(")", end) if close < 0 else close
                pieces.append(MASK)
                end = len(text) if close < 0 else close
            done = end
        return "".join((*pieces, text[done:]))

    def _mask_key_values(self, text: str) -> str:
        pieces: list[str] = []
        done = position = 0
        while (key := _KEY.search(text, position)) is not None:
            # Where the next key may start: the value may itself be one, as in `error: password=x`.
            position = key.end()
            if not self.is_secret_key(key["key"]):
                continue
            value = _VALUE.match(text, position)
            if value is None or (not value["open"] and value[0].lower() in _PLAIN_FACTS):
                continue
            end = _end_of_value(text, value, key["key"])
            if not text.startswith(MASK, position):
                pieces += (text[done:position], value["quote"] or "", MASK)
                done = end
            position = end
        if not pieces:
            return text
        pieces.append(text[done:])
        return "".join(pieces)


def _end_of_value(text: str, value: re.Match[str], key: str) -> int:
    """Where the secret value ends: some headers' values hold spaces."""
    end = value.end()
    if value["open"]:
        return end
    words = key_words(key)
    if "cookie" in words or "cookies" in words:
        rest = _HEADER_REST.match(text, end)
        return rest.end() if rest else end
    if "authorization" in words and _SCHEME.fullmatch(value[0]):
        following = _NEXT_WORD.match(text, end)
        return following.end() if following else end
    return end


def _contains(keys: frozenset[tuple[str, ...]], words: tuple[str, ...]) -> bool:
    """Whether one of `keys` stands in `words` as neighbouring words."""
    return bool(keys) and any(
        words[start : start + len(key)] == key
        for key in keys
        for start in range(len(words) - len(key) + 1)
    )


def key_words(key: str) -> tuple[str, ...]:
    """The words by which a key is compared: `apiKey` and `API_KEY` have the same; `*` has none."""
    return tuple(word.lower() for word in _WORD.findall(key))


def _mask_userinfo_with_slash(match: re.Match[str]) -> str:
    found = _USERINFO_SLASH.search(match[0])
    return f"{match[0][: found.start()]}://{MASK}@" if found is not None else match[0]


def _mask_bearer(match: re.Match[str]) -> str:
    if match[3].rstrip(".,").lower() in _BEARER_PROSE:
        return match[0]
    return f"{match[1]}{match[2]}{MASK}"


def _mask_basic(match: re.Match[str]) -> str:
    """Mask what decodes to `user:password`; "basic settings" does not."""
    encoded = match[3].rstrip("=")
    try:
        decoded = base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_")
    except (binascii.Error, ValueError):
        return match[0]
    return f"{match[1]}{match[2]}{MASK}" if b":" in decoded else match[0]
