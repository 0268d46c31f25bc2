"""Payment card numbers in text and among integers: brand, length and Luhn check must all fit."""

from __future__ import annotations

import re

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
