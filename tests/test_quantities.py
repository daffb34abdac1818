"""Quantities as people type and read them."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from math import log10

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servefit.errors import SpecError
from servefit.quantities import (
    amount_text,
    currency_sign,
    digits_within,
    dollars_text,
    duration_text,
    given_duration_text,
    given_text,
    money_text,
    ms_interval_text,
    ms_text,
    number_text,
    parse_amount,
    parse_currency,
    parse_delay_us,
    parse_duration_ms,
    parse_duration_s,
    parse_price_per_hour,
    parse_rate_per_min,
    parse_rate_per_s,
    parse_share,
    percent_text,
    rate_text,
    share_text,
    size_text,
    span_text,
)

# As they are typed


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("60s", 60.0), ("2m", 120.0), ("2min", 120.0), ("250ms", 0.25), ("20 µs", 2e-5), ("1h", 3600.0)],
)
def test_a_duration_is_read_as_people_type_it(text: str, seconds: float) -> None:
    assert parse_duration_s("budget", text) == seconds


@pytest.mark.parametrize(("text", "limit_ms"), [("10ms", 10.0), ("20us", 0.02), ("0.3ms", 0.3), ("1.5s", 1500.0)])
def test_a_limit_is_the_number_that_was_typed_and_no_fraction_beside_it(text: str, limit_ms: float) -> None:
    assert parse_duration_ms("sla", text) == limit_ms


@pytest.mark.parametrize(("text", "delay_us"), [("0", 0), ("500us", 500), ("1ms", 1000), ("0.1us", 1)])
def test_a_delay_is_in_whole_microseconds_and_may_be_none(text: str, delay_us: int) -> None:
    assert parse_delay_us("batch_delay", text) == delay_us


@pytest.mark.parametrize(
    ("text", "per_s"), [("500/s", 500.0), ("30000/min", 500.0), ("7200/h", 2.0), ("2.5 / s", 2.5), ("1e3/s", 1000.0)]
)
def test_a_rate_is_read_as_people_type_it(text: str, per_s: float) -> None:
    assert parse_rate_per_s(text) == per_s


@pytest.mark.parametrize(
    ("text", "per_min"), [("2/min", 2.0), ("0.5/s", 30.0), ("7/min", 7.0), ("0", 0.0), ("0/min", 0.0)]
)
def test_a_rate_a_minute_may_be_zero(text: str, per_min: float) -> None:
    assert parse_rate_per_min("spawn", text) == per_min


@pytest.mark.parametrize(("text", "share"), [("20%", 0.2), ("0.2", 0.2), ("5 %", 0.05)])
def test_a_share_is_read_as_people_type_it(text: str, share: float) -> None:
    assert parse_share("headroom", text) == share


Parse = Callable[[str], float]
PARSERS: dict[str, Parse] = {
    "duration": partial(parse_duration_s, "field"),
    "limit": partial(parse_duration_ms, "field"),
    "delay": partial(parse_delay_us, "field"),
    "rate": partial(parse_rate_per_s, field="field"),
    "spawn": partial(parse_rate_per_min, "field"),
}


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize("text", ["10", "1.5", "1e3"])
def test_whatever_has_no_unit_is_refused_with_those_that_it_may_have(parse: Parse, text: str) -> None:
    with pytest.raises(SpecError, match=f"has no unit; say {text}(ms, {text}s or {text}m|/s or {text}/min)") as caught:
        parse(text)
    assert (caught.value.field, caught.value.value) == ("field", text)


@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@pytest.mark.parametrize(
    "text",
    ["", "soon", "-1ms", "-1/s", "nan", "nans", "infs", "inf/s", "5/", "/s", "1e999s", "1e999999999999/s", "1__0s"],
)
def test_what_is_no_quantity_is_refused(parse: Parse, text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert caught.value.field == "field"


@pytest.mark.parametrize("text", ["0", "0s", "0ms", "-1s"])
def test_a_duration_is_above_zero(text: str) -> None:
    with pytest.raises(SpecError, match="is not above zero"):
        parse_duration_s("budget", text)


@pytest.mark.integration
@pytest.mark.parametrize("parse", PARSERS.values(), ids=PARSERS)
@given(text=st.one_of(st.text(max_size=20), st.from_regex(r"\A[0-9.eE+-]{1,12}(us|ms|s|m|h|/s|/min)?\Z")))
def test_any_text_is_a_quantity_or_refused(parse: Parse, text: str) -> None:
    try:
        value = parse(text)
    except SpecError:
        return
    assert 0 <= value < float("inf")


# As they are read


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567, "1,234,567"),
        (0, "0"),
        (0.0, "0"),
        (3.951e4, "39,500"),
        (5516117.2, "5,520,000"),
        (1234.5, "1,230"),
        (999.96, "1,000"),
        (9.996, "10"),
        (491.2, "491"),
        (54.0, "54"),
        (0.1455, "0.146"),
        (12.25, "12.3"),
        (0.05926, "0.0593"),
        (6.169e-05, "0.0000617"),
        (-6.1e-07, "-0.00000061"),
        (1e-12, "1e-12"),
        (float("inf"), "inf"),
    ],
)
def test_a_number_has_three_digits_and_counts_have_all(value: float, text: str) -> None:
    assert number_text(value) == text


@given(st.floats(min_value=1e-9, max_value=9e14), st.booleans())
def test_what_is_written_of_a_number_is_the_number_to_three_digits(value: float, below_zero: bool) -> None:
    signed = -value if below_zero else value
    text = number_text(signed)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(signed, rel=0.00501)
    assert len(text.replace(",", "").replace(".", "").strip("-0")) <= 3


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (5.926e-05, "59.3 us"),
        (3e-07, "0.3 us"),
        (0.00099996, "1 ms"),
        (0.01, "10 ms"),
        (0.9996, "1 s"),
        (1.5, "1.5 s"),
        (3600, "3,600 s"),
        (0, "0 s"),
    ],
)
def test_a_time_is_in_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@given(st.floats(min_value=1e-6, max_value=0.999))
def test_below_a_second_the_number_is_from_one_to_a_thousand(seconds: float) -> None:
    number, unit = duration_text(seconds).split()
    assert 1 <= float(number) < 1000
    assert float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit] == pytest.approx(seconds, rel=0.00501)


def test_what_was_given_keeps_its_digits() -> None:
    assert given_text(1234567.5) == "1,234,567.5"
    assert given_text(500) == given_text(500.0) == "500"
    assert given_text(0.1 + 0.2) == "0.3"
    assert given_duration_text(0.02 / 1000) == "20 us"
    assert given_duration_text(0.012345) == "12.345 ms"


@given(st.floats(min_value=1e-6, max_value=1e5).map(lambda value: float(f"{value:.6g}")))
def test_a_limit_that_is_written_reads_as_the_same_limit(limit_s: float) -> None:
    text = given_duration_text(limit_s).replace(",", "")
    assert parse_duration_s("sla", text) == pytest.approx(limit_s, rel=1e-11)


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0 s"), (59.6, "1 min"), (200, "3 min 20 s"), (3600, "1 h"), (3900, "1 h 5 min")]
)
def test_how_long_something_goes_on_is_in_the_units_people_use(seconds: float, said: str) -> None:
    assert span_text(seconds) == said


def test_shares_are_per_cents_and_beyond_ten_times_they_are_times() -> None:
    assert percent_text(0.0751) == "7.51 %"
    assert share_text(0.06, "the limit") == "6 % of the limit"
    assert share_text(2.5, "the limit") == "250 % of the limit"
    assert share_text(5122.24, "the limit") == "5,120 times the limit"


def test_sizes_and_prices_are_written_as_people_write_them() -> None:
    assert size_text(8 * 2**30) == "8 GiB"
    assert size_text(250 * 2**20) == "250 MiB"
    assert [dollars_text(amount) for amount in (0.115, 12.3456, 1240, 5.791e-06, 0.1, 0)] == [
        "$0.115",
        "$12.35",
        "$1,240.00",
        "$0.00000579",
        "$0.10",
        "$0.00",
    ]


@given(st.floats(min_value=1e-6, max_value=1e6))
def test_a_price_is_never_rounded_away(dollars: float) -> None:
    shown = float(dollars_text(dollars).removeprefix("$").replace(",", ""))
    assert abs(log10(shown / dollars)) < 0.3 if shown else dollars < 0.005


def test_other_currencies_than_dollars_are_named_by_their_code() -> None:
    assert [money_text(amount, "EUR") for amount in (0.115, 12.3456, 1240)] == [
        "0.115 EUR",
        "12.35 EUR",
        "1,240.00 EUR",
    ]
    assert money_text(0.115, "USD") == dollars_text(0.115)
    assert [currency_sign(currency) for currency in ("USD", "CHF")] == ["$", "CHF"]


@pytest.mark.parametrize(
    ("text", "price"),
    [
        ("0.21/h", (0.21, None)),
        ("$0.21/h", (0.21, "USD")),
        ("0.21 eur / hour", (0.21, "EUR")),
        ("CHF .5/h", (0.5, "CHF")),
        ("1e-3EUR/h", (0.001, "EUR")),
        ("USD 2 USD/h", (2.0, "USD")),
    ],
)
def test_prices_are_by_the_hour_in_a_currency(text: str, price: tuple[float, str | None]) -> None:
    assert parse_price_per_hour("price", text) == price


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a price such as 0.21/h or 0.21EUR/h"),
        ("/h", "is not a price"),
        ("0,21/h", "is not a price"),
        ("1/d", "is not a price"),
        ("1/h/h", "is not a price"),
        ("1EU/h", "is not a price"),
        ("1", "has no unit; say 1/h"),
        ("2EUR", "has no unit; say 2EUR/h"),
        ("0/h", "is not above zero"),
        ("-1/h", "is not above zero"),
        ("nan/h", "is not finite"),
        ("1e400/h", "is not finite"),
        ("$1EUR/h", "is in two currencies: USD and EUR; give one of them"),
    ],
)
def test_what_is_no_price_is_refused(text: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_price_per_hour("price", text)
    assert words in str(caught.value)


def test_an_amount_and_a_currency_are_parsed_by_themselves() -> None:
    assert parse_amount("price", "4200 EUR") == (4200.0, "EUR")
    with pytest.raises(SpecError, match="is not an amount of money such as 4200 or 4200EUR"):
        parse_amount("price", "much")
    assert parse_currency("currency", " eur") == "EUR"
    with pytest.raises(SpecError, match="is not the code of a currency"):
        parse_currency("currency", "euro")


@pytest.mark.parametrize(
    ("value", "interval", "text"),
    [
        (59.26, None, "59.3"),
        (59.26, (50.1, 70.2), "59"),  # 10 to both sides, given with two digits
        (59.26, (51.0, 67.6), "59"),  # 8.3, with one
        (59.26, (14.0, 104.0), "60"),  # 45
        (4.02, (1.2, 6.29), "4"),
        (1.0213, (0.9512, 1.0934), "1.02"),
        (12345.0, (10000.0, 14000.0), "12,300"),
        (5.0, (0.1, 300.0), "5"),  # it has one digit, whatever the interval
        (59.26, (59.25999, 59.26001), "59.3"),  # and three at most
        (59.26, (59.26, 59.26), "59.3"),
        (59.26, (0.0, float("inf")), "59.3"),
        (0.0, (-1.0, 1.0), "0"),
        (float("nan"), (1.0, 2.0), "nan"),
    ],
)
def test_a_figure_has_the_digits_that_its_interval_supports(
    value: float, interval: tuple[float, float] | None, text: str
) -> None:
    assert number_text(value, digits=digits_within(value, interval)) == text


@given(st.floats(min_value=1e-6, max_value=1e6), st.floats(min_value=1e-3, max_value=3), st.floats(0, 1))
def test_what_is_rounded_off_is_small_beside_the_interval(value: float, relative_width: float, above: float) -> None:
    width = value * relative_width
    interval = (value - width * (1 - above), value + width * above)
    digits = digits_within(value, interval)
    text = number_text(value, digits=digits).replace(",", "")
    assert "e" not in text
    # A fifth of half the interval, or what three digits leave of any number.
    assert abs(float(text) - value) <= max(0.2 * width / 2, 0.00501 * value)
    # A digit more would be one that the interval does not support: it is worth less than a third of its half.
    assert digits == 3 or 10.0**-(digits) * value < width


@given(st.floats(min_value=1e-3, max_value=1e6), st.floats(min_value=1e-3, max_value=0.33))
def test_a_time_is_written_with_its_interval_to_the_same_digit(value_ms: float, relative: float) -> None:
    low_ms, high_ms = value_ms * (1 - relative), value_ms * (1 + relative)
    text = ms_interval_text(value_ms, low_ms, high_ms)
    assert text.startswith(f"{ms_text(value_ms, (low_ms, high_ms))} (")
    assert text.count(" to ") == 1
    assert not re.search(r"1,?000 [um]s", text)


def test_the_interval_of_a_time_takes_its_digits() -> None:
    assert ms_text(0.05926) == "59.3 us"
    assert ms_text(0.05926, (0.0501, 0.0702)) == "59 us"
    assert ms_interval_text(0.05926, 0.0501, 0.0702) == "59 us (50 us to 70 us)"
    assert ms_interval_text(0.9951, 0.9512, 1.0934) == "1 ms (950 us to 1.09 ms)"


def test_an_interval_wider_than_a_factor_of_two_stands_in_place_of_the_figure() -> None:
    assert ms_text(0.05926, (0.05, 0.1)) == "59 us"
    assert ms_text(0.05926, (0.05, 0.101)) == "between 50 us and 101 us"
    assert ms_interval_text(0.05926, 0.0141, 1.049) == "between 14.1 us and 1.05 ms"
    assert ms_interval_text(5.0, 0.0, 300.0) == "between 0 s and 300 ms"


@pytest.mark.parametrize(
    ("per_s", "text"),
    [
        (0, "0/s"),
        (0.25, "0.25/s"),
        (491.2, "491/s"),
        (80738.0, "80,700/s"),
        (99949.0, "99,900/s"),
        (99951.0, "0.1 M/s"),
        (700000, "0.7 M/s"),
        (1193120.0, "1.19 M/s"),
        (-5.0, "-5/s"),
        (float("inf"), "inf/s"),
        (float("nan"), "nan/s"),
    ],
)
def test_a_rate_is_in_the_unit_that_fits(per_s: float, text: str) -> None:
    assert rate_text(per_s) == text


@given(st.floats(min_value=1e-3, max_value=1e12), st.integers(1, 3))
def test_what_is_written_of_a_rate_is_the_rate(per_s: float, digits: int) -> None:
    number, _, unit = rate_text(per_s, digits=digits).replace("/s", "").replace(",", "").partition(" ")
    assert "e" not in number
    assert unit in ("", "M")
    assert float(number) < 100_000 or unit
    assert float(number) * (1e6 if unit else 1) == pytest.approx(per_s, rel=0.501 * 10 ** (1 - digits))


def test_small_amounts_are_in_cents() -> None:
    amounts = (0.045, 0.115, 6.17e-05, 0.01, 0.9996, 1.24, 12.3456, 0, -0.05)
    assert [amount_text(amount) for amount in amounts] == [
        "4.5 cents",
        "11.5 cents",
        "0.00617 cents",
        "1 cent",
        "$1.00",
        "$1.24",
        "$12.35",
        "$0.00",
        "-5 cents",
    ]
    assert amount_text(0.0451, "EUR", digits=2) == "0.045 EUR"


@given(st.floats(min_value=1e-9, max_value=0.99), st.integers(1, 3))
def test_what_is_written_of_a_small_amount_is_the_amount(dollars: float, digits: int) -> None:
    text = amount_text(dollars, digits=digits)
    number, _, unit = text.removeprefix("$").partition(" ")
    assert float(number) < 100 or unit == ""
    assert float(number) / (100 if unit else 1) == pytest.approx(dollars, rel=0.501 * 10 ** (1 - digits))
