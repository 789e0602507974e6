//! The exchange's dealings with orders: taking, changing, cancelling, matching, and the end of a session.

use protocol::{Price, Quantity, Symbol};
use rust_decimal::Decimal;

use super::book::Book;
use super::calendar::{self, Phase};
use super::market::{Market, Tick};
use super::matching::{Match, matched};
use super::money;
use super::order::{End, Kind, Lifetime, Order, Status, Ticket};
use super::record::{Fill, Record};
use super::{Output, Refusal, Venue};

/// Most open orders of the account, of all clients together; one more is rejected.
pub const OPEN_ORDERS_MAX: usize = 2_000;

impl Venue {
    pub(super) fn place(&mut self, client: i32, order_id: i32, ticket: Ticket, outputs: &mut Vec<Output>) {
        if let Err(why) = self.check(client, order_id, &ticket) {
            outputs.push(Output::Refused {
                client,
                order_id,
                why,
            });
            return;
        }
        let symbol = ticket.symbol;
        let perm_id = match self
            .account
            .find_open(client, order_id)
            .map(|order| order.perm_id)
        {
            Some(perm_id) => {
                let record = Record::Modified {
                    perm_id,
                    ticket: Box::new(ticket),
                    at: self.now,
                };
                self.record(record, outputs);
                perm_id
            }
            None => self.accept(client, order_id, ticket, outputs),
        };
        self.awaken(symbol, outputs);
        self.work(perm_id, false, outputs);
        let spent = |order: &&Order| order.ticket.lifetime == Lifetime::ImmediateOrCancel;
        if self.account.open.get(&perm_id).filter(spent).is_some() {
            self.end(
                perm_id,
                Status::Cancelled,
                "Immediate or cancel: nothing more could trade at once",
                outputs,
            );
        }
    }

    /// What can be said about an order before it is one.
    fn check(&self, client: i32, order_id: i32, ticket: &Ticket) -> Result<(), Refusal> {
        let step = self
            .market
            .price_step(ticket.symbol)
            .ok_or(Refusal::UnknownSymbol)?;
        if ticket.quantity <= Quantity::ZERO || !ticket.quantity.fract().is_zero() {
            return Err(Refusal::Size);
        }
        let prices = match ticket.kind {
            Kind::Market => [None, None],
            Kind::Limit(limit) => [Some(limit), None],
            Kind::Stop(stop) => [Some(stop), None],
            Kind::StopLimit { stop, limit } => [Some(stop), Some(limit)],
        };
        let off_step = |price: &Price| *price <= Price::ZERO || !(price % step).is_zero();
        if prices.iter().flatten().any(off_step) {
            return Err(Refusal::PriceStep);
        }
        if let Some(order) = self.account.find_open(client, order_id) {
            let same = order.ticket.symbol == ticket.symbol && order.ticket.side == ticket.side;
            return if same && ticket.quantity > order.filled {
                Ok(())
            } else {
                Err(Refusal::Mismatch)
            };
        }
        if order_id < self.account.next_order_id(client) {
            return Err(Refusal::UsedId);
        }
        Ok(())
    }

    fn accept(&mut self, client: i32, order_id: i32, ticket: Ticket, outputs: &mut Vec<Output>) -> i64 {
        let perm_id = self.account.next_perm_id();
        let mut order = Order {
            perm_id,
            client,
            order_id,
            ticket,
            status: Status::Held,
            triggered: false,
            filled: Quantity::ZERO,
            turnover: Decimal::ZERO,
            commission: Decimal::ZERO,
            last_price: Price::ZERO,
            placed_at: self.now,
            end: None,
        };
        if let Some(reason) = self.too_many().or_else(|| self.unaffordable(&order)) {
            order.status = Status::Rejected;
            order.end = Some(End { at: self.now, reason });
        }
        self.record(
            Record::Accepted {
                order: Box::new(order),
            },
            outputs,
        );
        perm_id
    }

    fn too_many(&self) -> Option<String> {
        let full = self.account.open.len() >= OPEN_ORDERS_MAX;
        full.then(|| {
            format!("the account has {OPEN_ORDERS_MAX} open orders, which is the most that it may have")
        })
    }

    /// Why the account can't carry an order: margin must suffice if all working orders of the stock trade.
    fn unaffordable(&self, order: &Order) -> Option<String> {
        let symbol = order.ticket.symbol;
        let mark = self.mark(symbol).unwrap_or(Price::ZERO);
        let price_of = |order: &Order| order.limit().unwrap_or(mark);
        let mut needed = Decimal::ZERO;
        let mut before = Decimal::ZERO;
        let held = self.account.positions.keys();
        let asked = self.account.open.values().map(|open| &open.ticket.symbol);
        let symbols: std::collections::BTreeSet<&Symbol> = held.chain(asked).chain([&symbol]).collect();
        for other in symbols {
            let mark = self.mark(*other).unwrap_or(Price::ZERO);
            let working = || {
                self.account
                    .open
                    .values()
                    .filter(|open| open.ticket.symbol == *other)
            };
            let priced = |open| -> (&Order, Price) { (open, Order::limit(open).unwrap_or(mark)) };
            let present = money::worst_margin(self.account.shares(*other), mark, working().map(priced));
            before += present;
            needed += if *other == symbol {
                let all = working().map(priced).chain([(order, price_of(order))]);
                money::worst_margin(self.account.shares(symbol), mark, all)
            } else {
                present
            };
        }
        let equity = self.valuation().equity();
        (needed > before && needed > equity).then(|| {
            format!(
                "Your Available Funds are insufficient: equity with loan value {} USD, margin needed {} USD",
                equity.round_dp(2),
                needed.round_dp(2)
            )
        })
    }

    pub(super) fn cancel(&mut self, client: i32, order_id: i32, outputs: &mut Vec<Output>) {
        if let Some(perm_id) = self
            .account
            .find_open(client, order_id)
            .map(|order| order.perm_id)
        {
            self.end(perm_id, Status::Cancelled, "Cancelled by Trader", outputs);
            return;
        }
        let ended = self.account.find_completed(client, order_id).is_some();
        let why = if ended {
            Refusal::Ended
        } else {
            Refusal::UnknownOrder
        };
        outputs.push(Output::Refused {
            client,
            order_id,
            why,
        });
    }

    pub(super) fn cancel_all(&mut self, outputs: &mut Vec<Output>) {
        for perm_id in self.account.open.keys().copied().collect::<Vec<_>>() {
            self.end(perm_id, Status::Cancelled, "Cancelled by Trader", outputs);
        }
    }

    /// A trade on the market: the book moves, stops wake, orders in the book may trade.
    pub(super) fn trade(&mut self, tick: Tick, outputs: &mut Vec<Output>) {
        let symbol = tick.symbol;
        outputs.push(Output::Tick(tick.clone()));
        match self.books.get_mut(&symbol) {
            Some(book) => book.trade(tick),
            None => {
                let limited = matches!(self.market, Market::Replay(_));
                let Some(step) = self.market.price_step(symbol) else {
                    return;
                };
                self.books
                    .insert(symbol, Book::new(tick, step, limited, None, None));
            }
        }
        if self.account.day.is_none() {
            self.begin_day(outputs);
        }
        if self.account.open.is_empty() {
            return;
        }
        self.awaken(symbol, outputs);
        for perm_id in self.working(symbol) {
            self.work(perm_id, true, outputs);
        }
    }

    fn working(&self, symbol: Symbol) -> Vec<i64> {
        let ours = |order: &&Order| order.ticket.symbol == symbol && order.status == Status::Working;
        self.account
            .open
            .values()
            .filter(ours)
            .map(|order| order.perm_id)
            .collect()
    }

    /// Puts held orders into the book whose session and trigger have come.
    fn awaken(&mut self, symbol: Symbol, outputs: &mut Vec<Output>) {
        let phase = self.market.calendar().phase(self.now);
        let last = self.books.get(&symbol).map(|book| book.tick.price);
        let awake = |order: &&Order| {
            let waits = order.pending_stop().is_some() && !last.is_some_and(|price| order.wakes_at(price));
            order.ticket.symbol == symbol
                && order.status == Status::Held
                && in_session(order, phase)
                && !waits
        };
        let ready: Vec<(i64, bool)> = self
            .account
            .open
            .values()
            .filter(awake)
            .map(|order| (order.perm_id, order.pending_stop().is_some()))
            .collect();
        for (perm_id, triggered) in ready {
            self.record(
                Record::Working {
                    perm_id,
                    triggered,
                    at: self.now,
                },
                outputs,
            );
            self.work(perm_id, false, outputs);
        }
    }

    /// Lets an order in the book trade what it can.
    fn work(&mut self, perm_id: i64, resting: bool, outputs: &mut Vec<Output>) {
        let Some(order) = self
            .account
            .open
            .get(&perm_id)
            .filter(|order| order.status == Status::Working)
        else {
            return;
        };
        let (side, symbol) = (order.ticket.side, order.ticket.symbol);
        let Some(book) = self.books.get_mut(&symbol) else {
            return;
        };
        let found = matched(order, book, resting);
        for one in &found {
            book.consume(side, one.quantity);
        }
        for one in found {
            if let Some(fill) = self.fill(perm_id, one) {
                self.record(Record::Filled { fill }, outputs);
            }
        }
    }

    fn fill(&self, perm_id: i64, found: Match) -> Option<Fill> {
        let order = self.account.open.get(&perm_id)?;
        let Match {
            price,
            quantity,
            added_liquidity,
        } = found;
        let filled = order.filled + quantity;
        let turnover = order.turnover + price * quantity;
        let commission = money::commission(filled, turnover) - order.commission;
        let Ticket {
            symbol,
            side,
            ref reference,
            ..
        } = order.ticket;
        Some(Fill {
            number: self.account.last_fill + 1,
            perm_id,
            client: order.client,
            order_id: order.order_id,
            reference: reference.clone(),
            symbol,
            side,
            quantity,
            price,
            filled,
            average_price: (turnover / filled).round_dp(6).normalize(),
            commission,
            realized: self
                .account
                .realized_by(symbol, side, quantity, price, commission),
            added_liquidity,
            at: self.now,
        })
    }

    fn end(&mut self, perm_id: i64, status: Status, reason: &str, outputs: &mut Vec<Output>) {
        let record = Record::Ended {
            perm_id,
            status,
            reason: reason.into(),
            at: self.now,
        };
        self.record(record, outputs);
    }

    /// The session changed: what was good for the day ends, what may trade now wakes, a new day begins.
    pub(super) fn change_session(&mut self, at: jiff::Timestamp, outputs: &mut Vec<Output>) {
        let calendar = self.market.calendar();
        let phase = calendar.phase(at);
        let date = calendar::local(at).date();
        let around_the_clock = matches!(calendar, calendar::Calendar::Always);
        let day_over = |order: &Order| match phase {
            Phase::After => !order.ticket.outside_regular,
            Phase::Closed => true,
            Phase::Pre => false,
            Phase::Regular => around_the_clock,
        };
        let (mut over, mut held) = (Vec::new(), Vec::new());
        for order in self.account.open.values() {
            if order.ticket.lifetime != Lifetime::GoodTillCancelled && day_over(order) && order.placed_at < at
            {
                over.push(order.perm_id);
            } else if order.status == Status::Working && !in_session(order, phase) {
                held.push(order.perm_id);
            }
        }
        for perm_id in over {
            self.end(
                perm_id,
                Status::Cancelled,
                "Expired at the end of the session",
                outputs,
            );
        }
        for perm_id in held {
            self.record(Record::Held { perm_id, at }, outputs);
        }
        if self.account.day.is_some_and(|day| day < date) && phase != Phase::Closed {
            for book in self.books.values_mut() {
                book.begin_day();
            }
            self.begin_day(outputs);
        }
    }

    fn begin_day(&mut self, outputs: &mut Vec<Output>) {
        let date = calendar::local(self.now).date();
        let equity = self.valuation().equity();
        self.record(Record::Day { date, equity }, outputs);
    }

    fn record(&mut self, record: Record, outputs: &mut Vec<Output>) {
        self.account.apply(&record);
        outputs.push(Output::Record(record));
    }
}

fn in_session(order: &Order, phase: Phase) -> bool {
    match phase {
        Phase::Regular => true,
        Phase::Pre | Phase::After => order.ticket.outside_regular,
        Phase::Closed => false,
    }
}
