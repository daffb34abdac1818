"""Quantities as people type and read them: times, rates, shares, sizes, prices.

Whatever is typed has its unit, on the command line as in job files: 10ms, 2m, 500/s. Only 0 needs none. Whatever is
written has three significant digits at most, and no more than its interval supports, thousands apart, and the unit that
fits. Programs are given plain numbers, under names that say the unit; this module is not for them.
"""

from __future__ import annotations

import re
from decimal import ROUND_HALF_UP, Decimal
from math import isfinite

from servefit.currencies import CURRENCIES
from servefit.errors import SpecError

DIGITS = 3
"""As many as a measured figure is worth, and an eye takes in."""

_ALL_DIGITS = 12
"""Of a number that somebody gave: all that are not the noise of binary fractions."""

_PLAIN = (1e-9, 1e15)
"""Numbers outside of this have an exponent: nobody counts so many zeros."""

_MILLIONS_FROM = 100_000
"""Rates from here on are told in millions. Chosen: five digits are taken in at once, six are counted."""

DOLLARS = "USD"
"""The currency whose amounts are written with a sign, and in cents below one: that of all prices that nobody named a
currency for."""

_MAX_AS_PERCENT = 10.0
"""A larger share is told as times: 1,000 % is harder to take in than 10 times."""

_NUMBER = re.compile(r"[0-9.eE+-]+")
_DURATION = re.compile(rf"(?P<number>{_NUMBER.pattern})\s*(?P<unit>us|µs|ms|s|m|min|h)?")
_RATE = re.compile(rf"(?P<number>{_NUMBER.pattern})\s*(/\s*(?P<unit>us|µs|ms|s|m|min|h))?")
_AMOUNT = re.compile(
    r"(?P<before>[A-Z]{3}(?![A-Z])|\$)?\s*(?P<number>[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?|[+-]?(nan|inf))"
    r"\s*(?P<after>[A-Z]{3}|\$)?",
    re.IGNORECASE,
)
_PER_HOUR = re.compile(r"\s*/\s*h(?:our)?\s*$")
_SHARE = re.compile(r"(?P<number>[0-9]*\.?[0-9]+)\s*(?P<percent>%)?")
_SECONDS = {
    "us": Decimal("1e-6"),
    "µs": Decimal("1e-6"),
    "ms": Decimal("1e-3"),
    "s": Decimal(1),
    "m": Decimal(60),
    "min": Decimal(60),
    "h": Decimal(3600),
}


def parse_duration_s(field: str, text: str) -> float:
    """Parse "100ms", "60s" or "2m" into seconds. Raises SpecError for ``field``."""
    return _above_zero(field, text, _seconds(field, text))


def parse_duration_ms(field: str, text: str) -> float:
    """Parse the same into milliseconds."""
    return _above_zero(field, text, _seconds(field, text) * 1000)


def parse_delay_us(field: str, text: str) -> int:
    """Parse the same into whole microseconds, one at least, or 0 for "0"."""
    if text.strip() == "0":
        return 0
    return max(1, round(1_000_000 * parse_duration_s(field, text)))


def parse_rate_per_s(text: str, *, field: str = "rate") -> float:
    """Parse "500/s" or "30000/min" into a rate a second. Raises SpecError for ``field``."""
    return _above_zero(field, text, _per_s(field, text))


def parse_rate_per_min(field: str, text: str) -> float:
    """Parse "2/min" into a rate a minute, which may be 0. Raises SpecError for ``field``."""
    per_min = _finite(60 * _per_s(field, text))
    if per_min is None or per_min < 0:
        raise SpecError(field, text, "is not a rate such as 2/min or 0")
    return per_min


def parse_share(field: str, text: str) -> float:
    """Parse "20%" or "0.2". Raises SpecError for ``field``."""
    match = _SHARE.fullmatch(text.strip())
    if match is None:
        raise SpecError(field, text, "is not a share such as 20% or 0.2")
    return float(match["number"]) / (100 if match["percent"] else 1)


def parse_amount(field: str, text: str) -> tuple[float, str | None]:
    """Parse an amount of money, "4200" or "4200EUR", into the amount and its currency, None where it says none. Raises
    SpecError for ``field``, also for an amount that is not above zero."""
    return _money(field, text, text, like="an amount of money such as 4200 or 4200EUR")


def parse_price_per_hour(field: str, text: str) -> tuple[float, str | None]:
    """Parse "0.21/h" or "0.21EUR/h" in the same way."""
    like = "a price such as 0.21/h or 0.21EUR/h"
    amount, *unit = _PER_HOUR.split(text.strip(), maxsplit=1)
    price = _money(field, text, amount, like=like)
    if unit != [""]:
        raise SpecError(field, text, "has no unit", remedy=f"say {text.strip()}/h")
    return price


_A_CODE = "give one such as USD or EUR"


def _money(field: str, text: str, amount: str, *, like: str) -> tuple[float, str | None]:
    match = _AMOUNT.fullmatch(amount.strip())
    if match is None:
        raise SpecError(field, text, f"is not {like}")
    named = ["USD" if name == "$" else name.upper() for name in (match["before"], match["after"]) if name]
    if len(set(named)) > 1:
        raise SpecError(field, text, f"is in two currencies: {' and '.join(named)}", remedy="give one of them")
    value = float(match["number"])
    if not isfinite(value):
        raise SpecError(field, text, "is not finite")
    if value <= 0:
        raise SpecError(field, text, "is not above zero")
    if named and named[0] not in CURRENCIES:
        raise SpecError(field, text, f"is in {named[0]}, which is no currency of ISO 4217", remedy=_A_CODE)
    return value, named[0] if named else None


def parse_currency(field: str, text: str) -> str:
    """Return the code of a currency in capital letters, as ISO 4217 has them. Raises SpecError for ``field``."""
    code = text.strip().upper()
    if code not in CURRENCIES:
        raise SpecError(field, text, "is not the code of a currency of ISO 4217", remedy=_A_CODE)
    return code


def _seconds(field: str, text: str) -> Decimal:
    match = _DURATION.fullmatch(text.strip())
    number = None if match is None else _number(match["number"])
    if match is None or number is None:
        raise SpecError(field, text, "is not a duration such as 100ms, 60s or 2m")
    if match["unit"] is None and number:
        plain = text.strip()
        raise SpecError(field, text, "has no unit", remedy=f"say {plain}ms, {plain}s or {plain}m")
    return number * _SECONDS[match["unit"] or "s"]


def _per_s(field: str, text: str) -> Decimal:
    match = _RATE.fullmatch(text.strip())
    number = None if match is None else _number(match["number"])
    if match is None or number is None:
        raise SpecError(field, text, "is not a rate such as 500/s or 30000/min")
    if match["unit"] is None and number:
        plain = text.strip()
        raise SpecError(field, text, "has no unit", remedy=f"say {plain}/s or {plain}/min")
    return number / _SECONDS[match["unit"] or "s"]


def _number(text: str) -> Decimal | None:
    """Parse a number that a float can hold."""
    try:
        number = Decimal(text)
    except ArithmeticError:
        return None
    return None if _finite(number) is None else number


def _finite(number: Decimal) -> float | None:
    value = float(number)
    return value if isfinite(value) else None


def _above_zero(field: str, text: str, number: Decimal) -> float:
    value = _finite(number)
    if value is None or not value > 0:
        raise SpecError(field, text, "is not above zero")
    return value


def number_text(value: float, *, digits: int = DIGITS) -> str:
    """Return a whole number in full, any other with ``digits`` significant digits: 1,029 and 0.0593."""
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not isfinite(value):
        return f"{value:g}"
    if not _PLAIN[0] <= abs(value) < _PLAIN[1]:
        return f"{value:.{digits}g}"
    # As one does by hand, and browsers do: 0.1455 is 0.146, whatever its binary fraction.
    exact = Decimal(repr(float(value)))
    rounded = exact.quantize(Decimal(1).scaleb(exact.adjusted() - digits + 1), ROUND_HALF_UP)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def given_text(value: float) -> str:
    """Return a number that somebody gave, with the digits that it was given with."""
    return number_text(value if isinstance(value, int) else float(value), digits=_ALL_DIGITS)


def duration_text(seconds: float, *, digits: int = DIGITS) -> str:
    """Return a time in the unit that fits: 59.3 us, 10 ms, 1.5 s."""
    for unit, per_s in (("us", 1e6), ("ms", 1e3)):
        # Rounded first: 999.9 us are 1 ms.
        if abs(float(f"{seconds * per_s:.{digits}g}")) < 1000:
            return f"{number_text(float(seconds * per_s), digits=digits)} {unit}" if seconds else "0 s"
    return f"{number_text(float(seconds), digits=digits)} s"


def digits_within(value: float, interval: tuple[float, float] | None, *, at_most: int = DIGITS) -> int:
    """Return how many significant digits of ``value`` an interval around it supports: one at least.

    The last digit stands where the second digit of half the interval does, or the first one where the second would
    be noise [Particle Data Group, Review of Particle Physics, 5.3 Rounding: from 3.55 on, one digit of the uncertainty
    is given, below it two].

    Args:
        value: The estimate, or an end of its interval, which then has the same last digit.
        interval: The lower and the upper end; None where it is not known.
        at_most: The digits of a value whose interval supports more, or is not known.

    Returns:
        The number of digits, for ``number_text`` and ``duration_text``.

    Example:
        ``number_text(59.26, digits=digits_within(59.26, (50.1, 70.2)))`` is 59.
    """
    half = 0.0 if interval is None else abs(interval[1] - interval[0]) / 2
    if not half or not isfinite(half) or not value or not isfinite(value):
        return at_most
    uncertainty = Decimal(half)
    leading = uncertainty.adjusted()
    last = leading - 1 if uncertainty.scaleb(-leading) < _TWO_DIGITS_BELOW else leading
    return min(at_most, max(1, Decimal(repr(float(value))).adjusted() - last + 1))


_TWO_DIGITS_BELOW = Decimal("3.55")
"""Uncertainties whose first digits are below this are given with two digits [Particle Data Group]."""


def is_wide(interval: tuple[float, float]) -> bool:
    """Return whether an interval is wider than a factor of two: then it is printed in place of the figure, whose digits
    would look like knowledge."""
    return interval[1] > 2 * interval[0]


def between_text(low: str, high: str) -> str:
    """Return what is printed in place of a figure that is known within an interval alone: between 14 us and 104 us."""
    return f"between {low} and {high}"


def ms_text(value_ms: float, interval_ms: tuple[float, float] | None = None) -> str:
    """Return a time that is in milliseconds, with the digits that its interval supports: 59 us; of a wide one the
    interval alone: between 14 us and 104 us."""
    if interval_ms is not None and is_wide(interval_ms):
        return between_text(*(duration_text(end_ms / 1000) for end_ms in interval_ms))
    return duration_text(value_ms / 1000, digits=digits_within(value_ms, interval_ms))


def ms_interval_text(value_ms: float, low_ms: float, high_ms: float) -> str:
    """Return a time in milliseconds with its interval, all to the same digit: 59 us (51 us to 70 us); of a wide one the
    interval alone."""
    interval_ms = (low_ms, high_ms)
    value = ms_text(value_ms, interval_ms)
    if is_wide(interval_ms):
        return value
    return f"{value} ({ms_text(low_ms, interval_ms)} to {ms_text(high_ms, interval_ms)})"


def rate_text(per_s: float, *, digits: int = DIGITS) -> str:
    """Return a rate in the unit that fits: 491/s, 80,700/s, 0.7 M/s."""
    # Rounded first: 99,999 are 0.1 million.
    if isfinite(per_s) and abs(float(f"{per_s:.{digits}g}")) >= _MILLIONS_FROM:
        return f"{number_text(per_s / 1e6, digits=digits)} M/s"
    return f"{number_text(float(per_s), digits=digits)}/s"


def amount_text(amount: float, currency: str = DOLLARS, *, digits: int = DIGITS) -> str:
    """Return an amount of money in the unit that fits: 4.5 cents, $1.24, 0.045 EUR."""
    if currency != DOLLARS:
        return f"{number_text(float(amount), digits=digits)} {currency}"
    # Rounded first: 99.96 cents are a dollar.
    if not amount or not isfinite(amount) or abs(float(f"{amount:.{digits}g}")) >= 1:
        return dollars_text(amount)
    cents = number_text(100.0 * amount, digits=digits)
    return f"{cents} cent" if cents == "1" else f"{cents} cents"


def given_duration_text(seconds: float) -> str:
    """Return a time that somebody gave, with the digits that it was given with."""
    return duration_text(seconds, digits=_ALL_DIGITS)


def span_text(seconds: float) -> str:
    """Return a span of time in whole seconds: 12 s, 3 min 20 s and 1 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def percent_text(share: float) -> str:
    """Return a share of 1: 7.5 %."""
    return f"{number_text(100.0 * share)} %"


def share_text(share: float, of: str) -> str:
    """Return a share of something: 6 % of the limit, or 5,120 times the limit."""
    if share > _MAX_AS_PERCENT:
        return f"{number_text(float(share))} times {of}"
    return f"{percent_text(share)} of {of}"


def size_text(size_bytes: float) -> str:
    """Return a size of memory: 250 MiB, 7.45 GiB."""
    mib = size_bytes / 2**20
    return f"{number_text(mib / 1024)} GiB" if mib >= 1000 else f"{number_text(mib)} MiB"


def count_text(number: int, noun: str) -> str:
    """Return a number of things: 1 worker, 1,200 workers."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def money_text(amount: float, currency: str) -> str:
    """Return a price, to the cent at least: $0.115, $12.35, $1,240.00; in other currencies 0.115 EUR."""
    cents = f"{amount:,.2f}"
    precise = number_text(float(amount))
    text = precise if abs(amount) < 1 and len(precise) > len(cents) else cents
    return f"${text}" if currency == "USD" else f"{text} {currency}"


def dollars_text(dollars: float) -> str:
    """Return a price in US dollars as :func:`money_text` does."""
    return money_text(dollars, "USD")


def currency_sign(currency: str) -> str:
    """Return what stands for a currency in the head of a column: $ for US dollars, else its code."""
    return "$" if currency == "USD" else currency
