//! Orders that depend on each other: parents and the children that wait for them, families that are let go
//! together, and groups of which one cancels the others.

use protocol::Quantity;

use super::order::{GroupEffect, Order, Status, whole};
use super::record::Record;
use super::{Output, Venue};

/// Most orders of which each waits for the one before: an order, what follows on it, and what follows on that.
pub const GENERATIONS_MAX: usize = 3;

impl Venue {
    /// Whether another order has to trade before this one may.
    pub(super) fn awaits_parent(&self, order: &Order) -> bool {
        order
            .parent_perm_id
            .is_some_and(|parent| self.account.open.contains_key(&parent))
    }

    /// An order and all those that it waits for, its parent first.
    fn line<'a>(&'a self, order: &'a Order) -> impl Iterator<Item = &'a Order> {
        let parent = move |order: &&Order| self.account.open.get(&order.parent_perm_id?);
        std::iter::successors(Some(order), parent)
    }

    /// Whether no order may wait for this one any more.
    pub(super) fn is_last_generation(&self, order: &Order) -> bool {
        self.line(order).count() >= GENERATIONS_MAX
    }

    /// The order at the top of an order's family, which may have ended.
    fn root(&self, order: &Order) -> i64 {
        let top = self.line(order).last().unwrap_or(order);
        top.parent_perm_id.unwrap_or(top.perm_id)
    }

    /// Lets the family of an order go, as far as it has been kept back.
    pub(super) fn transmit(&mut self, perm_id: i64, outputs: &mut Vec<Output>) {
        let Some(order) = self.account.open.get(&perm_id) else {
            return;
        };
        let root = self.root(order);
        let kept: Vec<i64> = self
            .account
            .open
            .values()
            .filter(|other| other.status == Status::Untransmitted && self.root(other) == root)
            .map(|other| other.perm_id)
            .collect();
        let mut let_go = Vec::new();
        for perm_id in kept {
            let Some(order) = self.account.open.get(&perm_id) else {
                continue;
            };
            if let Some(reason) = self.objection(order, None) {
                self.end(perm_id, Status::Rejected, &reason, outputs);
                continue;
            }
            let_go.push((perm_id, order.ticket.symbol));
            let at = self.now;
            self.record(Record::Held { perm_id, at }, outputs);
        }
        for (perm_id, symbol) in let_go {
            self.enter(perm_id, symbol, outputs);
        }
    }

    /// Gives the children of orders that have traded their turn, and theirs.
    pub(super) fn rouse(&mut self, outputs: &mut Vec<Output>) {
        if self.traded.is_empty() {
            return;
        }
        let phase = self.market.calendar().phase(self.now);
        while let Some(parent) = self.traded.pop() {
            for perm_id in self.children(parent) {
                let Some(child) = self.account.open.get(&perm_id) else {
                    continue;
                };
                if child.status == Status::Untransmitted {
                    continue;
                }
                match self.objection(child, None) {
                    Some(reason) => self.end(perm_id, Status::Rejected, &reason, outputs),
                    None => {
                        self.wake(perm_id, phase, outputs);
                        self.end_spent(perm_id, outputs);
                    }
                }
            }
        }
    }

    fn children(&self, parent: i64) -> Vec<i64> {
        let orders = self.account.open.values();
        orders
            .filter(|order| order.parent_perm_id == Some(parent))
            .map(|order| order.perm_id)
            .collect()
    }

    /// Ends an order, and with it all that waits for it.
    pub(super) fn end(&mut self, perm_id: i64, status: Status, reason: &str, outputs: &mut Vec<Output>) {
        let mut ending = vec![(perm_id, status, reason)];
        while let Some((perm_id, status, reason)) = ending.pop() {
            if !self.account.open.contains_key(&perm_id) {
                continue;
            }
            let record = Record::Ended {
                perm_id,
                status,
                reason: reason.into(),
                at: self.now,
            };
            self.record(record, outputs);
            let orphans = self.children(perm_id).into_iter().rev();
            ending.extend(orphans.map(|child| (child, Status::Cancelled, "The parent order has ended")));
        }
    }

    /// What a trade means to others: an order of which nothing is left lets its children go, and its group shrinks.
    pub(super) fn pass_on(&mut self, perm_id: i64, traded: Quantity, outputs: &mut Vec<Output>) {
        let account = &self.account;
        let found = account
            .open
            .get(&perm_id)
            .or_else(|| account.completed.get(&perm_id));
        let Some(order) = found else { return };
        let left = order.remaining();
        if left <= Quantity::ZERO {
            self.traded.push(perm_id);
        }
        let Some(group) = &order.ticket.group else { return };
        let siblings: Vec<i64> = account
            .open
            .values()
            .filter(|other| {
                other.perm_id != perm_id
                    && other.client == order.client
                    && other
                        .ticket
                        .group
                        .as_ref()
                        .is_some_and(|of| of.name == group.name)
            })
            .map(|other| other.perm_id)
            .collect();
        let cancels = left <= Quantity::ZERO || group.effect == GroupEffect::CancelWithBlock;
        let (after, before) = (left + order.part_left, left + order.part_left + traded);
        for sibling in siblings {
            // Parts of a share count until the end: many small trades take no more away than a large one.
            let part = |other: &Order| (other.remaining() + other.part_left) * after / before;
            let left = self.account.open.get(&sibling).map_or(Quantity::ZERO, part);
            if cancels || whole(left).is_zero() {
                let reason = "Another order of the OCA group has traded";
                self.end(sibling, Status::Cancelled, reason, outputs);
                continue;
            }
            let record = Record::Reduced {
                perm_id: sibling,
                left,
                at: self.now,
            };
            self.record(record, outputs);
        }
    }
}
