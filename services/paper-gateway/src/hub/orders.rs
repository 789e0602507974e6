//! Orders: taking them in, telling their owners what becomes of them, and answering who asks.

use anyhow::Result;
use engine::venue::calendar;
use engine::venue::checks::Preview;
use engine::venue::family::GENERATIONS_MAX;
use engine::venue::order::{Order, Status, Ticket, UNBOUND};
use engine::venue::record::{Fill, Record};
use engine::venue::{Input, Refusal};
use jiff::ToSpan;

use super::order_frames::{state, status_name};
use super::prices::text;
use super::{Hub, executions};
use crate::contracts::UNKNOWN;
use crate::message::account::{CompletedOrder, CompletedOrdersEnd, OpenOrder, OpenOrdersEnd};
use crate::message::request::{CancelOrderRequest, PlaceOrderRequest};
use crate::message::shared::{Order as WireOrder, OrderState};
use crate::number::approximate;
use crate::peer::{NO_REQUEST, Peer};
use crate::times;

impl Hub {
    pub(super) fn place_order(&mut self, session: u64, request: &PlaceOrderRequest) -> Result<()> {
        let order_id = request.order_id.unwrap_or(0);
        let what_if = request
            .order
            .as_ref()
            .and_then(|terms| terms.order.what_if)
            .unwrap_or(false);
        let client = self.peer(session).client;
        let ticket = match self.ticket(client, request) {
            Ok(ticket) => ticket,
            Err((code, text)) => {
                self.peer(session).error(order_id, code, &text);
                return Ok(());
            }
        };
        if what_if {
            self.preview(session, order_id, &ticket);
            return Ok(());
        }
        tracing::debug!(client, order_id, symbol = %ticket.symbol, reference = ticket.reference, "order");
        self.step(Input::Place {
            client,
            order_id,
            ticket: Box::new(ticket),
        })
    }

    /// Tells what an order would need, without placing it.
    fn preview(&mut self, session: u64, order_id: i32, ticket: &Ticket) {
        let client = self.peer(session).client;
        let previewed = match self.venue.preview(client, order_id, ticket) {
            Ok(previewed) => previewed,
            Err(why) => {
                let (code, text) = self.refusal(client, order_id, &why);
                return refuse(self.peer(session), order_id, (code, &text), &why);
            }
        };
        let now = self.venue.valuation();
        let Preview {
            order,
            margin_before: before,
            margin_after: after,
            commission: fee,
        } = previewed;
        let value = |amount| Some(approximate(amount));
        let state = OrderState {
            init_margin_before: value(before),
            maint_margin_before: value(before),
            equity_with_loan_before: value(now.equity()),
            init_margin_change: value(after - before),
            maint_margin_change: value(after - before),
            equity_with_loan_change: value(-fee),
            init_margin_after: value(after),
            maint_margin_after: value(after),
            equity_with_loan_after: value(now.equity() - fee),
            commission_and_fees: value(fee),
            commission_and_fees_currency: Some("USD".into()),
            ..state(&order)
        };
        let preview = OpenOrder {
            order_state: Some(state),
            ..self.open_order(&order)
        };
        self.peer(session).send(5, &preview);
    }

    pub(super) fn cancel_order(&mut self, session: u64, request: &CancelOrderRequest) -> Result<()> {
        let client = self.peer(session).client;
        self.step(Input::Cancel {
            client,
            order_id: request.order_id.unwrap_or(0),
        })
    }

    /// Tells an order's owner of one fact.
    pub(super) fn tell_record(&mut self, record: &Record) {
        let is_new = self.is_let_go(record);
        self.told.apply(record);
        match record {
            Record::Opened { .. } | Record::Day { .. } | Record::RolledBack { .. } => {}
            Record::Corrected { number, .. } => self.tell_correction(*number),
            Record::Accepted { order } => match &order.end {
                None => {
                    self.tell_bound(order.perm_id);
                    self.tell_order(order.perm_id);
                }
                Some(end) => {
                    let text = format!("Order rejected - reason:{}", end.reason);
                    let order_id = order.order_id;
                    self.each_owner(order.client, order_id, |peer| peer.reject(order_id, 201, &text));
                }
            },
            Record::Bound { perm_id, .. } => self.tell_bound(*perm_id),
            // Where a trailing stop stands is told to who asks.
            Record::Trailed { .. } => {}
            Record::Modified { perm_id, .. }
            | Record::Reduced { perm_id, .. }
            | Record::Working { perm_id, .. }
            | Record::Held { perm_id, .. } => {
                self.tell_order(*perm_id);
            }
            Record::Filled { fill } => self.tell_fill(fill),
            Record::Ended { perm_id, .. } => self.tell_end(*perm_id),
        }
        if let Some(perm_id) = is_new {
            self.warn_of_session(perm_id);
        }
    }

    /// The order that a record lets go to the exchange for the first time.
    fn is_let_go(&self, record: &Record) -> Option<i64> {
        match record {
            Record::Accepted { order } => (order.status == Status::Held).then_some(order.perm_id),
            Record::Held { perm_id, .. } => {
                let order = self.told.open.get(perm_id)?;
                (order.status == Status::Untransmitted).then_some(*perm_id)
            }
            _ => None,
        }
    }

    /// Warns the owner of an order that was placed while it may not trade.
    fn warn_of_session(&mut self, perm_id: i64) {
        let Some(order) = self.told.open.get(&perm_id) else {
            return;
        };
        let Some(begin) = self.venue.session_of(order) else {
            return;
        };
        let contract = self.contract(order.ticket.symbol).unwrap_or_default();
        let said = [
            self.wire_order(order).action,
            Some(text(order.ticket.quantity)),
            contract.symbol,
            contract.primary_exch,
        ];
        let text = format!(
            "Order Message:\n{}\nWarning: your order will not be placed at the exchange until {}",
            said.into_iter().flatten().collect::<Vec<_>>().join(" "),
            times::spoken(begin)
        );
        let order_id = order.order_id;
        self.each_owner(order.client, order_id, |peer| peer.error(order_id, 399, &text));
    }

    fn tell_end(&mut self, perm_id: i64) {
        let Some(order) = self.told.completed.get(&perm_id).cloned() else {
            return;
        };
        self.set_active(order.client, order.order_id);
        let status = self.status(&order);
        let reason = order.end.map(|end| end.reason).unwrap_or_default();
        self.each_owner(order.client, order.order_id, |peer| {
            peer.send(3, &status);
            if order.status == Status::Rejected {
                peer.reject(order.order_id, 201, &format!("Order rejected - reason:{reason}"));
            } else {
                peer.error(order.order_id, 202, &format!("Order Canceled - reason:{reason}"));
            }
        });
    }

    /// Does something for the connections of a client.
    fn each_of(&mut self, client: i32, mut tell: impl FnMut(&mut Peer)) {
        self.peers
            .values_mut()
            .filter(|peer| peer.client == client)
            .for_each(&mut tell);
    }

    /// The same for whoever is told of an order or its trades: nobody is of one that is not bound to a number.
    pub(super) fn each_owner(&mut self, client: i32, order_id: i32, tell: impl FnMut(&mut Peer)) {
        if order_id != UNBOUND {
            self.each_of(client, tell);
        }
    }

    pub(super) fn find(&self, perm_id: i64) -> Option<&Order> {
        self.told
            .open
            .get(&perm_id)
            .or_else(|| self.told.completed.get(&perm_id))
    }

    pub(super) fn tell_order(&mut self, perm_id: i64) {
        let Some(order) = self.find(perm_id) else { return };
        let (open, status) = (self.open_order(order), self.status(order));
        let (client, order_id) = (order.client, order.order_id);
        self.each_owner(client, order_id, |peer| {
            peer.send(5, &open);
            peer.send(3, &status);
        });
    }

    fn tell_fill(&mut self, fill: &Fill) {
        let details = self.execution(NO_REQUEST, fill);
        let report = executions::report(fill);
        let Some(order) = self.find(fill.perm_id) else {
            return;
        };
        let open = order.end.is_some().then(|| self.open_order(order));
        let status = self.status(order);
        self.each_owner(fill.client, fill.order_id, |peer| {
            peer.send(11, &details);
            if let Some(open) = &open {
                peer.send(5, open);
            }
            peer.send(3, &status);
            peer.send(59, &report);
        });
    }

    pub(super) fn tell_refusal(&mut self, client: i32, order_id: i32, why: &Refusal) {
        let (code, text) = self.refusal(client, order_id, why);
        self.each_of(client, |peer| refuse(peer, order_id, (code, &text), why));
    }

    /// IB's code and text for an input that was not carried out.
    pub(super) fn refusal(&self, client: i32, order_id: i32, why: &Refusal) -> (i32, String) {
        match why {
            Refusal::UnknownSymbol => (200, UNKNOWN.to_owned()),
            Refusal::UsedId => (103, "Duplicate order id".into()),
            Refusal::Filled => (104, "Cannot modify a filled order.".into()),
            Refusal::NoParent => (10006, "Missing parent order.".into()),
            Refusal::Rejected(reason) => (201, format!("Order rejected - reason:{reason}")),
            Refusal::Mismatch => (105, "Order being modified does not match original order".into()),
            Refusal::NotTransmitted => (
                321,
                "Error validating request.-'bN' : cause - New terms of a transmitted order must be transmitted"
                    .into(),
            ),
            Refusal::TooDeep => (
                321,
                format!(
                    "Error validating request.-'bN' : cause - A family of orders has at most {GENERATIONS_MAX} generations"
                ),
            ),
            Refusal::PriceStep => (
                110,
                "The price does not conform to the minimum price variation for this contract.".into(),
            ),
            Refusal::Size => (434, "The order size must be a whole number above zero.".into()),
            Refusal::UnknownOrder => (
                10147,
                format!("OrderId {order_id} that needs to be cancelled is not found."),
            ),
            Refusal::Ended => (
                10148,
                format!(
                    "OrderId {order_id} that needs to be cancelled cannot be cancelled, state: {}.",
                    self.ended_as(client, order_id)
                ),
            ),
        }
    }

    fn ended_as(&self, client: i32, order_id: i32) -> &'static str {
        self.told
            .find_completed(client, order_id)
            .map_or("Inactive", |order| status_name(order.status))
    }

    /// Tells all orders that can still trade: of one client, or of all. What has not been transmitted is its owner's.
    pub(super) fn open_orders(&mut self, session: u64, all: bool) {
        let client = self.peer(session).client;
        let orders = self
            .told
            .open
            .values()
            .filter(|order| order.client == client || all && order.status != Status::Untransmitted);
        let told: Vec<_> = orders
            .map(|order| (self.open_order(order), self.status(order)))
            .collect();
        let peer = self.peer(session);
        for (open, status) in told {
            peer.send(5, &open);
            peer.send(3, &status);
        }
        peer.send(53, &OpenOrdersEnd {});
    }

    /// Tells the orders that ended on the present and the previous date, perhaps without those by hand.
    pub(super) fn completed_orders(&mut self, session: u64, api_only: bool) {
        let yesterday = calendar::local(self.venue.now())
            .date()
            .checked_sub(1.day())
            .unwrap_or_default();
        let since = calendar::midnight(yesterday);
        let recent = |order: &&Order| {
            order.end.as_ref().is_some_and(|end| end.at >= since) && !(api_only && order.is_by_hand())
        };
        let told: Vec<CompletedOrder> = self
            .told
            .completed
            .values()
            .filter(recent)
            .map(|order| CompletedOrder {
                contract: self.contract(order.ticket.symbol),
                order: Some(WireOrder {
                    filled_quantity: Some(text(order.filled)),
                    ..self.wire_order(order)
                }),
                order_state: Some(state(order)),
            })
            .collect();
        let peer = self.peer(session);
        for completed in &told {
            peer.send(101, completed);
        }
        peer.send(102, &CompletedOrdersEnd {});
    }
}

fn refuse(peer: &mut Peer, order_id: i32, (code, text): (i32, &str), why: &Refusal) {
    match why {
        Refusal::Rejected(_) => peer.reject(order_id, code, text),
        _ => peer.error(order_id, code, text),
    }
}
