//! The day as the real `ibapi` crate sees it: once on made-up prices, once on days of the past.

mod book;
mod live;
mod session;
mod trader;

use rust_decimal::Decimal;

/// Cash of a new account.
const CASH: Decimal = Decimal::from_parts(100_000, 0, 0, false, 0);
