//! The exchange's dealings with orders: taking, changing, cancelling and matching.

use protocol::{Price, Quantity, Symbol};
use rust_decimal::Decimal;

use super::book::Book;
use super::calendar::Phase;
use super::market::Tick;
use super::matching::{Match, matched};
use super::money;
use super::order::{End, Group, GroupEffect, Order, Status, Ticket};
use super::record::{Fill, Record};
use super::session::in_session;
use super::{Output, Refusal, Venue};

/// Most open orders of the account, of all clients together; one more is rejected.
pub const OPEN_ORDERS_MAX: usize = 2_000;
/// Most of them that one client may have, so that none keeps all others from trading.
pub const CLIENT_ORDERS_MAX: usize = OPEN_ORDERS_MAX / 2;

impl Venue {
    pub(super) fn place(&mut self, client: i32, order_id: i32, ticket: Ticket, outputs: &mut Vec<Output>) {
        let (symbol, transmit) = (ticket.symbol, ticket.transmit);
        let placed = self.check(client, order_id, &ticket).and_then(|()| {
            let working = self
                .account
                .find_open(client, order_id)
                .map(|order| order.perm_id);
            match working {
                Some(perm_id) => self.modify(perm_id, ticket, outputs).map(|()| perm_id),
                None => Ok(self.accept(client, order_id, ticket, outputs)),
            }
        });
        let perm_id = match placed {
            Ok(perm_id) => perm_id,
            Err(why) => {
                outputs.push(Output::Refused {
                    client,
                    order_id,
                    why,
                });
                return;
            }
        };
        if transmit {
            self.transmit(perm_id, outputs);
        }
        self.enter(perm_id, symbol, outputs);
    }

    /// Lets an order that is in for the first time or anew trade at once, with all that follows from it.
    pub(super) fn enter(&mut self, perm_id: i64, symbol: Symbol, outputs: &mut Vec<Output>) {
        self.awaken(symbol, outputs);
        self.work(perm_id, false, outputs);
        self.end_spent(perm_id, outputs);
        self.rouse(outputs);
    }

    pub(super) fn accept(
        &mut self,
        client: i32,
        order_id: i32,
        ticket: Ticket,
        outputs: &mut Vec<Output>,
    ) -> i64 {
        let perm_id = self.account.next_perm_id();
        let mut order = self.fresh(perm_id, client, order_id, ticket);
        let refused = self.desk.refusal.take().or_else(|| self.obstacle(&order));
        if let Some(reason) = refused {
            order.status = Status::Rejected;
            order.end = Some(End { at: self.now, reason });
        } else if !order.ticket.transmit {
            order.status = Status::Untransmitted;
        }
        let order = Box::new(order);
        self.record(Record::Accepted { order }, outputs);
        perm_id
    }

    /// Why the broker rejects a new order.
    pub(super) fn obstacle(&self, order: &Order) -> Option<String> {
        let open = &self.account.open;
        if open.len() >= OPEN_ORDERS_MAX {
            return Some(format!(
                "the account has {OPEN_ORDERS_MAX} open orders, which is the most that it may have"
            ));
        }
        let own = open.values().filter(|other| other.client == order.client);
        if own.count() >= CLIENT_ORDERS_MAX {
            return Some(format!(
                "the client has {CLIENT_ORDERS_MAX} open orders, which is the most that one may have"
            ));
        }
        let goes = order.ticket.transmit;
        self.objection(order, None).filter(|_| goes)
    }

    /// An order as it begins.
    pub(super) fn fresh(&self, perm_id: i64, client: i32, order_id: i32, mut ticket: Ticket) -> Order {
        let parent_perm_id = ticket
            .parent
            .and_then(|parent| self.account.find_open(client, parent))
            .map(|parent| parent.perm_id);
        // The children of an order are a group even if nobody says so: the account is to leave its position once.
        if let Some(parent) = parent_perm_id.filter(|_| ticket.group.is_none()) {
            ticket.group = Some(Group {
                name: parent.to_string(),
                effect: GroupEffect::ReduceWithoutBlock,
            });
        }
        Order {
            perm_id,
            client,
            order_id,
            status: Status::Held,
            triggered: false,
            trail_stop: ticket.kind.start(),
            parent_perm_id,
            filled: Quantity::ZERO,
            turnover: Decimal::ZERO,
            commission: Decimal::ZERO,
            part_left: Quantity::ZERO,
            last_price: Price::ZERO,
            placed_at: self.now,
            end: None,
            ticket,
        }
    }

    /// An open order with new terms.
    pub(super) fn changed(order: &Order, mut ticket: Ticket) -> Order {
        ticket.parent = order.ticket.parent;
        if ticket.group.is_none() {
            ticket.group.clone_from(&order.ticket.group);
        }
        let mut changed = order.clone();
        changed.change(&ticket);
        changed
    }

    /// Gives a working order new terms. Family and group stay, unless another group is named.
    fn modify(&mut self, perm_id: i64, ticket: Ticket, outputs: &mut Vec<Output>) -> Result<(), Refusal> {
        let order = self.account.open.get(&perm_id).ok_or(Refusal::UnknownOrder)?;
        let changed = Self::changed(order, ticket);
        // What is kept back still is checked when it is let go.
        let is_at_exchange = order.status != Status::Untransmitted;
        if is_at_exchange && let Some(reason) = self.objection(&changed, Some(order)) {
            return Err(Refusal::Rejected(reason));
        }
        let (ticket, at) = (Box::new(changed.ticket), self.now);
        self.record(Record::Modified { perm_id, ticket, at }, outputs);
        // The new terms may have to wait for what the old ones did not.
        let phase = self.market.calendar().phase(self.now);
        let waits = |order: &&Order| {
            order.status == Status::Working
                && (order.awaits_trigger() || order.awaits_close() || !in_session(order, phase))
        };
        if self.account.open.get(&perm_id).filter(waits).is_some() {
            self.record(Record::Held { perm_id, at }, outputs);
        }
        Ok(())
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
        let completed = self.account.find_completed(client, order_id);
        let ended = completed.is_some_and(|order| order.is_meant_by(client, order_id));
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
                let Some(step) = self.market.price_step(symbol) else {
                    return;
                };
                self.books.insert(symbol, Book::new(tick, step, None, None));
            }
        }
        if self.account.day.is_none() {
            self.begin_day(outputs);
        }
        if self.account.open.is_empty() {
            return;
        }
        self.awaken(symbol, outputs);
        for perm_id in self.orders_of(symbol, Status::Working) {
            self.work(perm_id, true, outputs);
        }
        self.rouse(outputs);
    }

    fn orders_of(&self, symbol: Symbol, status: Status) -> Vec<i64> {
        let ours = |order: &&Order| order.ticket.symbol == symbol && order.status == status;
        let orders = self.account.open.values().filter(ours);
        orders.map(|order| order.perm_id).collect()
    }

    /// Puts held orders into the book whose turn, session and trigger have come.
    fn awaken(&mut self, symbol: Symbol, outputs: &mut Vec<Output>) {
        let held = self.orders_of(symbol, Status::Held);
        if held.is_empty() {
            return;
        }
        let phase = self.market.calendar().phase(self.now);
        for perm_id in held {
            self.wake(perm_id, phase, outputs);
            // What has just traded lets its children go, and they are checked before their own turn comes here.
            self.rouse(outputs);
        }
    }

    /// Puts a held order into the book if nothing keeps it; a trailing stop that goes on sleeping follows the market.
    pub(super) fn wake(&mut self, perm_id: i64, phase: Phase, outputs: &mut Vec<Output>) {
        let Some(order) = self.account.open.get(&perm_id) else {
            return;
        };
        let symbol = order.ticket.symbol;
        let waits = order.awaits_close() || self.awaits_parent(order) || !in_session(order, phase);
        if order.status != Status::Held || waits {
            return;
        }
        let (at, triggered) = (self.now, order.awaits_trigger());
        if triggered {
            // A price of a bar that is over reaches nothing: the next one may be far from it.
            let shown = self.books.get(&symbol).filter(|book| book.is_live(at));
            let (Some(book), Some(step)) = (shown, self.market.price_step(symbol)) else {
                return;
            };
            let price = book.tick.price;
            if !order.wakes_at(price) {
                if let Some(stop) = order.trailed(price, step) {
                    self.record(Record::Trailed { perm_id, stop, at }, outputs);
                }
                return;
            }
        }
        let record = Record::Working {
            perm_id,
            triggered,
            at,
        };
        self.record(record, outputs);
        self.work(perm_id, false, outputs);
        self.end_spent(perm_id, outputs);
    }

    /// Ends an order that could not trade at once but had to.
    pub(super) fn end_spent(&mut self, perm_id: i64, outputs: &mut Vec<Output>) {
        let Some(order) = self.account.open.get(&perm_id) else {
            return;
        };
        let had_its_chance = match order.status {
            Status::Working => true,
            Status::Held => !order.awaits_trigger() && !order.awaits_close() && !self.awaits_parent(order),
            _ => false,
        };
        if had_its_chance && order.ticket.lifetime.is_immediate() {
            let reason = "Immediate: nothing more could trade at once";
            self.end(perm_id, Status::Cancelled, reason, outputs);
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
        let found = self.desk.allowed(order, matched(order, book, self.now, resting));
        for one in &found {
            book.consume(side, one.quantity);
        }
        for one in found {
            self.execute(perm_id, one, outputs);
        }
    }

    /// Carries a trade out.
    pub(super) fn execute(&mut self, perm_id: i64, found: Match, outputs: &mut Vec<Output>) {
        if let Some(fill) = self.fill(perm_id, found) {
            self.record(Record::Filled { fill }, outputs);
            self.pass_on(perm_id, found.quantity, outputs);
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
            corrections: 0,
            at: self.now,
        })
    }

    /// Takes a fact in and tells it.
    pub(super) fn record(&mut self, record: Record, outputs: &mut Vec<Output>) {
        self.account.apply(&record);
        let ended = match &record {
            Record::Filled { fill } => self.account.completed.get(&fill.perm_id),
            Record::Ended { perm_id, .. } => self.account.completed.get(perm_id),
            _ => None,
        };
        if let Some(order) = ended {
            self.desk.forget(order);
        }
        self.expiry = self.next_expiry();
        outputs.push(Output::Record(record));
    }
}
