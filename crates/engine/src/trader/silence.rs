//! Orders that the broker does not speak of. Silence is no answer: it ends nothing, and a later incarnation decides.

use jiff::SignedDuration;
use protocol::decision::Level;
use protocol::ledger::{OrderChange, OrderEvent, Reason};
use protocol::{Symbol, Timestamp};

use super::incident::{CONFIRMED_AFTER, confirmed};
use super::{Output, Trader};
use crate::order::{Order, OrderState};
use crate::portfolio::Portfolio;
use crate::reconcile::{self, Truth};

/// Seconds of wall time after which an order that the broker never spoke of is unresolved.
const SILENCE_SECONDS_MAX: i64 = 10;
/// An order that was late and that the broker does not show again.
const VANISHED: &str = "order-vanished";

impl Trader {
    /// An order that the broker never spoke of is unresolved after a while.
    pub(super) fn silent_orders(&mut self, wall: Timestamp) -> Vec<Output> {
        let portfolio = &self.portfolio;
        let is_open = |order: &Order| !order.state.is_terminal();
        self.sent_wall
            .retain(|id, _| portfolio.orders.get(id).is_some_and(is_open));
        // A wall clock that was set back must not put it off for as long.
        self.sent_wall
            .values_mut()
            .for_each(|sent| *sent = wall.min(*sent));
        let mut outputs = Vec::new();
        for (id, sent) in &self.sent_wall {
            let Some(order) = portfolio.orders.get(id) else {
                continue;
            };
            let silent = wall.duration_since(*sent).as_secs() >= SILENCE_SECONDS_MAX;
            let evidence = format!("the broker did not speak of it for {SILENCE_SECONDS_MAX} s");
            let change = OrderChange::Unresolved {
                evidence: evidence.clone(),
            };
            if order.state != OrderState::Sent || !silent || !order.can_record(&change) {
                continue;
            }
            let symbol = order.symbol;
            let event = OrderEvent {
                order: id.clone(),
                symbol,
                change,
            };
            outputs.push(self.event(self.now, event));
            let waiting = match order.reason {
                Reason::Entry => "entries",
                _ => "entries and other exits",
            };
            let text =
                format!("order {id} of {symbol} is unresolved: {evidence}; {waiting} of {symbol} wait");
            outputs.push(self.alert(wall, "order-unresolved", Level::Warning, Some(symbol), text));
        }
        outputs
    }

    /// Notes which exits of earlier incarnations a reading shows. What was called absent before is for a person.
    pub(super) fn note_adopted(&mut self, truth: &Truth) {
        let epoch = self.portfolio.epoch;
        let is_adopted = |order: &&Order| {
            order.order_id != 0
                && order.epoch < epoch
                && order.reason != Reason::Entry
                && !order.kinds.contains("absent")
                && reconcile::tells_of(truth, order)
        };
        let shown = self.portfolio.open_orders().filter(is_adopted);
        self.sent_wall
            .extend(shown.map(|order| (order.id.clone(), truth.began)));
    }

    /// Why this incarnation must end, if so: an exit has no end, and a reading that began long after it was sent, or after
    /// the broker last showed it to this incarnation that adopted it, does not show it. It would hold back every other exit
    /// of its symbol, and only a later incarnation, whose connection it can't be on, may call it absent.
    #[must_use]
    pub fn lost_exit(&self, truth: &Truth) -> Option<String> {
        let patience = self.patience();
        let is_lost = |order: &&Order| {
            let sent = self.sent_wall.get(&order.id);
            let mut executions = truth.executions.iter();
            order.reason != Reason::Entry
                && sent.is_some_and(|sent| truth.began.duration_since(*sent) >= patience)
                && (is_for_the_next(&self.portfolio, order)
                    || !order.day_is_over(self.live_clock(truth.began)))
                && !reconcile::tells_of(truth, order)
                && !executions.any(|execution| execution.order_ref == order.id.as_str())
        };
        let order = self.portfolio.open_orders().find(is_lost)?;
        Some(format!(
            "exit {} of {} has no end, and the broker does not show it: whether it is absent is for the next incarnation to say",
            order.id, order.symbol
        ))
    }

    /// Orders that are over because their day is, whatever was said of them last: readings do not show them. It takes
    /// what an absent order takes, two of them so far apart that the gateway had the time to tell what it held, and a
    /// link that was whole all the while. A gateway without its link forgets what waits at the broker.
    pub(super) fn expired(&mut self, truth: &Truth, now: Timestamp) -> Vec<Order> {
        let Some(whole_since) = truth.whole_since else {
            self.noticed.unseen.clear();
            return Vec::new();
        };
        let patience = self.patience();
        self.noticed.unseen.retain(|_, since| *since >= whole_since);
        let portfolio = &self.portfolio;
        let is_unseen = |order: &&Order| {
            order.day_is_over(now) && !is_for_the_next(portfolio, order) && !reconcile::tells_of(truth, order)
        };
        let unseen = portfolio.open_orders().filter(is_unseen);
        let over = confirmed(&mut self.noticed.unseen, truth.began, patience, unseen);
        let over = over.iter().filter_map(|id| portfolio.orders.get(id));
        over.cloned().collect()
    }

    /// Wall time after which a reading that does not show an order says more than the one before.
    fn patience(&self) -> SignedDuration {
        SignedDuration::from_secs(self.settings.broker.second_pass_seconds.into())
    }

    /// Tells once of an order that was called absent, appeared, and is not shown again by two readings. No doubt of a kind
    /// can be recorded twice, so only a person can say before its day ends that it is over.
    pub(super) fn tell_vanished(&mut self, wall: Timestamp, truth: &Truth, now: Timestamp) -> Vec<Output> {
        let open = self.portfolio.open_orders();
        let lost_again = open.filter(|order| {
            order.kinds.contains("absent")
                && order.state != OrderState::Absent
                && !self.noticed.inactive.contains(&order.id)
                && !order.day_is_over(now)
                && !reconcile::tells_of(truth, order)
        });
        let sure = confirmed(&mut self.noticed.vanished, wall, CONFIRMED_AFTER, lost_again);
        let mut outputs = Vec::new();
        for order in sure.iter().filter_map(|id| self.portfolio.orders.get(id)) {
            let (id, symbol) = (&order.id, order.symbol);
            if !self.noticed.told.insert((VANISHED, id.clone())) {
                continue;
            }
            let text = format!(
                "order {id} of {symbol} was absent, appeared and is not shown by the broker any more: it counts as working until its day is over; look at the broker, and if it is over say so with `command.settle` and {{\"order\":\"{id}\",\"note\":\"why\"}}"
            );
            outputs.push(self.alert(wall, VANISHED, Level::Critical, Some(symbol), text));
        }
        outputs
    }

    /// What to say of a symbol whose exit is on its way: of one in doubt, what an operator can do.
    pub(super) fn on_its_way(&self, symbol: Symbol) -> String {
        self.in_doubt(symbol)
            .unwrap_or_else(|| format!("the exit of {symbol} is on its way already"))
    }

    /// The exit of a symbol of which nobody knows what becomes, if there is one, and what an operator can do.
    pub(super) fn in_doubt(&self, symbol: Symbol) -> Option<String> {
        let mut open = self.portfolio.open_orders();
        let in_doubt = |order: &&Order| {
            let vanished = || self.noticed.vanished.contains_key(&order.id);
            let unclear = order.state == OrderState::Unresolved || vanished();
            let is_exit = order.order_id != 0 && order.reason != Reason::Entry;
            order.symbol == symbol && is_exit && unclear
        };
        let id = &open.find(in_doubt)?.id;
        Some(format!(
            "order {id} of {symbol} has no answer yet, and a second one could sell the same shares again: if the broker does not show it, execution begins anew and decides; or look at the broker, and if it is over say so with `command.settle` and {{\"order\":\"{id}\",\"note\":\"why\"}}"
        ))
    }
}

/// True for an exit of this incarnation of which the broker told nothing sure. Its connection may carry it still, so
/// only the next one may say what became of it. That its day seems over changes nothing: the wall clock may have leapt.
fn is_for_the_next(portfolio: &Portfolio, order: &Order) -> bool {
    order.epoch == portfolio.epoch && order.is_exit_in_doubt() && order.filled.is_zero()
}
