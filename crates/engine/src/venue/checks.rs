//! What speaks against an order: what it lacks to be one, and what the broker does not let the account do.

use std::collections::{BTreeMap, BTreeSet};
use std::mem::discriminant;

use protocol::{Money, Price, Quantity, Symbol};
use rust_decimal::Decimal;

use super::account::Position;
use super::calendar;
use super::desk;
use super::money;
use super::order::{Kind, Lifetime, Order, Side, Status, Ticket, Trail};
use super::{Refusal, Venue};

/// Least worth of an account that may owe shares, in dollars.
const SHORT_EQUITY_MIN: Money = Decimal::from_parts(2000, 0, 0, false, 0);

/// Greatest number of shares and greatest price that an order may name: far from where sums of money end.
const QUANTITY_MAX: Quantity = Decimal::from_parts(100_000_000, 0, 0, false, 0);
const PRICE_MAX: Price = Decimal::from_parts(10_000_000, 0, 0, false, 0);

/// What this broker does not do.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// Stocks that nobody lends.
    pub not_shortable: BTreeSet<Symbol>,
}

/// What an order would need and cost, if it were placed now and traded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The order as it would be.
    pub order: Order,
    /// Margin that positions and all working orders need without it.
    pub margin_before: Money,
    /// Margin that they need with it. The account has to be worth that much, unless it is no more than before.
    pub margin_after: Money,
    /// What the broker would take for what is still to trade.
    pub commission: Money,
}

impl Venue {
    /// What can be said about an order before it is one.
    pub(super) fn check(&self, client: i32, order_id: i32, ticket: &Ticket) -> Result<(), Refusal> {
        self.check_ticket(ticket)?;
        if let Some(order) = self.account.find_open(client, order_id) {
            let same = order.ticket.symbol == ticket.symbol && order.ticket.side == ticket.side;
            return match () {
                () if !same || ticket.quantity <= order.filled => Err(Refusal::Mismatch),
                () if !ticket.transmit && order.status != Status::Untransmitted => {
                    Err(Refusal::NotTransmitted)
                }
                () => Ok(()),
            };
        }
        if order_id < self.account.next_order_id(client) {
            // Who sends the same order again means to change it; anything else is a number used twice.
            let is_change = |order: &&Order| {
                order.status == Status::Filled
                    && (order.ticket.symbol, order.ticket.side) == (ticket.symbol, ticket.side)
                    && discriminant(&order.ticket.kind) == discriminant(&ticket.kind)
            };
            let used = self.account.find_completed(client, order_id);
            let filled = used.filter(is_change).is_some();
            return Err(if filled { Refusal::Filled } else { Refusal::UsedId });
        }
        if !self.account.has_room_for(client) {
            let reason = "Too many clients have placed orders of this account";
            return Err(Refusal::Rejected(reason.into()));
        }
        let Some(parent) = ticket.parent else {
            return Ok(());
        };
        let parent = self.account.find_open(client, parent).ok_or(Refusal::NoParent)?;
        if self.is_last_generation(parent) {
            return Err(Refusal::TooDeep);
        }
        Ok(())
    }

    /// What a ticket lacks, whoever sends it.
    fn check_ticket(&self, ticket: &Ticket) -> Result<(), Refusal> {
        let step = self
            .market
            .price_step(ticket.symbol)
            .ok_or(Refusal::UnknownSymbol)?;
        let size = ticket.quantity;
        if size <= Quantity::ZERO || size > QUANTITY_MAX || !size.fract().is_zero() {
            return Err(Refusal::Size);
        }
        let none = [None; 3];
        let prices = match ticket.kind {
            Kind::Market => none,
            Kind::Limit(limit) => [Some(limit), None, None],
            Kind::Stop(stop) => [Some(stop), None, None],
            Kind::StopLimit { stop, limit } => [Some(stop), Some(limit), None],
            Kind::Touch { price, limit } => [Some(price), limit, None],
            Kind::OnClose { limit } => [limit, None, None],
            Kind::Trail {
                by: Trail::Amount(amount),
                start,
                limit_offset,
            } => [
                Some(amount),
                start,
                limit_offset.filter(|offset| !offset.is_zero()),
            ],
            Kind::Trail {
                by: Trail::Percent(percent),
                start,
                limit_offset,
            } => {
                if percent <= Decimal::ZERO || percent >= Decimal::ONE_HUNDRED {
                    return Err(Refusal::PriceStep);
                }
                [start, limit_offset.filter(|offset| !offset.is_zero()), None]
            }
        };
        let off_step =
            |price: &Price| *price <= Price::ZERO || *price > PRICE_MAX || !(price % step).is_zero();
        if prices.iter().flatten().any(off_step) {
            return Err(Refusal::PriceStep);
        }
        Ok(())
    }

    /// Why the broker rejects an order. `present` is what it stands for, if it has been accepted before.
    pub(super) fn objection(&self, order: &Order, present: Option<&Order>) -> Option<String> {
        if matches!(order.ticket.lifetime, Lifetime::GoodTillDate(end) if end <= self.now) {
            return Some("The good-till date has passed".into());
        }
        if order.awaits_close() && self.has_closed() {
            return Some("Orders for the close are taken until the close only".into());
        }
        let name = |order: &Order| order.ticket.group.as_ref().map(|group| group.name.clone());
        let joins = present.is_none_or(|present| name(present) != name(order));
        if joins && self.has_group_traded(order) {
            return Some("The OCA group has traded already".into());
        }
        // What waits for another order needs nothing before its turn comes.
        if self.awaits_parent(order) {
            return None;
        }
        self.no_short_sale(order)
            .or_else(|| self.unaffordable(order, present))
    }

    /// Whether the close of today has been, or no close comes any more.
    fn has_closed(&self) -> bool {
        let today = calendar::local(self.now).date();
        let session = self.market.calendar().regular(today);
        self.next_change.is_none() || session.is_some_and(|session| session.close <= self.now)
    }

    /// Whether an order of the same group has traded to its end today.
    fn has_group_traded(&self, order: &Order) -> bool {
        let Some(group) = &order.ticket.group else {
            return false;
        };
        let midnight = calendar::midnight(calendar::local(self.now).date());
        self.account.completed.values().any(|other| {
            other.status == Status::Filled
                && other.client == order.client
                && other
                    .ticket
                    .group
                    .as_ref()
                    .is_some_and(|of| of.name == group.name)
                && other.end.as_ref().is_some_and(|end| end.at >= midnight)
        })
    }

    /// Why an order can't be carried out that could leave the account owing shares.
    fn no_short_sale(&self, order: &Order) -> Option<String> {
        let symbol = order.ticket.symbol;
        let shares = self.account.shares(symbol);
        let others = self.others(order).filter(|other| other.ticket.symbol == symbol);
        let (_, before) = money::reach(shares, others.clone());
        let (_, after) = money::reach(shares, others.chain([order]));
        if after >= before.min(Quantity::ZERO) {
            return None;
        }
        if self.rules.not_shortable.contains(&symbol) {
            return Some("The contract is not available for short sale".into());
        }
        let equity = self.valuation().equity();
        (equity < SHORT_EQUITY_MIN).then(|| {
            format!(
                "Short sales need equity with loan value of {SHORT_EQUITY_MIN} USD, there are {}",
                equity.round_dp(2)
            )
        })
    }

    /// Why the account can't carry an order: margin must suffice if all working orders trade.
    fn unaffordable(&self, order: &Order, present: Option<&Order>) -> Option<String> {
        let (before, needed) = self.margins(order, present);
        if needed <= before {
            return None;
        }
        if self.worth(order).is_none() {
            let symbol = order.ticket.symbol;
            return Some(format!(
                "{symbol} has no price yet, so the margin needed is unknown"
            ));
        }
        let equity = self.valuation().equity();
        (needed > equity).then(|| {
            format!(
                "Your Available Funds are insufficient: equity with loan value {} USD, margin needed {} USD",
                equity.round_dp(2),
                needed.round_dp(2)
            )
        })
    }

    /// Margin of all positions and working orders without an order, where `present` is what it stands for, and with it.
    fn margins(&self, order: &Order, present: Option<&Order>) -> (Money, Money) {
        (
            self.need(self.others(order).chain(present)),
            self.need(self.others(order).chain([order])),
        )
    }

    /// All other orders that may trade without another one trading first.
    fn others(&self, order: &Order) -> impl Iterator<Item = &Order> + Clone {
        let perm_id = order.perm_id;
        self.account.open.values().filter(move |other| {
            other.perm_id != perm_id && other.status != Status::Untransmitted && !self.awaits_parent(other)
        })
    }

    /// Margin of all positions if the worst of some orders came true.
    fn need<'a>(&'a self, orders: impl Iterator<Item = &'a Order>) -> Money {
        let mut by_symbol: BTreeMap<Symbol, Vec<(&Order, Price)>> = self
            .account
            .positions
            .keys()
            .map(|symbol| (*symbol, Vec::new()))
            .collect();
        for order in orders {
            // What nobody can value counts as the most that it can be.
            let priced = (order, self.worth(order).unwrap_or(PRICE_MAX));
            by_symbol.entry(order.ticket.symbol).or_default().push(priced);
        }
        let margin = |(symbol, orders): (Symbol, Vec<(&Order, Price)>)| {
            let flat = Position::default();
            let position = self.account.positions.get(&symbol).unwrap_or(&flat);
            let mark = self.price_held(symbol, position);
            money::worst_margin(position.quantity, mark, &orders)
        };
        by_symbol.into_iter().map(margin).sum()
    }

    /// The price at which a share of an order counts before it trades: its own or the market's, the greater one. `None`
    /// where nobody knows it. What is sold short is owed at the market's price, so that a sale's own does not tell.
    fn worth(&self, order: &Order) -> Option<Price> {
        let own = order.limit().or_else(|| order.trigger());
        let mark = self.mark(order.ticket.symbol);
        match order.ticket.side {
            Side::Buy => own.max(mark),
            Side::Sell => mark.map(|mark| own.map_or(mark, |own| own.max(mark))),
        }
    }

    /// What an order, or new terms for a working one of the same number, would need and cost; nothing is placed.
    ///
    /// # Errors
    /// Why it would not be taken, or would be rejected.
    pub fn preview(&self, client: i32, order_id: i32, ticket: &Ticket) -> Result<Preview, Refusal> {
        self.check(client, order_id, ticket)?;
        let ticket = Ticket {
            transmit: true,
            ..ticket.clone()
        };
        let present = self.account.find_open(client, order_id);
        // What is kept back still counts like a new one: it is checked when it is let go.
        let counted = present.filter(|present| present.status != Status::Untransmitted);
        let (mut order, reason) = match present {
            Some(present) => {
                let order = Self::changed(present, ticket);
                let reason = self.objection(&order, counted);
                (order, reason)
            }
            None => {
                let order = self.fresh(0, client, order_id, ticket);
                let reason = self.obstacle(&order);
                (order, reason)
            }
        };
        if let Some(reason) = reason {
            return Err(Refusal::Rejected(reason));
        }
        let (margin_before, margin_after) = self.margins(&order, counted);
        let left = order.remaining();
        let turnover = order.turnover + left * self.worth(&order).unwrap_or_default();
        let commission = money::commission(order.filled + left, turnover) - order.commission;
        order.commission = commission;
        Ok(Preview {
            order,
            margin_before,
            margin_after,
            commission,
        })
    }

    /// Whether a person could place an order at the broker's own screen.
    ///
    /// # Errors
    /// Why it would not be taken, or would be rejected.
    pub fn check_by_hand(&self, order_id: i32, ticket: &Ticket) -> Result<(), Refusal> {
        if self.account.find_open(desk::CLIENT, order_id).is_some() {
            return Err(Refusal::UsedId);
        }
        // Whatever number it gets, the order has to be one that a client could place as a new one.
        let next = self.account.next_order_id(desk::CLIENT);
        self.preview(desk::CLIENT, next, ticket).map(drop)
    }
}
