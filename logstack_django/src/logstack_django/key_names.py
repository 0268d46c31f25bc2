"""Which keys are secret, by their whole words: `api_key` and `apiKey` are, `monkey` is not.

Used for the keys of dictionaries, the names in text (`key=value`), routes and headers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

Words = tuple[str, ...]


def finder(parts: Iterable[str]) -> Callable[[str], object]:
    """Finds one of `parts` in a text: a truthy value if one is there.

    One regular expression, in which parts with the same beginning share it: a place in the text is
    compared with each letter that a part can start with, not with each part.
    """
    tree: dict[str, Any] = {}
    for part in parts:
        node = tree
        for letter in part:
            node = node.setdefault(letter, {})
        node[""] = {}
    return re.compile(_branches(tree) if tree else r"(?!)").search


def _branches(node: dict[str, Any]) -> str:
    if "" in node:
        return ""
    found = [re.escape(letter) + _branches(below) for letter, below in node.items()]
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


def vocabulary(text: str) -> frozenset[str]:
    """The words of a text."""
    return frozenset(text.split())


# A key is secret when one of its words is one of these ...
_SECRET_WORDS = vocabulary(
    "password passwords passwd pwd pw passphrase passcode secret secrets token authorization "
    "bearer cookie cookies credential credentials jwt otp totp cvv cvc pin ssn iban "
    "passwort kennwort contraseña contrasena senha wachtwoord motdepasse пароль 密码 "
    "csrftoken csrfmiddlewaretoken xsrftoken accesstoken refreshtoken authtoken accesstokens "
    "idtoken apikey apikeys apitoken secretkey privatekey accesskey authkey masterkey sessionid "
    "sessionkey phpsessid jsessionid clientsecret dsn"
)
# ... or ends in one of these (PGPASSWORD) ...
_SECRET_ENDS = ("password", "passwd")
_OF_KEY = vocabulary(
    "api access private secret encryption signing session auth master license ssh fernet hmac "
    "stripe account subscription functions shared webhook deploy consumer server"
)
_OF_TOKENS = vocabulary("access refresh auth api push id bearer session device csrf")
_OF_CODE = vocabulary("security recovery backup verification")
# ... or two neighbouring words are one of these ...
_SECRET_PAIRS = frozenset(
    [
        *((word, last) for word in _OF_KEY for last in ("key", "keys")),
        *((word, "tokens") for word in _OF_TOKENS),
        *((word, last) for word in _OF_CODE for last in ("code", "codes")),
        ("pass", "word"),
        ("pass", "phrase"),
        ("card", "number"),
        ("card", "no"),
        ("connection", "string"),
        ("secret", "id"),
        ("database", "url"),
        ("connect", "sid"),
        ("user", "hash"),  # Django's _auth_user_hash
    ]
)
# ... or it ends in one of these, a number aside (X-Hub-Signature-256).
_SECRET_LAST = frozenset({"auth", "signature", "sig", "pass"})
# Secret only as the whole key.
_SECRET_ALONE = frozenset({("sid",)})
# A word after the secret one that makes the key a fact about the secret, not the secret.
_ABOUT_WORDS = vocabulary(
    "count type length len limit expiry expires expired expiration at changed "
    "required policy strength valid validity age ttl usage used name size lifetime "
    "budget max min enabled hint field reset path domain samesite secure httponly id "
    "ids status banner consent validator validators hasher hashers bucket attempt attempts "
    "checked prefix last rotation version algorithm santa"
)
# A word and the one before it that makes it another thing: the place in a list of pages, the
# postal code of an address, the text below a mail.
_OTHER_THINGS = frozenset(
    [
        *((word, "token") for word in ("page", "continuation", "pagination", "next", "sync")),
        ("postal", "pin"),
        ("email", "signature"),
        ("mail", "signature"),
    ]
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_WORD_OF_ANY_LANGUAGE = re.compile(r"[^\W\d_]+|\d+")
_LONGEST = 200
# Text without one of these holds no secret key: each one above has at least one of them.
KEY_HINTS = (
    *("pass", "pw", "secret", "token", "auth", "bearer", "cookie", "credential", "jwt", "otp"),
    *("cv", "pin", "ssn", "key", "sess", "dsn", "sig", "card", "code", "string", "url"),
    *("sid", "iban", "user", "kennwort", "contrase", "senha", "wachtwoord", "пароль", "密码"),
)


def key_words(key: str) -> Words:
    """The words by which a key is compared: `apiKey` and `API_KEY` have the same; `*` has none."""
    pattern = _WORD if key.isascii() else _WORD_OF_ANY_LANGUAGE
    return tuple(word.lower() for word in pattern.findall(key))


class KeyNames:
    """Decides on keys, with further secret `keys` and others to `keep`, and keeps the decisions."""

    def __init__(self, keys: Iterable[str] = (), keep: Iterable[str] = ()) -> None:
        # Without `filter`, a key without words would stand in every key.
        self._keys = frozenset(filter(None, map(key_words, keys)))
        self._keep = frozenset(filter(None, map(key_words, keep)))
        # Whether text in lower case can hold a secret key.
        self.may_be_in = finder((*KEY_HINTS, *(key[0] for key in self._keys)))
        self._kinds: dict[str, str] = {}

    def is_secret(self, key: str) -> bool:
        """Whether values under this key are secret."""
        return bool(self.kind(key))

    def kind(self, key: str) -> str:
        """How to read the value of a secret key in text: `cookie` and `authorization` are headers
        of several words, `pwd` may be a path and `sig` a signal; `secret` otherwise. Empty for a
        key that is not secret."""
        kind = self._kinds.get(key)
        if kind is None:
            if len(self._kinds) > 4096:  # keys may come from a client
                self._kinds.clear()
            words = key_words(key[-_LONGEST:])
            kind = self._kinds[key] = _kind(words) if self._decide(words) else ""
        return kind

    def _decide(self, words: Words) -> bool:
        if not words or _contains(self._keep, words):
            return False
        if _contains(self._keys, words) or words in _SECRET_ALONE:
            return True
        named = [word for word in words if not word.isdigit()]
        before = ("", *words)
        after = (*words[1:], "", "")
        for place, word in enumerate(words):
            if (before[place], word) in _OTHER_THINGS:
                continue
            if word in _SECRET_LAST and named[-1] == word and after[place] not in named:
                return True
            secret = word in _SECRET_WORDS or word.endswith(_SECRET_ENDS)
            if secret and after[place] not in _ABOUT_WORDS:
                return True
            if (word, after[place]) in _SECRET_PAIRS and after[place + 1] not in _ABOUT_WORDS:
                return True
        return False


def _kind(words: Words) -> str:
    if "cookie" in words or "cookies" in words:
        return "cookie"
    if "authorization" in words:
        return "authorization"
    return words[0] if words in (("pwd",), ("sig",)) else "secret"


def _contains(keys: frozenset[Words], words: Words) -> bool:
    """Whether one of `keys` stands in `words` as neighbouring words."""
    return bool(keys) and any(
        words[start : start + len(key)] == key
        for key in keys
        for start in range(len(words) - len(key) + 1)
    )
