//! Orders as the wire shows them.

use engine::venue::order::{GroupEffect, Kind, Lifetime, Order, Side, Status, Ticket, Trail};
use protocol::Symbol;

use super::Hub;
use super::prices::text;
use crate::message::account::{OpenOrder, OrderStatus};
use crate::message::shared::{Contract, Order as WireOrder, OrderState};
use crate::number::approximate;
use crate::times;

/// What IB calls an order that it has and does not trade, or has refused.
const INACTIVE: &str = "Inactive";

impl Hub {
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

    pub(super) fn open_order(&self, order: &Order) -> OpenOrder {
        let state = OrderState {
            status: Some(self.status_shown(order).into()),
            ..state(order)
        };
        OpenOrder {
            order_id: Some(order.order_id),
            contract: self.contract(order.ticket.symbol),
            order: Some(self.wire_order(order)),
            order_state: Some(state),
        }
    }

    /// How an order is, or what a fault makes of it.
    fn status_shown(&self, order: &Order) -> &'static str {
        let of = (order.client, order.order_id);
        let mut trouble = self.trouble.iter();
        if order.end.is_none() && trouble.any(|trouble| trouble.inactive.contains(&of)) {
            return INACTIVE;
        }
        status_name(order.status)
    }

    pub(super) fn wire_order(&self, order: &Order) -> WireOrder {
        let Ticket {
            side,
            kind,
            quantity,
            lifetime,
            outside_regular,
            ref reference,
            ref group,
            parent,
            ..
        } = order.ticket;
        let good_till = match lifetime {
            Lifetime::GoodTillDate(end) => Some(times::with_zone(end)),
            _ => None,
        };
        let named = WireOrder {
            client_id: Some(order.client),
            order_id: Some(order.order_id),
            perm_id: Some(order.perm_id),
            parent_id: Some(parent.unwrap_or(0)),
            parent_perm_id: order.parent_perm_id,
            action: Some(if side == Side::Buy { "BUY" } else { "SELL" }.into()),
            total_quantity: Some(text(quantity)),
            order_type: Some(type_name(kind).into()),
            lmt_price: order.limit().map(approximate),
            aux_price: order.trigger().map(approximate),
            tif: Some(lifetime_name(lifetime).into()),
            good_till_date: good_till,
            account: Some(self.name.clone()),
            outside_rth: Some(outside_regular),
            order_ref: (!reference.is_empty()).then(|| reference.clone()),
            oca_group: group.as_ref().map(|group| group.name.clone()),
            oca_type: group.as_ref().map(|group| group_number(group.effect)),
            transmit: Some(order.status != Status::Untransmitted),
            ..WireOrder::default()
        };
        let Kind::Trail { by, limit_offset, .. } = kind else {
            return named;
        };
        let (amount, percent) = match by {
            Trail::Amount(amount) => (Some(amount), None),
            Trail::Percent(percent) => (None, Some(percent)),
        };
        WireOrder {
            aux_price: amount.map(approximate),
            trailing_percent: percent.map(approximate),
            trail_stop_price: order.trail_stop.map(approximate),
            lmt_price_offset: limit_offset.map(approximate),
            ..named
        }
    }

    pub(super) fn status(&self, order: &Order) -> OrderStatus {
        OrderStatus {
            order_id: Some(order.order_id),
            status: Some(self.status_shown(order).into()),
            filled: Some(text(order.filled)),
            remaining: Some(text(order.remaining())),
            avg_fill_price: Some(approximate(order.average_price())),
            perm_id: Some(order.perm_id),
            parent_id: Some(order.ticket.parent.unwrap_or(0)),
            last_fill_price: Some(approximate(order.last_price)),
            client_id: Some(order.client),
            why_held: Some(self.why_held(order)),
            mkt_cap_price: Some(0.0),
        }
    }

    /// What a held order waits for, besides the session.
    fn why_held(&self, order: &Order) -> String {
        let parent = order.parent_perm_id;
        let reasons = [
            (
                parent.is_some_and(|parent| self.told.open.contains_key(&parent)),
                "child",
            ),
            (order.awaits_trigger(), "trigger"),
        ];
        let held = reasons
            .into_iter()
            .filter(|(waits, _)| *waits && order.status == Status::Held);
        held.map(|(_, why)| why).collect::<Vec<_>>().join(",")
    }
}

pub(super) fn state(order: &Order) -> OrderState {
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

pub(super) fn status_name(status: Status) -> &'static str {
    match status {
        Status::Untransmitted => "ApiPending",
        Status::Held => "PreSubmitted",
        Status::Working => "Submitted",
        Status::Filled => "Filled",
        Status::Cancelled => "Cancelled",
        Status::Rejected => INACTIVE,
    }
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Market => "MKT",
        Kind::Limit(_) => "LMT",
        Kind::Stop(_) => "STP",
        Kind::StopLimit { .. } => "STP LMT",
        Kind::Trail {
            limit_offset: None, ..
        } => "TRAIL",
        Kind::Trail { .. } => "TRAIL LIMIT",
        Kind::Touch { limit: None, .. } => "MIT",
        Kind::Touch { .. } => "LIT",
        Kind::OnClose { limit: None } => "MOC",
        Kind::OnClose { .. } => "LOC",
    }
}

fn lifetime_name(lifetime: Lifetime) -> &'static str {
    match lifetime {
        Lifetime::Day => "DAY",
        Lifetime::GoodTillCancelled => "GTC",
        Lifetime::GoodTillDate(_) => "GTD",
        Lifetime::ImmediateOrCancel => "IOC",
        Lifetime::FillOrKill => "FOK",
    }
}

fn group_number(effect: GroupEffect) -> i32 {
    match effect {
        GroupEffect::CancelWithBlock => 1,
        GroupEffect::ReduceWithBlock => 2,
        GroupEffect::ReduceWithoutBlock => 3,
    }
}
