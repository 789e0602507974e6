//! Exact numbers and instants. Money never touches a float.

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, de};

/// A price in US dollars a share. Exact; written as a JSON string.
pub type Price = Decimal;
/// A number of shares; negative only where a signed position is meant. Exact; written as a JSON string.
pub type Quantity = Decimal;
/// An amount in US dollars. Exact; written as a JSON string.
pub type Money = Decimal;
/// An instant, UTC, to the nanosecond; written as RFC 3339.
pub type Timestamp = jiff::Timestamp;

/// No price, quantity or amount that the broker tells is as large; products of two still fit a decimal.
const AMOUNT_MAX: f64 = 1e13;
/// No share is cheaper. Dollars divided by less would not fit a decimal.
const PRICE_MIN: Price = Price::from_parts(1, 0, 0, false, 9);
/// No share is dearer: a billion dollars, and the dearest there is costs about a million.
const PRICE_MAX: Price = Price::from_parts(1_000_000_000, 0, 0, false, 0);
/// No message names more shares: 10^15, more than all that there are. A bar adds up what the broker tells in many.
const QUANTITY_MAX: Quantity = Quantity::from_parts(2_764_472_320, 232_830, 0, false, 0);

/// The decimal that a float from the broker's wire means: its shortest round-trip form
/// (so `66.47f64` is exactly `66.47`). `None` when the value is not finite, is as large
/// as nothing real is (the wire's "unset" among it), or has more digits than a decimal holds.
///
/// # Examples
/// ```
/// # use protocol::units::{exact, Price};
/// assert_eq!(exact(66.47), Some("66.47".parse::<Price>().unwrap()));
/// assert_eq!(exact(f64::NAN), None);
/// ```
#[must_use]
pub fn exact(value: f64) -> Option<Decimal> {
    if !value.is_finite() || value.abs() >= AMOUNT_MAX {
        return None;
    }
    // Display prints the shortest text that reads back as the same double, never an exponent.
    format!("{value}")
        .parse::<Decimal>()
        .ok()
        .map(|decimal| decimal.normalize())
}

/// [`exact`], for a price. One of nothing is left to who reads it: shares may be given away.
#[must_use]
pub fn exact_price(value: f64) -> Option<Price> {
    exact(value).filter(|price| price.abs() <= PRICE_MAX)
}

/// Whether a share may cost so much. What is reckoned from such prices stays far from the ends of a decimal, at which
/// it panics: one message with a price beyond them would end every process that reads it, again and again.
#[must_use]
pub fn is_price(value: Price) -> bool {
    (PRICE_MIN..=PRICE_MAX).contains(&value)
}

/// Whether an amount in dollars may be real, by the bound of [`exact`].
#[must_use]
pub fn is_amount(value: Money) -> bool {
    approximate(value).abs() < AMOUNT_MAX
}

/// Reads a price of a message; with one that no share has ([`is_price`]) the whole message is refused.
pub(crate) fn read_price<'de, D: Deserializer<'de>>(from: D) -> Result<Price, D::Error> {
    // A decimal has a `deserialize` of its own, of bytes.
    sound_price(Deserialize::deserialize(from)?)
}

/// The same, where there may be none.
pub(crate) fn read_price_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Price>, D::Error> {
    let price = Option::<Price>::deserialize(from)?;
    price.map(sound_price).transpose()
}

/// Reads a number of shares of a message; with one that can't be ([`QUANTITY_MAX`]) the whole message is refused.
pub(crate) fn read_quantity<'de, D: Deserializer<'de>>(from: D) -> Result<Quantity, D::Error> {
    sound_quantity(Deserialize::deserialize(from)?)
}

/// The same, where there may be none.
pub(crate) fn read_quantity_if_any<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Quantity>, D::Error> {
    let quantity = Option::<Quantity>::deserialize(from)?;
    quantity.map(sound_quantity).transpose()
}

fn sound_price<E: de::Error>(price: Price) -> Result<Price, E> {
    if is_price(price) {
        return Ok(price);
    }
    let text = format!("{price} is no price of a share: it is from {PRICE_MIN} to {PRICE_MAX} dollars");
    Err(E::custom(text))
}

fn sound_quantity<E: de::Error>(quantity: Quantity) -> Result<Quantity, E> {
    if (Quantity::ZERO..=QUANTITY_MAX).contains(&quantity) {
        return Ok(quantity);
    }
    let text = format!("{quantity} is no number of shares: it is from 0 to {QUANTITY_MAX}");
    Err(E::custom(text))
}

/// A commission as the ledger keeps it: [`exact`], rounded half to even at one millionth of a dollar.
#[must_use]
pub fn exact_commission(value: f64) -> Option<Money> {
    let wide = exact(value)?;
    Some(
        wide.round_dp_with_strategy(6, rust_decimal::RoundingStrategy::MidpointNearestEven)
            .normalize(),
    )
}

/// The nearest float, for charts, features and models only.
#[must_use]
pub fn approximate(value: Decimal) -> f64 {
    rust_decimal::prelude::ToPrimitive::to_f64(&value).unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn border_floats_become_what_they_mean() {
        let cases = [
            (0.1, "0.1"),
            (181.52, "181.52"),
            (0.3985, "0.3985"),
            (1e-7, "0.0000001"),
            (-0.0, "0"),
            (3.0, "3"),
        ];
        for (float, text) in cases {
            assert_eq!(
                exact(float).map(|d| d.to_string()).as_deref(),
                Some(text),
                "{float}"
            );
        }
        for bad in [
            f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            -f64::MAX,
            1e308,
        ] {
            assert_eq!(exact(bad), None, "{bad}");
        }
    }

    #[test]
    fn prices_of_the_broker_have_the_bound_of_messages() {
        assert_eq!(exact_price(1e9), Some(PRICE_MAX));
        assert_eq!(exact_price(0.0), Some(Price::ZERO));
        for bad in [1.1e9, -1.1e9, 9e12, f64::MAX, f64::NAN] {
            assert_eq!(exact_price(bad), None, "{bad}");
        }
        assert_eq!(QUANTITY_MAX.to_string(), "1000000000000000");
    }

    #[test]
    fn amounts_that_would_not_fit_are_none() {
        for (text, real) in [
            ("-100.5", true),
            ("9999999999999", true),
            ("10000000000000", false),
            ("79228162514264337593543950335", false),
            ("-79228162514264337593543950335", false),
        ] {
            assert_eq!(is_amount(text.parse().unwrap()), real, "{text}");
        }
    }

    #[test]
    fn commissions_round_half_even() {
        assert_eq!(exact_commission(0.350_000_5).unwrap().to_string(), "0.35");
        assert_eq!(exact_commission(0.350_001_5).unwrap().to_string(), "0.350002");
    }

    proptest::proptest! {
        #[test]
        fn cents_survive_the_border(cents in 0i64..1_000_000_000) {
            let decimal = Decimal::new(cents, 2);
            proptest::prop_assert_eq!(exact(approximate(decimal)), Some(decimal.normalize()));
        }
    }
}
