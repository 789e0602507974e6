//! What time does to orders: sessions that end, closing trades, dates until which orders are good, days that begin.

use jiff::Timestamp;
use protocol::{Price, Symbol};

use super::account::Position;
use super::calendar::{self, Calendar, Phase};
use super::matching::Match;
use super::money::Valuation;
use super::order::{Lifetime, Order, Side, Status};
use super::record::Record;
use super::{Output, Venue};

impl Venue {
    /// The session changed: orders for the close trade, what was good for the day ends, what may not trade now waits,
    /// a new day begins.
    pub(super) fn change_session(&mut self, at: Timestamp, outputs: &mut Vec<Output>) {
        if self.market.calendar().closes_at(at) {
            self.close(at, outputs);
        }
        let calendar = self.market.calendar();
        let phase = calendar.phase(at);
        let wall = calendar::local(at);
        let midnight = wall.time() == jiff::civil::Time::midnight();
        let around_the_clock = matches!(calendar, Calendar::Always);
        // What was placed after the close without asking for extended hours is for the next regular session.
        let last = self.next_change.is_none();
        let day_over = |order: &Order| match phase {
            Phase::After => !order.ticket.outside_regular,
            Phase::Closed => order.ticket.outside_regular || last,
            Phase::Pre => false,
            Phase::Regular => around_the_clock && midnight,
        };
        let (mut over, mut held) = (Vec::new(), Vec::new());
        for order in self.account.open.values() {
            let outlives = matches!(
                order.ticket.lifetime,
                Lifetime::GoodTillCancelled | Lifetime::GoodTillDate(_)
            );
            // An order for the close ends with the close, whatever it says.
            if !outlives && !order.awaits_close() && day_over(order) && order.placed_at < at {
                over.push(order.perm_id);
            } else if order.status == Status::Working && !in_session(order, phase) {
                held.push(order.perm_id);
            }
        }
        for perm_id in over {
            let reason = "Expired at the end of the session";
            self.end(perm_id, Status::Cancelled, reason, outputs);
        }
        for perm_id in held {
            self.record(Record::Held { perm_id, at }, outputs);
        }
        if self.account.day.is_some_and(|day| day < wall.date()) && phase != Phase::Closed {
            // Books that were opened after it, by a start of today, know the close before already.
            for book in self.books.values_mut().filter(|book| book.tick.at < at) {
                book.begin_day();
            }
            self.begin_day(outputs);
        }
    }

    /// Orders for the close trade in the last trade of the session, all of them and in full, or end.
    fn close(&mut self, at: Timestamp, outputs: &mut Vec<Output>) {
        for perm_id in self.for_the_close(at, |order| !self.awaits_parent(order)) {
            let Some(order) = self.account.open.get(&perm_id) else {
                continue;
            };
            if let Some(price) = self.closing_price(order, at) {
                let found = Match {
                    price,
                    quantity: order.remaining(),
                    added_liquidity: false,
                };
                for one in self.desk.allowed(order, vec![found]) {
                    self.execute(perm_id, one, outputs);
                }
            }
        }
        self.rouse(outputs);
        // Those whose parent traded only now, or has not traded, have missed the close too.
        for perm_id in self.for_the_close(at, |_| true) {
            self.end(perm_id, Status::Cancelled, "Not traded at the close", outputs);
        }
    }

    fn for_the_close(&self, at: Timestamp, which: impl Fn(&Order) -> bool) -> Vec<i64> {
        let meant = |order: &&Order| order.awaits_close() && order.placed_at < at && which(order);
        let orders = self.account.open.values().filter(meant);
        orders.map(|order| order.perm_id).collect()
    }

    /// The price at which an order trades at the close; `None` when it does not.
    fn closing_price(&self, order: &Order, at: Timestamp) -> Option<Price> {
        let tick = &self.books.get(&order.ticket.symbol)?.tick;
        let today = calendar::local(tick.at).date() == calendar::local(at).date() && tick.at < at;
        let good = order.limit().is_none_or(|limit| match order.ticket.side {
            Side::Buy => tick.price <= limit,
            Side::Sell => tick.price >= limit,
        });
        (today && good && order.status == Status::Held).then_some(tick.price)
    }

    /// Ends the orders that were good until an instant that has come.
    pub(super) fn expire(&mut self, at: Timestamp, outputs: &mut Vec<Output>) {
        let over = |order: &&Order| matches!(order.ticket.lifetime, Lifetime::GoodTillDate(end) if end <= at);
        let orders = self.account.open.values().filter(over);
        for perm_id in orders.map(|order| order.perm_id).collect::<Vec<_>>() {
            self.end(perm_id, Status::Cancelled, "The good-till date has come", outputs);
        }
    }

    /// When the next order ends by its date.
    pub(super) fn next_expiry(&self) -> Option<Timestamp> {
        let date = |order: &Order| match order.ticket.lifetime {
            Lifetime::GoodTillDate(end) => Some(end),
            _ => None,
        };
        self.account.open.values().filter_map(date).min()
    }

    /// When the session begins in which an order may trade; `None` where it may now, or never will.
    #[must_use]
    pub fn session_of(&self, order: &Order) -> Option<Timestamp> {
        let calendar = self.market.calendar();
        if in_session(order, calendar.phase(self.now)) {
            return None;
        }
        let mut changes =
            std::iter::successors(calendar.next_change(self.now), |at| calendar.next_change(*at));
        changes.find(|at| in_session(order, calendar.phase(*at)))
    }

    /// A day of the account begins: what is held counts at the close before.
    pub(super) fn begin_day(&mut self, outputs: &mut Vec<Output>) {
        let date = calendar::local(self.now).date();
        let close_before = |symbol: Symbol, position: &Position| {
            let known = self.books.get(&symbol).and_then(|book| book.previous_close);
            known.unwrap_or_else(|| self.price_held(symbol, position))
        };
        let equity = Valuation::of(&self.account, close_before).equity();
        let positions = self.account.positions.iter();
        let gain = |(symbol, position): (&Symbol, &Position)| {
            (*symbol, position.unrealized(close_before(*symbol, position)))
        };
        let gains = positions.map(gain).collect();
        self.record(Record::Day { date, equity, gains }, outputs);
    }
}

/// Whether an order may trade in a phase.
pub(super) fn in_session(order: &Order, phase: Phase) -> bool {
    match phase {
        Phase::Regular => true,
        Phase::Pre | Phase::After => order.ticket.outside_regular,
        Phase::Closed => false,
    }
}
