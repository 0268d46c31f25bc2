"""Masks secrets in text and in the values of secret keys, with cheap checks before any regex.

The kinds of secrets are tables: words of keys in `key_names`, forms in `secret_tokens` and
`secret_texts`. Here is what needs more than a pattern: `key=value` in all its notations.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from urllib.parse import unquote

from logstack_django.key_names import KeyNames, finder
from logstack_django.secret_rules import MASK, PROSE, Rule
from logstack_django.secret_texts import CREDENTIALS, DATABASES, NOTATIONS
from logstack_django.secret_tokens import BLOCKS, CARD_CANDIDATE, CARDS, PERSONAL, TOKENS

__all__ = ["MASK", "RULES", "Redactor"]
_TEXTS = (*BLOCKS, *CREDENTIALS, *DATABASES, *NOTATIONS)
RULES = (*_TEXTS, *TOKENS)

# Values that say whether a secret is set.
_PLAIN_FACTS = frozenset({"true", "false", "none", "null"})
# One pass in C tells whether text can hold any secret: by a sign, or by enough characters other
# than lower case letters and spaces (`secret_rules.is_random`), which are left out.
_CLASSES = bytes(
    b"="[0] if code in b"=:%>('\"<@["
    else code if code in b"-_"
    else b"A"[0]
    for code in range(256)
)  # fmt: skip
_SIGN, _DASH, _UNDERSCORE = b"=-_"  # as numbers, which are found fastest
_COMMON = b"abcdefghijklmnopqrstuvwxyz \n\t" + bytes(range(128, 256))
_FEWEST = 8
# Another one tells whether there is a run of characters as long as the shortest of TOKENS, and how
# many digits there are.
_RUNS = bytes(
    b"0"[0] if code in b"0123456789"
    else b"a"[0] if code in b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-./+"
    or code > 127
    else b" "[0]
    for code in range(256)
)  # fmt: skip
_ALL_RUN = bytes.maketrans(b"0", b"a")
_LONG_RUN = "a" * 16
_FEWEST_DIGITS = 13
_has_dashed_token = finder(hint for rule in TOKENS if rule.mark == "-" for hint in rule.hints)
_has_spelled_token = finder(("k_live_", "k_test_", "whsec_"))

# A key starts where its run of characters does, so that each run is read once. In an encoded URL
# (%3Ftoken%3D) it stands behind two hexadecimal digits.
_KEY = re.compile(
    r"""(?<![\w.\-])(?:(?<=%)(?:25){0,2}[0-9A-Fa-f]{2})?[\d.\-]*+(?P<key>[^\W\d][\w.\-]*+)
        (?P<sign>\\{0,4}["'\]]{0,2}\s{0,32}(?:=>|->|:=|[=:]|%(?:25){0,2}3[dD])\s{0,32})""",
    re.VERBOSE,
)
# The opening quote may be escaped (JSON inside a string); the closing one looks the same.
# A value may be a call, as in a repr: SecretStr('**********').
_VALUE = re.compile(
    r"""[bru]?(?P<open>(?P<quote>'''|\"""|\\{0,8}["'])(?:(?!(?<!\\)(?P=quote)).)*)
      | \[(?:[^\[\]]++|\[[^\[\]]*+\])*\] | \{(?:[^{}]++|\{[^{}]*+\})*\}
      | \[[^\]]*+\]? | \{[^}]*+\}? | \([^)]*+\)?
      | [A-Za-z_][\w.]{0,60}\((?=["'])[^)\n]*+\)?
      | [^\s,;&"'<>)\]}\\]++(?:[,;&)\]}]+[^\s,;&"'<>)\]}\\=:]++(?![=:]))*
    """,
    re.VERBOSE | re.DOTALL,
)
# A number in JSON, which ends before what `_VALUE` takes as the rest of an unquoted password.
_NUMBER = re.compile(r"-?[0-9][0-9.eE+\-]{0,40}(?=[\s,}\]\\]|$)")
# A mask in the place of a number, an array or an object: JSON needs quotes there, as the key has.
_BARE_MEMBER = re.compile(r"""((\\{0,8}["'])\s{0,32}:\s{0,32})-?\[redacted\](?:\.[0-9]{1,20})?""")
_BARE_ITEM = re.compile(r"([\[,]\s{0,32})-?\[redacted\](?:\.[0-9]{1,20})?(?=\s{0,32}[,\]])")
# The words after which a second word belongs to the value: `Authorization: Bearer abc`.
_SCHEME = re.compile(
    r"(?i)\s{0,2}(?:bearer|basic|token|digest|negotiate|apikey|api-key|jwt|key)(?![A-Za-z0-9])"
)
_HEADER_REST = re.compile(r"""[^\r\n"'\\]*+""")
_NEXT_WORD = re.compile(r"""\s{1,4}[^\s"'\\,;]++""")
_SIGNAL = re.compile(r"SIG[A-Z0-9]{2,8}")
# A password may contain an unescaped slash; a port and a path are not a password, except where
# the scheme is that of a database. In two steps, because text without an @ would be read again
# from each of its `://` on.
_BEFORE_AT = re.compile(r"""(?<![^\s@"'<>])[^\s@"'<>]++@""")
_USERINFO_SLASH = re.compile(
    r"""(?:(?<=amqp)|(?<=amqps)|(?<=redis)|(?<=rediss)|(?<=mysql)|(?<=postgres)|(?<=postgresql)
        |(?<=mongodb))://[^\s:/@"'<>]*:(?!@)|://[^\s:/@"'<>]+:(?!\d{1,5}[/?#])(?!@)""",
    re.VERBOSE,
)
_QUERY_KEY = re.compile(r"(?i)([?&](?:key|code|sig)=)(?=[^\s\d&#]{0,40}\d)[^\s&#\"'<>]{16,}")
_END_OF_BLOCK = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-----")
_IN_BLOCK = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=\\ \r\n\t"
_ESCAPED = re.compile(r"\\u([0-9a-fA-F]{4})")
_INPUT_VALUE = re.compile(r"input_value=(?P<value>.*?)(?=, input_type=|\]|$)", re.MULTILINE)


def _unescape_letter(match: re.Match[str]) -> str:
    letter = chr(int(match[1], 16))
    return letter if letter.isalnum() else match[0]


# Other spellings of text, each with what it has.
_SPELLINGS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("%2", unquote),
    ("&quot;", html.unescape),
    ("&#", html.unescape),
    ("\\u", lambda text: _ESCAPED.sub(_unescape_letter, text)),
)


RulesByMark = list[tuple[str, list[Rule]]]


def _by_mark(rules: Iterable[Rule]) -> RulesByMark:
    found: dict[str, list[Rule]] = {}
    for rule in rules:
        found.setdefault(rule.mark, []).append(rule)
    return list(found.items())


_TOKEN_RULES = _by_mark(TOKENS)


class Redactor:
    """The rules of one configuration.

    `keys` are further secret keys, `keep` keys that are never secret (both compared by their
    words, so `api_key` means apiKey too), `patterns` regular expressions whose matches are masked,
    `personal` names of rows of `secret_tokens.PERSONAL`.
    """

    def __init__(
        self,
        keys: Iterable[str] = (),
        keep: Iterable[str] = (),
        patterns: Iterable[str] = (),
        personal: Iterable[str] = (),
    ) -> None:
        self._names = KeyNames(keys, keep)
        self.is_secret_key = self._names.is_secret
        self._patterns = [re.compile(pattern) for pattern in patterns]
        self._search_card = CARD_CANDIDATE.search
        self._any_pattern: Callable[[str], bool] | None = None
        if self._patterns:
            self._any_pattern = lambda text: any(found.search(text) for found in self._patterns)
        rows = [rule for name, rule in PERSONAL.items() if name in personal]
        self._rules = _by_mark([*_TEXTS, *rows])

    def may_hold_secret(self, text: str) -> bool:
        """Whether `text` has to go through `text`; never False for text that would be changed.

        UnicodeEncodeError if the text holds a lone surrogate.
        """
        rare = text.encode().translate(_CLASSES, _COMMON)
        if rare:
            if _SIGN in rare or len(rare) >= _FEWEST:
                return True
            if _DASH in rare and ("--" in text or _has_dashed_token(text)):
                return True
            if _UNDERSCORE in rare and _has_spelled_token(text):
                return True
        lowered = text.lower()
        if "bearer" in lowered or "basic" in lowered:
            return True
        return self._any_pattern is not None and self._any_pattern(text)

    def holds_secret(self, text: str) -> bool:
        """Whether `text` would be changed, or the rules fail for it."""
        return self.may_hold_secret(text) and self.is_changed(text)

    def is_changed(self, text: str) -> bool:
        """The same for text for which `may_hold_secret` is true."""
        try:
            return self.text(text) != text
        except Exception:
            return True

    def text(self, text: str) -> str:
        """`text` with every secret masked; the same object if there is none."""
        given = text
        lowered = text.lower()
        text = self._apply(self._rules, text, lowered)
        runs = text.encode("utf-8", "surrogatepass").translate(_RUNS)
        if _LONG_RUN in runs.translate(_ALL_RUN).decode():
            text = self._apply(_TOKEN_RULES, text, lowered)
        if "@" in text and "://" in text:
            text = _BEFORE_AT.sub(_mask_userinfo_with_slash, text)
        if "-----end" in lowered:
            text = _mask_ends_of_blocks(text)
        if (
            "=" in text or ":" in text or "->" in text or "%3" in text or "%2" in text
        ) and self._names.may_be_in(lowered):
            text = self._mask_key_values(text)
            if "input_value=" in text:
                text = self._mask_input_values(text)
            if "?" in text or "&" in text:
                text = _QUERY_KEY.sub(rf"\1{MASK}", text)
        if "%2" in text or "\\u" in text or "&" in text:
            text = self._mask_spelled(text)
        if runs.count(b"0") >= _FEWEST_DIGITS and self._search_card(text) is not None:
            text = CARDS.apply(text, self.is_secret_key)
        for pattern in self._patterns:
            text = pattern.sub(MASK, text)
        return text if text is given else _quote_masks(text)

    def _apply(self, rules: RulesByMark, text: str, lowered: str) -> str:
        for mark, group in rules:
            if mark in text:
                for rule in group:
                    for hint in rule.hints:
                        if hint in lowered:
                            text = rule.apply(text, self.is_secret_key)
                            break
        return text

    def _mask_spelled(self, text: str) -> str:
        """Text whose quotes or letters are written in another way, if there is a secret in it."""
        for part, read in _SPELLINGS:
            if part not in text:
                continue
            plain = read(text)
            if plain != text and self._names.may_be_in(plain.lower()):
                masked = self._mask_key_values(plain)
                if masked != plain:
                    text = masked
        return text

    def _mask_key_values(self, text: str) -> str:
        pieces: list[str] = []
        done = position = 0
        kind_of = self._names.kind
        while (key := _KEY.search(text, position)) is not None:
            # Where the next key may start: the value may itself be one, as in `error: password=x`.
            position = key.end()
            kind = kind_of(key[1])
            if not kind:
                continue
            value = _VALUE.match(text, position)
            number = _NUMBER.match(text, position) if '"' in key[2] else None
            if value is None or _is_no_secret(value, kind, key[2]):
                continue
            end = number.end() if number else _end_of_value(text, value, kind)
            if not text.startswith(MASK, position):
                pieces += (text[done:position], value["quote"] or "", MASK)
                done = end
            position = end
        if not pieces:
            return text
        pieces.append(text[done:])
        return "".join(pieces)

    def _mask_input_values(self, text: str) -> str:
        """pydantic names the field in the line before, or before a bar in the same line."""
        pieces: list[str] = []
        done = 0
        for match in _INPUT_VALUE.finditer(text):
            before = text[max(done, match.start() - 600) : match.start()]
            lines = before.splitlines()[-2:]
            lines = [line for line in lines if line.strip()]
            names = [line.partition(" | ")[0].strip() for line in lines]
            if any(map(self.is_secret_key, names)) and not match["value"].startswith(MASK):
                pieces += (text[done : match.start("value")], MASK)
                done = match.end("value")
        return "".join((*pieces, text[done:])) if pieces else text


def _is_no_secret(value: re.Match[str], kind: str, sign: str) -> bool:
    """Whether what stands behind a secret key says something about it."""
    quote = value["quote"]
    if quote:
        end = value.end("quote")
        return value.end() == end and value.string.startswith(quote, end)  # an empty text
    text = value[0]
    word = text.rstrip(".!?").lower()
    if word in _PLAIN_FACTS:
        return True
    if word in PROSE and ":" in sign and sign[-1].isspace() and not _SCHEME.fullmatch(text):
        return True
    if kind == "pwd":
        return text.startswith(("/", "~"))  # the working directory
    return kind == "sig" and _SIGNAL.fullmatch(text) is not None


def _end_of_value(text: str, value: re.Match[str], kind: str) -> int:
    """Where the secret value ends: some headers' values hold spaces."""
    end = value.end()
    if value["open"]:
        return end
    if kind == "cookie":
        rest = _HEADER_REST.match(text, end)
        return rest.end() if rest else end
    if kind == "authorization" and _SCHEME.fullmatch(value[0]):
        following = _NEXT_WORD.match(text, end)
        return following.end() if following else end
    return end


def _quote_masks(text: str) -> str:
    if ": " + MASK in text or ":" + MASK in text:
        text = _BARE_MEMBER.sub(rf"\1\2{MASK}\2", text)
    if text.startswith(("[", "{")):
        text = _BARE_ITEM.sub(rf'\1"{MASK}"', text)
    return text


def _mask_userinfo_with_slash(match: re.Match[str]) -> str:
    found = _USERINFO_SLASH.search(match[0])
    return f"{match[0][: found.start()]}://{MASK}@" if found is not None else match[0]


def _mask_ends_of_blocks(text: str) -> str:
    """The lines before the end of a private key whose beginning is elsewhere."""
    pieces: list[str] = []
    done = 0
    for match in _END_OF_BLOCK.finditer(text):
        before = text[done : match.start()]
        kept = before.rstrip(_IN_BLOCK)
        pieces += (kept, MASK)
        done = match.end()
    return "".join((*pieces, text[done:]))
