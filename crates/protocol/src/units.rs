//! Exact numbers and instants. Money never touches a float.

use rust_decimal::Decimal;

/// A price in US dollars a share. Exact; written as a JSON string.
pub type Price = Decimal;
/// A number of shares; negative only where a signed position is meant. Exact; written as a JSON string.
pub type Quantity = Decimal;
/// An amount in US dollars. Exact; written as a JSON string.
pub type Money = Decimal;
/// An instant, UTC, to the nanosecond; written as RFC 3339.
pub type Timestamp = jiff::Timestamp;

/// No price, quantity or amount is as large; products of two still fit a decimal.
const AMOUNT_MAX: f64 = 1e13;

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
