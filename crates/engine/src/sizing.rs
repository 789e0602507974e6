//! How much: the position an entry aims at, in whole shares.

use protocol::settings::{Entry, Risk};
use protocol::{Price, Quantity};
use rust_decimal::Decimal;

/// Whole shares that the entry's dollars buy at `price`, within the limits of one symbol. Zero when not even one.
#[must_use]
pub fn target(entry: &Entry, risk: &Risk, price: Price) -> Quantity {
    if price <= Decimal::ZERO {
        return Decimal::ZERO;
    }
    let dollars = entry.notional.min(risk.notional_per_symbol_max);
    (dollars / price).floor().min(risk.shares_per_symbol_max.floor())
}

/// The price step of US stocks: a cent, below a dollar a hundredth of it.
#[must_use]
pub fn price_step(price: Price) -> Price {
    if price < Decimal::ONE {
        Decimal::new(1, 4)
    } else {
        Decimal::new(1, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::settings;

    #[test]
    fn whole_shares_within_the_limits() {
        let settings = settings();
        let cases = [
            ("100", "50"),
            ("4999", "1"),
            ("5001", "0"),
            ("0.4", "5000"),
            ("0", "0"),
            ("-1", "0"),
        ];
        for (price, shares) in cases {
            let target = target(&settings.entry, &settings.risk, price.parse().unwrap());
            assert_eq!(target.to_string(), shares, "at {price}");
        }
    }
}
