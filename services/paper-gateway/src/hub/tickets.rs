//! What a client asks for on the wire, as the exchange understands it, or the error that says why it can't be an order.

use engine::venue::calendar;
use engine::venue::order::{Group, GroupEffect, Kind, Lifetime, Side, Ticket, Trail};
use protocol::units::exact;
use protocol::{Price, Quantity, Timestamp};

use super::Hub;
use crate::contracts::UNKNOWN;
use crate::message::request::{ORDER_ID_END, PlaceOrderRequest};
use crate::message::shared::Order as WireOrder;
use crate::message::terms::Terms;
use crate::number::plain;
use crate::request::Request;
use crate::times;

/// Longest tag of an order and longest name of a group that is kept, in bytes.
const REFERENCE_BYTES_MAX: usize = 256;
/// The way a stop is triggered that IB calls the last price; 0 leaves it to the broker.
const TRIGGER_BY_LAST: i32 = 2;

/// The last year until which an order may be good.
const GOOD_UNTIL_YEAR_MAX: i16 = 2999;
/// Highest order id that a client may choose; one above has to be at most so many above its next valid one.
/// Otherwise one order could use up all ids that there are.
const ORDER_ID_CHOSEN_MAX: i32 = 1_000_000_000;
const ORDER_ID_AHEAD_MAX: i32 = 1_000;
/// Prices from here on are not looked at: with them, sums could not be made.
const PRICE_END: f64 = 1e12;

/// Why a request can't be an order: a code of IB's and a text.
pub(super) type Invalid = (i32, String);

fn invalid(text: &str) -> Invalid {
    (321, format!("Error validating request.-'bY' : cause - {text}"))
}

impl Hub {
    /// The highest order id that a client may use now.
    fn last_order_id(&self, client: i32) -> i32 {
        let next = self.venue.account().next_order_id(client);
        let last = ORDER_ID_CHOSEN_MAX.max(next.saturating_add(ORDER_ID_AHEAD_MAX));
        last.min(ORDER_ID_END - 1)
    }

    /// The lowest order id that a client has not used: not for an order that waits for the link either.
    pub(super) fn next_order_id(&self, client: i32) -> i32 {
        let waiting = self.trouble.iter().flat_map(|trouble| &trouble.held_requests);
        let used = waiting.filter_map(|(_, owner, _, request)| match request {
            Request::PlaceOrder(place) if *owner == client => place.order_id,
            _ => None,
        });
        let legal = 1..=self.last_order_id(client);
        let next = self.venue.account().next_order_id(client);
        used.filter(|order_id| legal.contains(order_id))
            .fold(next, |next, order_id| next.max(order_id + 1))
    }

    /// What a request asks for, or why it can't be an order.
    pub(super) fn ticket(&self, client: i32, request: &PlaceOrderRequest) -> Result<Ticket, Invalid> {
        let stock = self
            .directory
            .find(request.contract.as_ref())
            .ok_or_else(|| (200, UNKNOWN.to_owned()))?;
        let terms = request
            .order
            .as_ref()
            .ok_or_else(|| invalid("the order is missing"))?;
        let order = &terms.order;
        let last = self.last_order_id(client);
        let order_id = request.order_id.unwrap_or(0);
        if !(1..=last).contains(&order_id) && !self.is_bound(client, order_id) {
            return Err(invalid(&format!("the order id must be above 0 and up to {last}")));
        }
        if order
            .account
            .as_deref()
            .is_some_and(|account| !account.is_empty() && account != self.name)
        {
            return Err(invalid("the account is not managed here"));
        }
        if let Some(what) = unsupported(request, terms) {
            return Err(invalid(&format!("{what} is not supported")));
        }
        let side = match text(order.action.as_ref()) {
            "BUY" => Side::Buy,
            "SELL" => Side::Sell,
            // SSHORT and SLONG are for institutions, whose long and short shares are kept apart.
            _ => return Err(invalid("the action must be BUY or SELL")),
        };
        let kind = kind_of(order, side)?;
        let reference = text(order.order_ref.as_ref()).to_owned();
        if reference.len() > REFERENCE_BYTES_MAX {
            return Err(invalid("the order reference is too long"));
        }
        let quantity = plain(text(order.total_quantity.as_ref())).unwrap_or(Quantity::ZERO);
        Ok(Ticket {
            lifetime: lifetime_of(order)?,
            outside_regular: order.outside_rth.unwrap_or(false),
            reference,
            parent: order.parent_id.filter(|parent| *parent != 0),
            transmit: order.transmit.unwrap_or(false),
            group: group_of(order)?,
            ..Ticket::new(stock.symbol, side, kind, quantity)
        })
    }
}

fn text(field: Option<&String>) -> &str {
    field.map_or("", String::as_str)
}

/// A number that a client has set: not left out, not zero and not one of the values that stand for nothing.
fn is_set(field: Option<f64>) -> bool {
    field.is_some_and(|value| value != 0.0 && value.abs() < f64::MAX)
}

/// What an order wants that would change how it trades and that is not done here.
fn unsupported(request: &PlaceOrderRequest, terms: &Terms) -> Option<String> {
    if let Some(field) = &terms.refused {
        return Some(format!("the field {field} of the order"));
    }
    let order_id = |id: Option<i32>| id.is_some_and(|id| id != 0 && id != i32::MAX);
    let attached = request.attached_orders.as_ref().is_some_and(|attached| {
        order_id(attached.stop_loss_order_id) || order_id(attached.profit_taker_order_id)
    });
    let method = terms.order.trigger_method.unwrap_or(0);
    let wanted = [
        (
            ![0, TRIGGER_BY_LAST].contains(&method),
            "a trigger by anything but the last price",
        ),
        (attached, "an exit from presets"),
    ];
    let found = wanted.into_iter().find(|(is_wanted, _)| *is_wanted);
    found.map(|(_, what)| what.to_owned())
}

/// The price conditions of an order.
fn kind_of(order: &WireOrder, side: Side) -> Result<Kind, Invalid> {
    let given = |field: Option<f64>| {
        let fits = |value: &f64| is_set(field) && value.abs() < PRICE_END;
        field.filter(fits).and_then(exact)
    };
    let price = |field: Option<f64>, name: &str| {
        given(field).ok_or_else(|| invalid(&format!("the {name} is missing")))
    };
    let (limit, stop) = (
        || price(order.lmt_price, "limit price"),
        || price(order.aux_price, "stop price"),
    );
    let trail = |limit_offset: Option<Price>| {
        let by = match (given(order.trailing_percent), given(order.aux_price)) {
            (Some(percent), None) => Trail::Percent(percent),
            (None, Some(amount)) => Trail::Amount(amount),
            _ => {
                return Err(invalid(
                    "either the trailing amount or the trailing percent must be given",
                ));
            }
        };
        let start = given(order.trail_stop_price);
        Ok(Kind::Trail {
            by,
            start,
            limit_offset,
        })
    };
    Ok(match text(order.order_type.as_ref()) {
        "MKT" => Kind::Market,
        "LMT" => Kind::Limit(limit()?),
        "STP" => Kind::Stop(stop()?),
        "STP LMT" => Kind::StopLimit {
            stop: stop()?,
            limit: limit()?,
        },
        "TRAIL" => trail(None)?,
        "TRAIL LIMIT" => {
            // The distance is given, or follows from where stop and limit begin.
            let offset = match (order.lmt_price_offset, given(order.trail_stop_price)) {
                (Some(offset), _) if offset.abs() < PRICE_END => exact(offset),
                (_, Some(start)) => Some((limit()? - start) * side.sign()),
                _ => None,
            };
            let offset = offset.ok_or_else(|| invalid("the limit price offset is missing"))?;
            trail(Some(offset))?
        }
        "MOC" => Kind::OnClose { limit: None },
        "LOC" => Kind::OnClose {
            limit: Some(limit()?),
        },
        "MIT" => Kind::Touch {
            price: price(order.aux_price, "trigger price")?,
            limit: None,
        },
        "LIT" => Kind::Touch {
            price: price(order.aux_price, "trigger price")?,
            limit: Some(limit()?),
        },
        other => {
            return Err((
                387,
                format!("Unsupported order type for this exchange and security type: {other}"),
            ));
        }
    })
}

fn lifetime_of(order: &WireOrder) -> Result<Lifetime, Invalid> {
    Ok(match text(order.tif.as_ref()) {
        "" | "DAY" => Lifetime::Day,
        "GTC" => Lifetime::GoodTillCancelled,
        "IOC" => Lifetime::ImmediateOrCancel,
        "FOK" => Lifetime::FillOrKill,
        "GTD" => {
            let end = times::parse_end(text(order.good_till_date.as_ref()));
            let fits = |end: &Timestamp| calendar::local(*end).year() <= GOOD_UNTIL_YEAR_MAX;
            Lifetime::GoodTillDate(end.filter(fits).ok_or_else(|| {
                let hint = format!(
                    "The time or time-zone entered is invalid. The correct format is yyyymmdd hh:mm:ss xx/xxxx \
                     or yyyymmdd-hh:mm:ss in UTC, of the year {GOOD_UNTIL_YEAR_MAX} at the latest."
                );
                (391, hint)
            })?)
        }
        other => return Err(invalid(&format!("time in force {other} is not supported"))),
    })
}

fn group_of(order: &WireOrder) -> Result<Option<Group>, Invalid> {
    let name = text(order.oca_group.as_ref());
    if name.is_empty() {
        return Ok(None);
    }
    if name.len() > REFERENCE_BYTES_MAX {
        return Err(invalid("the name of the OCA group is too long"));
    }
    let effect = match order.oca_type.unwrap_or(0) {
        0 | 1 => GroupEffect::CancelWithBlock,
        2 => GroupEffect::ReduceWithBlock,
        3 => GroupEffect::ReduceWithoutBlock,
        _ => return Err(invalid("the OCA type must be 1, 2 or 3")),
    };
    Ok(Some(Group {
        name: name.to_owned(),
        effect,
    }))
}
