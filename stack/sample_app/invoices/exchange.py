"""Exchange rates, as a feed delivered them; `converted` in views.py asks for one."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

# The feed sends "n/a" on days without a quotation for silver. It is left in on purpose: this is the
# sample app's bug, and the log shows how it surfaces, with the cause behind the error.
FEED = {"USD": "1.0842", "GBP": "0.8561", "CHF": "0.9375", "XAG": "n/a"}


class ExchangeRateError(Exception):
    """The feed's entry for a currency cannot be used."""


def rate_for(currency: str) -> Decimal:
    """Return how much of `currency` one euro buys; raises ExchangeRateError."""
    try:
        return Decimal(FEED[currency])
    except InvalidOperation as error:
        raise ExchangeRateError(f"no usable exchange rate for {currency}") from error
