//! The account: cash, positions, orders and trades, as the fold of its records.

use std::collections::BTreeMap;

use jiff::civil::Date;
use jiff::{Timestamp, ToSpan};
use protocol::{Money, Price, Quantity, Symbol};
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::calendar;
use super::order::{End, Order, Side, Status};
use super::record::{Fill, Record};

/// Days of trades and ended orders that the account can tell of, today included.
pub const DAYS_KEPT: i64 = 7;
/// Most trades that the account can tell of, the latest ones, however many there were in those days.
pub const FILLS_KEPT_MAX: usize = 10_000;
/// Most ended orders that it can tell of, those that ended last.
pub const COMPLETED_KEPT_MAX: usize = 5_000;
/// So many are forgotten at a time once a limit is reached, which spares looking for the oldest each time.
const FORGOTTEN: usize = 500;
/// Most clients whose next order id is kept: one more places no orders.
pub(super) const CLIENTS_MAX: usize = 10_000;
/// The first permanent number.
const PERM_ID_FIRST: i64 = 1_000_000_001;

/// Shares of one stock.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    /// Shares held; below zero where they are owed.
    pub quantity: Quantity,
    /// What they cost, commissions included; below zero for a short position.
    pub cost: Money,
    /// Gains and losses made real today.
    pub realized: Money,
    /// Gain or loss of its shares when the day began.
    #[serde(default)]
    pub begun: Money,
}

impl Position {
    /// Gain or loss since the day began, with its shares at a price.
    #[must_use]
    pub fn daily(&self, price: Price) -> Money {
        self.unrealized(price) + self.realized - self.begun
    }

    /// Gain or loss of its shares at a price.
    #[must_use]
    pub fn unrealized(&self, price: Price) -> Money {
        self.quantity * price - self.cost
    }

    /// Cost of a share, commissions included; zero when there is none.
    #[must_use]
    pub fn average_cost(&self) -> Price {
        if self.quantity.is_zero() {
            return Price::ZERO;
        }
        (self.cost / self.quantity).round_dp(8).normalize()
    }

    /// What a trade would do: the position after it, and the gain where it makes the position smaller.
    fn trade(&self, signed: Quantity, price: Price, commission: Money) -> (Self, Option<Money>) {
        let mut after = self.clone();
        let closed = closed(self.quantity, signed);
        let opened = signed - closed;
        let commission_closed = (commission * closed / signed).round_dp(8);
        let mut realized = None;
        if !closed.is_zero() {
            let part = part(self.cost, closed, self.quantity);
            let gain = -closed * price - part - commission_closed;
            after.cost -= part;
            after.realized += gain;
            realized = Some(gain.normalize());
        }
        after.cost += opened * price;
        if !opened.is_zero() {
            after.cost += commission - commission_closed;
        }
        after.quantity += signed;
        (after, realized)
    }
}

/// Of a trade, what makes a position smaller; the rest opens.
fn closed(quantity: Quantity, signed: Quantity) -> Quantity {
    if quantity * signed >= Decimal::ZERO {
        return Decimal::ZERO;
    }
    let closed = signed.abs().min(quantity.abs());
    if signed < Decimal::ZERO { -closed } else { closed }
}

/// Of what a position cost, the part of the shares that are closed.
fn part(cost: Money, closed: Quantity, quantity: Quantity) -> Money {
    if closed == -quantity {
        return cost;
    }
    (cost * -closed / quantity).round_dp(8)
}

/// Everything the broker knows about its client.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Whether the first record has been seen.
    pub opened: bool,
    /// Cash.
    pub cash: Money,
    /// Cash it began with.
    pub deposited: Money,
    /// Gains of the positions that are closed for good, all days.
    pub realized_total: Money,
    /// Commissions paid, all days.
    pub commissions_total: Money,
    /// Shares held, and flat positions of today.
    pub positions: BTreeMap<Symbol, Position>,
    /// Orders that can still trade.
    pub open: BTreeMap<i64, Order>,
    /// Orders that ended in the last days.
    pub completed: BTreeMap<i64, Order>,
    /// Trades of the last days, in order.
    pub fills: Vec<Fill>,
    /// The next order id of each client: above every id it ever used.
    pub next_order_id: BTreeMap<i32, i32>,
    /// The last permanent number given.
    pub last_perm_id: i64,
    /// The number of the last trade.
    pub last_fill: u64,
    /// The trading day, once one began.
    pub day: Option<Date>,
    /// Worth of the account when it began.
    pub day_equity: Money,
    /// The latest instant of any record.
    pub latest: Option<Timestamp>,
}

impl Account {
    /// Takes in a record. Records must come once each and in order.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Opened { cash, at } => {
                self.opened = true;
                self.cash = *cash;
                self.deposited = *cash;
                self.day_equity = *cash;
                self.see(*at);
            }
            Record::Day { date, equity, gains } => self.begin_day(*date, *equity, gains),
            Record::Accepted { order } => self.accept(order),
            Record::Modified { perm_id, ticket, at } => {
                self.update(*perm_id, *at, |order| order.change(ticket));
            }
            Record::Reduced { perm_id, left, at } => {
                self.update(*perm_id, *at, |order| order.reduce(*left));
            }
            Record::Working {
                perm_id,
                triggered,
                at,
            } => self.update(*perm_id, *at, |order| {
                order.status = Status::Working;
                order.triggered |= triggered;
            }),
            Record::Held { perm_id, at } => {
                self.update(*perm_id, *at, |order| order.status = Status::Held);
            }
            Record::Trailed { perm_id, stop, at } => {
                self.update(*perm_id, *at, |order| order.trail_stop = Some(*stop));
            }
            Record::Bound {
                perm_id,
                order_id,
                at,
            } => self.bind(*perm_id, *order_id, *at),
            Record::Filled { fill } => self.fill(fill),
            Record::Corrected { number, price, at } => {
                self.correct(*number, *price);
                self.see(*at);
            }
            Record::RolledBack {
                client,
                next_order_id,
                at,
            } => {
                self.next_order_id.insert(*client, *next_order_id);
                self.see(*at);
            }
            Record::Ended {
                perm_id,
                status,
                reason,
                at,
            } => {
                if let Some(mut order) = self.open.remove(perm_id) {
                    order.status = *status;
                    order.end = Some(End {
                        at: *at,
                        reason: reason.clone(),
                    });
                    self.complete(order);
                }
                self.see(*at);
            }
        }
    }

    /// The permanent number of the next order.
    #[must_use]
    pub fn next_perm_id(&self) -> i64 {
        self.last_perm_id.max(PERM_ID_FIRST - 1) + 1
    }

    /// The next order id of a client.
    #[must_use]
    pub fn next_order_id(&self, client: i32) -> i32 {
        self.next_order_id.get(&client).copied().unwrap_or(1)
    }

    /// Whether a client's next order id is kept, or can be.
    pub(super) fn has_room_for(&self, client: i32) -> bool {
        self.next_order_id.len() < CLIENTS_MAX || self.next_order_id.contains_key(&client)
    }

    /// A client's order that can still trade.
    #[must_use]
    pub fn find_open(&self, client: i32, order_id: i32) -> Option<&Order> {
        self.open
            .values()
            .find(|order| order.is_meant_by(client, order_id))
    }

    /// A client's latest order of a number that has ended.
    #[must_use]
    pub fn find_completed(&self, client: i32, order_id: i32) -> Option<&Order> {
        self.completed
            .values()
            .rev()
            .find(|order| order.client == client && order.order_id == order_id)
    }

    /// The gain that a trade would make real: `None` when it opens or adds.
    #[must_use]
    pub fn realized_by(
        &self,
        symbol: Symbol,
        side: Side,
        quantity: Quantity,
        price: Price,
        fee: Money,
    ) -> Option<Money> {
        let flat = Position::default();
        let position = self.positions.get(&symbol).unwrap_or(&flat);
        position.trade(side.sign() * quantity, price, fee).1
    }

    /// Shares of a stock; zero when there are none.
    #[must_use]
    pub fn shares(&self, symbol: Symbol) -> Quantity {
        self.positions
            .get(&symbol)
            .map_or(Quantity::ZERO, |position| position.quantity)
    }

    /// Something happened to an open order.
    fn update(&mut self, perm_id: i64, at: Timestamp, change: impl FnOnce(&mut Order)) {
        if let Some(order) = self.open.get_mut(&perm_id) {
            change(order);
        }
        self.see(at);
    }

    pub(super) fn see(&mut self, at: Timestamp) {
        self.latest = Some(self.latest.map_or(at, |latest| latest.max(at)));
    }

    fn begin_day(&mut self, date: Date, equity: Money, gains: &BTreeMap<Symbol, Money>) {
        self.day = Some(date);
        self.day_equity = equity;
        for (symbol, position) in &mut self.positions {
            position.realized = Money::ZERO;
            position.begun = gains.get(symbol).copied().unwrap_or_default();
        }
        self.positions.retain(|_, position| !position.quantity.is_zero());
        let first = date
            .checked_sub((DAYS_KEPT - 1).days())
            .map_or(Timestamp::MIN, calendar::midnight);
        self.fills.retain(|fill| fill.at >= first);
        self.completed
            .retain(|_, order| order.end.as_ref().is_some_and(|end| end.at >= first));
    }

    fn accept(&mut self, order: &Order) {
        self.last_perm_id = self.last_perm_id.max(order.perm_id);
        let next = self.next_order_id.entry(order.client).or_insert(1);
        *next = (*next).max(order.order_id.saturating_add(1));
        if order.end.is_some() {
            self.complete(order.clone());
        } else {
            self.open.insert(order.perm_id, order.clone());
        }
        self.see(order.placed_at);
    }

    fn fill(&mut self, fill: &Fill) {
        let signed = fill.side.sign() * fill.quantity;
        self.cash -= signed * fill.price + fill.commission;
        self.commissions_total += fill.commission;
        let position = self.positions.entry(fill.symbol).or_default();
        let (after, realized) = position.trade(signed, fill.price, fill.commission);
        *position = after;
        self.realized_total += realized.unwrap_or_default();
        if let Some(order) = self.open.get_mut(&fill.perm_id) {
            order.filled = fill.filled;
            order.turnover += fill.price * fill.quantity;
            order.commission += fill.commission;
            order.last_price = fill.price;
            order.status = Status::Working;
            if order.remaining() <= Decimal::ZERO {
                let mut order = order.clone();
                order.status = Status::Filled;
                order.end = Some(End {
                    at: fill.at,
                    reason: format!("Filled Size: {}", order.filled.normalize()),
                });
                self.open.remove(&fill.perm_id);
                self.complete(order);
            }
        }
        self.last_fill = self.last_fill.max(fill.number);
        if self.fills.len() >= FILLS_KEPT_MAX {
            self.fills.drain(..FORGOTTEN);
        }
        self.fills.push(fill.clone());
        self.see(fill.at);
    }

    /// Keeps an order that has ended, and forgets those that ended first where there are too many.
    fn complete(&mut self, order: Order) {
        if self.completed.len() >= COMPLETED_KEPT_MAX {
            let ended = |order: &Order| (order.end.as_ref().map(|end| end.at), order.perm_id);
            let mut ends: Vec<_> = self.completed.values().map(ended).collect();
            let (_, last, _) = ends.select_nth_unstable(FORGOTTEN - 1);
            let last = *last;
            self.completed.retain(|_, order| ended(order) > last);
        }
        self.completed.insert(order.perm_id, order);
    }

    /// A trade's price was another. Cash follows; so do what the shares cost and what was gained, by this trade and by
    /// every later one of the stock, as if it had been the price from the start. A gain that changes is one of today.
    fn correct(&mut self, number: u64, price: Price) {
        let Some(place) = self.fills.iter().position(|fill| fill.number == number) else {
            return;
        };
        let Some((earlier, later)) = self.fills.get_mut(place..).and_then(<[Fill]>::split_first_mut) else {
            return;
        };
        let more = price - earlier.price;
        (earlier.price, earlier.corrections) = (price, earlier.corrections + 1);
        let (perm_id, symbol) = (earlier.perm_id, earlier.symbol);
        self.cash -= earlier.signed() * more;
        let position = self.positions.entry(symbol).or_default();
        let since = later
            .iter()
            .filter(|fill| fill.symbol == symbol)
            .map(Fill::signed);
        let mut quantity = position.quantity - since.sum::<Quantity>();
        // The trade itself, then what it left in the cost of the shares as others took them away.
        let closes = closed(quantity - earlier.signed(), earlier.signed());
        let mut cost = (earlier.signed() - closes) * more;
        let mut less = earlier.lose(closes * more);
        for fill in later.iter_mut().filter(|fill| fill.symbol == symbol) {
            let closes = closed(quantity, fill.signed());
            if !closes.is_zero() {
                let part = part(cost, closes, quantity);
                cost -= part;
                less += fill.lose(part);
            }
            quantity += fill.signed();
        }
        position.cost += cost;
        position.realized -= less;
        self.realized_total -= less;
        let turnover = more * earlier.quantity;
        let mut is_last = true;
        earlier.average(turnover);
        for fill in later.iter_mut().filter(|fill| fill.perm_id == perm_id) {
            fill.average(turnover);
            is_last = false;
        }
        let order = match self.open.get_mut(&perm_id) {
            Some(order) => Some(order),
            None => self.completed.get_mut(&perm_id),
        };
        if let Some(order) = order {
            order.turnover += turnover;
            if is_last {
                order.last_price = price;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares bought (or sold, below zero), cents a share, and the order that traded.
    const TRADES: [(i64, i64, i64); 12] = [
        (10, 10_000, 1),
        (10, 10_130, 1),
        (-4, 10_250, 2),
        (9, 9_977, 3),
        (-20, 10_410, 4),
        (-25, 10_390, 4),
        (7, 10_005, 5),
        (-3, 9_860, 6),
        (40, 9_911, 7),
        (-24, 10_003, 8),
        (5, 10_090, 9),
        (5, 10_110, 9),
    ];

    fn account(trades: &[(i64, i64, i64)]) -> Account {
        let at: Timestamp = "2026-11-02T15:00:00Z".parse().unwrap();
        let cash = 100_000.into();
        let mut account = Account::default();
        account.apply(&Record::Opened { cash, at });
        let (mut filled, mut turnover) = (BTreeMap::new(), BTreeMap::new());
        for (number, (shares, cents, perm_id)) in (1..).zip(trades) {
            let (quantity, price) = (Quantity::from(shares.abs()), Price::new(*cents, 2));
            let side = if *shares > 0 { Side::Buy } else { Side::Sell };
            let symbol = "AAPL".parse().unwrap();
            let commission = Money::new(35, 2);
            let filled = filled.entry(*perm_id).or_insert(Quantity::ZERO);
            let turnover = turnover.entry(*perm_id).or_insert(Money::ZERO);
            *filled += quantity;
            *turnover += quantity * price;
            let fill = Fill {
                number,
                perm_id: *perm_id,
                client: 7,
                order_id: 1,
                reference: String::new(),
                symbol,
                side,
                quantity,
                price,
                filled: *filled,
                average_price: (*turnover / *filled).round_dp(6).normalize(),
                commission,
                realized: account.realized_by(symbol, side, quantity, price, commission),
                added_liquidity: false,
                corrections: 0,
                at,
            };
            account.apply(&Record::Filled { fill });
        }
        account
    }

    /// What an account says to a millionth of a cent: each later trade rounds a share of the cost.
    fn told(mut account: Account) -> Account {
        let rounded = |value: Decimal| value.round_dp(6).normalize();
        account.cash = rounded(account.cash);
        account.realized_total = rounded(account.realized_total);
        for position in account.positions.values_mut() {
            position.cost = rounded(position.cost);
            position.realized = rounded(position.realized);
        }
        for fill in &mut account.fills {
            fill.realized = fill.realized.map(rounded);
            fill.corrections = 0;
        }
        account
    }

    #[test]
    fn a_corrected_price_is_as_if_it_had_been_the_price_from_the_start() {
        for count in 1..=TRADES.len() {
            for place in 0..count {
                let mut right = TRADES;
                right[place].1 += 173;
                let mut corrected = account(&TRADES[..count]);
                corrected.apply(&Record::Corrected {
                    number: u64::try_from(place).unwrap() + 1,
                    price: Price::new(right[place].1, 2),
                    at: corrected.latest.unwrap(),
                });
                let expected = told(account(&right[..count]));
                assert_eq!(told(corrected), expected, "trade {place} of {count}");
            }
        }
    }
}
