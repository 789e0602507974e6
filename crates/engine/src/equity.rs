//! The equity curve: one point each bar of market time. The same fold in persistence, bridge and page.

use std::collections::BTreeMap;

use protocol::feed::EquityPoint;
use protocol::market::Bar;
use protocol::{Price, Symbol, Timestamp};
use serde::{Deserialize, Serialize};

use crate::portfolio::Portfolio;

/// Makes points of bars and the portfolio.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    marks: BTreeMap<Symbol, Price>,
    last: Option<Timestamp>,
}

impl Curve {
    /// Goes on after a point that is known already.
    #[must_use]
    pub fn after(last: Option<Timestamp>) -> Self {
        Self {
            marks: BTreeMap::new(),
            last,
        }
    }

    /// Takes a bar over. The first complete live bar that ends later than all before makes a point, of the marks
    /// up to then: a bar of another symbol that ends at the same instant adds its mark to the next point.
    pub fn step(&mut self, bar: &Bar, portfolio: &Portfolio) -> Option<EquityPoint> {
        if !bar.complete {
            return None;
        }
        let end = bar.size.end_of(bar.start);
        let is_new = !bar.warm_up && portfolio.opened && self.last.is_none_or(|last| last < end);
        self.marks.insert(bar.symbol, bar.close);
        if !is_new {
            return None;
        }
        self.last = Some(end);
        let equity = portfolio.equity(|symbol| self.marks.get(&symbol).copied());
        Some(EquityPoint {
            at: end,
            equity: equity.normalize(),
            cash: portfolio.cash.normalize(),
        })
    }
}
