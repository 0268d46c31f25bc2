"""Secrets that text shows by their form: one row per kind, with what it masks and what it keeps.

`redaction` applies the rows; its own code is only for `key=value`. A new kind of secret is a new
row: the tests take their inputs from the table.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from logstack_django.key_names import vocabulary

MASK = "[redacted]"
IsSecret = Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of secret in text.

    `mark` is a character that every such text has, or empty; `hints` are what it has in lower case,
    at least one of them. Both are checked before the pattern, because most text has neither. With
    `leads` a match starts with a hint, so that only these places are looked at.
    Of a match the group `value` is masked, or all of it without such a group; where the pattern has
    a group `key`, only if it names a secret; where there is a function `decide`, only if it agrees.
    `examples` are texts with what is shown of them, `kept` are texts that stay as they are.
    """

    name: str
    mark: str
    hints: tuple[str, ...]
    pattern: re.Pattern[str]
    examples: tuple[tuple[str, str], ...]
    kept: tuple[str, ...]
    decide: Callable[[re.Match[str]], bool] | None = None
    leads: bool = True

    def apply(self, text: str, is_secret: IsSecret) -> str:
        """`text` with the secrets of this kind masked; the same object if there is none."""
        groups = self.pattern.groupindex
        by_key, part = "key" in groups, "value" if "value" in groups else 0
        pieces: list[str] = []
        done = 0
        for match in self._matches(text):
            start, end = match.span(part)
            if (
                start < done
                or text.startswith(MASK, start)
                or (by_key and not any(map(is_secret, _names(match["key"]))))
                or (self.decide is not None and not self.decide(match))
            ):
                continue
            pieces += (text[done:start], MASK)
            done = end
        return "".join((*pieces, text[done:])) if pieces else text

    def _matches(self, text: str) -> Iterator[re.Match[str]]:
        lowered = text.lower()
        many = sum(map(lowered.count, self.hints)) * _SPARSE > len(text)
        if not self.leads or many or len(lowered) != len(text):
            yield from self.pattern.finditer(text)
            return
        end = 0
        for start in sorted(place for hint in self.hints for place in _places(lowered, hint)):
            if start >= end and (match := self.pattern.match(text, start)) is not None:
                end = match.end()
                yield match


# Looking at each place costs more than reading the text where there is one in so many characters.
_SPARSE = 16


def _places(text: str, part: str) -> Iterator[int]:
    place = text.find(part)
    while place >= 0:
        yield place
        place = text.find(part, place + 1)


_NAME = re.compile(r"[^\W\d][\w.\-]*")


def _names(key: str) -> Iterable[str]:
    """One key, or those of a list of columns."""
    return _NAME.findall(key) if "," in key or "(" in key or " " in key else (key,)


# What may follow "bearer" in prose, and a key with a colon.
PROSE = vocabulary(
    "authentication authorization scheme schemes token tokens header headers credential "
    "credentials realm challenge format required missing invalid expired failed denied must this "
    "these that not no error errors decode disabled enabled is are was were has have had should "
    "cannot could can can't may the an to for of and or in on at by with from failure incorrect "
    "wrong mismatch unknown unsupported empty blank changed updated rejected accepted valid "
    "verified unverified malformed revoked given without does did will field check too please "
    "your you it"
)


def is_no_prose(match: re.Match[str]) -> bool:
    return match["value"].rstrip(".,:;!?").lower() not in PROSE


_FEWEST = 8


def is_random(match: re.Match[str]) -> bool:
    """Whether a token has enough digits, capitals and signs; a name has few of them.

    `Redactor.may_hold_secret` relies on that number.
    """
    return sum(not sign.islower() for sign in match[0]) >= _FEWEST


def rule(
    name: str,
    mark: str,
    hints: str,
    pattern: str,
    examples: Iterable[tuple[str, str]],
    kept: Iterable[str] = (),
    decide: Callable[[re.Match[str]], bool] | None = None,
    flags: re.RegexFlag = re.NOFLAG,
    leads: bool = True,
) -> Rule:
    return Rule(
        name,
        mark,
        tuple(hints.split("|")),
        re.compile(pattern, flags | re.VERBOSE),
        tuple(examples),
        tuple(kept),
        decide,
        leads,
    )
