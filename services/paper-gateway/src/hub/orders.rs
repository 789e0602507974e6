//! Orders: taking them in, telling their owners what becomes of them, and answering who asks.

use anyhow::Result;
use engine::venue::calendar;
use engine::venue::order::{Kind, Lifetime, Order, Side, Status, Ticket};
use engine::venue::record::{Fill, Record};
use engine::venue::{Input, Refusal};
use jiff::ToSpan;
use protocol::units::exact;
use protocol::{Quantity, Symbol};

use super::prices::text;
use super::{Hub, executions};
use crate::contracts::UNKNOWN;
use crate::message::account::{CompletedOrder, CompletedOrdersEnd, OpenOrder, OpenOrdersEnd, OrderStatus};
use crate::message::request::{CancelOrderRequest, PlaceOrderRequest};
use crate::message::shared::{Contract, Order as WireOrder, OrderState};
use crate::number::approximate;
use crate::peer::{NO_REQUEST, Peer};
use crate::times;

/// Order ids from here on are request ids to one of the clients.
const ORDER_ID_MAX: i32 = 1_500_000_000;
/// Longest tag of an order that is kept, in bytes.
const REFERENCE_BYTES_MAX: usize = 256;

impl Hub {
    pub(super) fn place_order(&mut self, session: u64, request: &PlaceOrderRequest) -> Result<()> {
        let order_id = request.order_id.unwrap_or(0);
        let what_if = request
            .order
            .as_ref()
            .and_then(|order| order.what_if)
            .unwrap_or(false);
        let ticket = match self.ticket(request) {
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
        let client = self.peer(session).client;
        tracing::debug!(client, order_id, symbol = %ticket.symbol, reference = ticket.reference, "order");
        self.step(Input::Place {
            client,
            order_id,
            ticket: Box::new(ticket),
        })
    }

    /// What a request asks for, or why it can't be an order.
    fn ticket(&self, request: &PlaceOrderRequest) -> Result<Ticket, Invalid> {
        let stock = self
            .directory
            .find(request.contract.as_ref())
            .ok_or_else(|| (200, UNKNOWN.to_owned()))?;
        let order = request
            .order
            .as_ref()
            .ok_or_else(|| invalid("the order is missing"))?;
        if !(1..ORDER_ID_MAX).contains(&request.order_id.unwrap_or(0)) {
            return Err(invalid("the order id must be above 0 and below 1500000000"));
        }
        if order
            .account
            .as_deref()
            .is_some_and(|account| !account.is_empty() && account != self.name)
        {
            return Err(invalid("the account is not managed here"));
        }
        if order.parent_id.unwrap_or(0) != 0 || !order.transmit.unwrap_or(false) {
            return Err(invalid(
                "orders that wait for another one or for transmission are not supported",
            ));
        }
        let text = |field: &Option<String>| field.clone().unwrap_or_default();
        let side = match text(&order.action).as_str() {
            "BUY" => Side::Buy,
            "SELL" | "SSHORT" => Side::Sell,
            _ => return Err(invalid("the action must be BUY or SELL")),
        };
        let kind = kind_of(order)?;
        let lifetime = match text(&order.tif).as_str() {
            "" | "DAY" => Lifetime::Day,
            "GTC" => Lifetime::GoodTillCancelled,
            "IOC" => Lifetime::ImmediateOrCancel,
            other => return Err(invalid(&format!("time in force {other} is not supported"))),
        };
        let reference = text(&order.order_ref);
        if reference.len() > REFERENCE_BYTES_MAX {
            return Err(invalid("the order reference is too long"));
        }
        let quantity = text(&order.total_quantity).parse().unwrap_or(Quantity::ZERO);
        let outside_regular = order.outside_rth.unwrap_or(false);
        Ok(Ticket {
            symbol: stock.symbol,
            side,
            kind,
            quantity,
            lifetime,
            outside_regular,
            reference,
        })
    }

    /// Tells what an order would need, without placing it.
    fn preview(&mut self, session: u64, order_id: i32, ticket: &Ticket) {
        let now = self.venue.valuation();
        let price = self.venue.mark(ticket.symbol).unwrap_or_default();
        let shares = self.told.shares(ticket.symbol);
        let after = (shares + ticket.side.sign() * ticket.quantity).abs();
        let change = (after - shares.abs()) * price * engine::venue::money::MARGIN;
        let fee = engine::venue::money::commission(ticket.quantity, ticket.quantity * price);
        let client = self.peer(session).client;
        let order = Order {
            perm_id: 0,
            client,
            order_id,
            ticket: ticket.clone(),
            status: Status::Held,
            triggered: false,
            filled: Quantity::ZERO,
            turnover: Quantity::ZERO,
            commission: fee,
            last_price: Quantity::ZERO,
            placed_at: self.venue.now(),
            end: None,
        };
        let value = |amount| Some(approximate(amount));
        let state = OrderState {
            init_margin_before: value(now.margin),
            maint_margin_before: value(now.margin),
            equity_with_loan_before: value(now.equity()),
            init_margin_change: value(change),
            maint_margin_change: value(change),
            equity_with_loan_change: value(-fee),
            init_margin_after: value(now.margin + change),
            maint_margin_after: value(now.margin + change),
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

    /// Tells an order's owner, and whoever follows the account, of one fact.
    pub(super) fn tell_record(&mut self, record: &Record) {
        self.told.apply(record);
        match record {
            Record::Opened { .. } | Record::Day { .. } => {}
            Record::Accepted { order } => match &order.end {
                None => self.tell_order(order.perm_id),
                Some(end) => {
                    let text = format!("Order rejected - reason:{}", end.reason);
                    let order_id = order.order_id;
                    self.each_of(order.client, |peer| peer.reject(order_id, 201, &text));
                }
            },
            Record::Modified { perm_id, .. }
            | Record::Working { perm_id, .. }
            | Record::Held { perm_id, .. } => {
                self.tell_order(*perm_id);
            }
            Record::Filled { fill } => self.tell_fill(fill),
            Record::Ended { perm_id, reason, .. } => {
                let Some(order) = self.told.completed.get(perm_id).cloned() else {
                    return;
                };
                let status = status(&order);
                let text = format!("Order Canceled - reason:{reason}");
                self.each_of(order.client, |peer| {
                    peer.send(3, &status);
                    peer.error(order.order_id, 202, &text);
                });
            }
        }
    }

    fn each_of(&mut self, client: i32, mut tell: impl FnMut(&mut Peer)) {
        self.peers
            .values_mut()
            .filter(|peer| peer.client == client)
            .for_each(&mut tell);
    }

    fn find(&self, perm_id: i64) -> Option<&Order> {
        self.told
            .open
            .get(&perm_id)
            .or_else(|| self.told.completed.get(&perm_id))
    }

    fn tell_order(&mut self, perm_id: i64) {
        let Some(order) = self.find(perm_id) else { return };
        let (open, status, client) = (self.open_order(order), status(order), order.client);
        self.each_of(client, |peer| {
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
        let status = status(order);
        self.each_of(fill.client, |peer| {
            peer.send(11, &details);
            if let Some(open) = &open {
                peer.send(5, open);
            }
            peer.send(3, &status);
            peer.send(59, &report);
        });
        self.tell_position(fill.symbol);
    }

    pub(super) fn tell_refusal(&mut self, client: i32, order_id: i32, why: Refusal) {
        let (code, text) = match why {
            Refusal::UnknownSymbol => (200, UNKNOWN.to_owned()),
            Refusal::UsedId => (103, "Duplicate order id".into()),
            Refusal::Mismatch => (105, "Order being modified does not match original order".into()),
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
        };
        self.each_of(client, |peer| peer.error(order_id, code, &text));
    }

    fn ended_as(&self, client: i32, order_id: i32) -> &'static str {
        self.told
            .find_completed(client, order_id)
            .map_or("Inactive", |order| status_name(order.status))
    }

    /// Tells all orders that can still trade: of one client, or of all.
    pub(super) fn open_orders(&mut self, session: u64, all: bool) {
        let client = self.peer(session).client;
        let orders = self
            .told
            .open
            .values()
            .filter(|order| all || order.client == client);
        let told: Vec<_> = orders
            .map(|order| (self.open_order(order), status(order)))
            .collect();
        let peer = self.peer(session);
        for (open, status) in told {
            peer.send(5, &open);
            peer.send(3, &status);
        }
        peer.send(53, &OpenOrdersEnd {});
    }

    /// Tells the orders that ended on the present and the previous date.
    pub(super) fn completed_orders(&mut self, session: u64) {
        let yesterday = calendar::local(self.venue.now())
            .date()
            .checked_sub(1.day())
            .unwrap_or_default();
        let since = calendar::midnight(yesterday);
        let recent = |order: &&Order| order.end.as_ref().is_some_and(|end| end.at >= since);
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

    pub(super) fn contract(&self, symbol: Symbol) -> Option<Contract> {
        self.directory
            .get(symbol)
            .map(crate::contracts::Stock::contract)
            .or_else(|| {
                // A stock that is held but no longer traded here.
                Some(Contract {
                    symbol: Some(symbol.broker_text()),
                    sec_type: Some("STK".into()),
                    ..Contract::default()
                })
            })
    }

    fn open_order(&self, order: &Order) -> OpenOrder {
        OpenOrder {
            order_id: Some(order.order_id),
            contract: self.contract(order.ticket.symbol),
            order: Some(self.wire_order(order)),
            order_state: Some(state(order)),
        }
    }

    fn wire_order(&self, order: &Order) -> WireOrder {
        let Ticket {
            side,
            kind,
            quantity,
            lifetime,
            outside_regular,
            ref reference,
            ..
        } = order.ticket;
        let (order_type, stop) = match kind {
            Kind::Market => ("MKT", None),
            Kind::Limit(_) => ("LMT", None),
            Kind::Stop(stop) => ("STP", Some(stop)),
            Kind::StopLimit { stop, .. } => ("STP LMT", Some(stop)),
        };
        let tif = match lifetime {
            Lifetime::Day => "DAY",
            Lifetime::GoodTillCancelled => "GTC",
            Lifetime::ImmediateOrCancel => "IOC",
        };
        WireOrder {
            client_id: Some(order.client),
            order_id: Some(order.order_id),
            perm_id: Some(order.perm_id),
            parent_id: Some(0),
            action: Some(if side == Side::Buy {
                "BUY".into()
            } else {
                "SELL".into()
            }),
            total_quantity: Some(text(quantity)),
            order_type: Some(order_type.into()),
            lmt_price: order.limit().map(approximate),
            aux_price: stop.map(approximate),
            tif: Some(tif.into()),
            account: Some(self.name.clone()),
            outside_rth: Some(outside_regular),
            order_ref: (!reference.is_empty()).then(|| reference.clone()),
            transmit: Some(true),
            ..WireOrder::default()
        }
    }
}

/// Why a request can't be an order: a code of IB's and a text.
type Invalid = (i32, String);

fn invalid(text: &str) -> Invalid {
    (321, format!("Error validating request.-'bY' : cause - {text}"))
}

/// The price conditions of an order.
fn kind_of(order: &WireOrder) -> Result<Kind, Invalid> {
    let price = |field: Option<f64>, name: &str| {
        field
            .and_then(exact)
            .ok_or_else(|| invalid(&format!("the {name} is missing")))
    };
    let (limit, stop) = (
        || price(order.lmt_price, "limit price"),
        || price(order.aux_price, "stop price"),
    );
    Ok(match order.order_type.as_deref().unwrap_or_default() {
        "MKT" => Kind::Market,
        "LMT" => Kind::Limit(limit()?),
        "STP" => Kind::Stop(stop()?),
        "STP LMT" => Kind::StopLimit {
            stop: stop()?,
            limit: limit()?,
        },
        other => {
            return Err((
                387,
                format!("Unsupported order type for this exchange and security type: {other}"),
            ));
        }
    })
}

fn status(order: &Order) -> OrderStatus {
    OrderStatus {
        order_id: Some(order.order_id),
        status: Some(status_name(order.status).into()),
        filled: Some(text(order.filled)),
        remaining: Some(text(order.remaining())),
        avg_fill_price: Some(approximate(order.average_price())),
        perm_id: Some(order.perm_id),
        parent_id: Some(0),
        last_fill_price: Some(approximate(order.last_price)),
        client_id: Some(order.client),
        why_held: Some(String::new()),
        mkt_cap_price: Some(0.0),
    }
}

fn state(order: &Order) -> OrderState {
    let end = order.end.as_ref();
    OrderState {
        status: Some(status_name(order.status).into()),
        completed_time: end.map(|end| times::with_zone(end.at)),
        completed_status: end.map(|end| end.reason.clone()),
        reject_reason: end
            .filter(|_| order.status == Status::Rejected)
            .map(|end| end.reason.clone()),
        ..OrderState::default()
    }
}

fn status_name(status: Status) -> &'static str {
    match status {
        Status::Held => "PreSubmitted",
        Status::Working => "Submitted",
        Status::Filled => "Filled",
        Status::Cancelled => "Cancelled",
        Status::Rejected => "Inactive",
    }
}
