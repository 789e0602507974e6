//! From opinions and prices to orders. A decision is a target position; what is ordered is its difference from what is
//! held and working, so saying the same thing twice changes nothing.

use jiff::SignedDuration;
use protocol::decision::{Check, Level, Signal};
use protocol::ledger::{Entry, Intent, OrderType, Reason, Side, TimeInForce};
use protocol::market::{Phase, Quote};
use protocol::{Hash, Id, Price, Quantity, Symbol, Timestamp, subject};

use super::limit::is_by_name;
use super::{Draft, EXIT_RETRY_SECONDS, Output, Trader};
use crate::order::{Order, OrderState};
use crate::risk::{Proposal, Refused};
use crate::{exits, sizing};

/// Part by which a marketable limit price may be worse than the quote, outside the regular session.
const LIMIT_COLLAR: Price = Price::from_parts(5, 0, 0, false, 3);

/// Wall seconds between two alerts that say that orders would be too many.
const RATE_ALERT_SECONDS_MIN: i64 = 60;

/// What a decision follows from.
pub(super) struct Source<'a> {
    pub cause: &'a Id,
    pub decided_at: Timestamp,
    pub model_hash: Option<&'a Hash>,
}

impl Trader {
    pub(super) fn on_signal(&mut self, wall: Timestamp, signal: &Signal) -> Vec<Output> {
        self.could_read(|| subject::signal(signal.symbol));
        if let Some(told) = self.contradiction(wall, signal) {
            return told;
        }
        self.see(wall, signal.at);
        let source = Source {
            cause: &signal.id,
            decided_at: signal.at,
            model_hash: Some(&signal.model_hash),
        };
        if let Some(position) = self
            .portfolio
            .positions
            .get(&signal.symbol)
            .filter(|position| !position.quantity.is_zero())
        {
            return match exits::by_signal(&self.settings.exits, position, signal) {
                Some(reason) => self.exit(wall, signal.symbol, reason, &source),
                None => Vec::new(),
            };
        }
        let entry = &self.settings.entry;
        if signal.up < entry.up_min || !entry.regimes.contains(&signal.regime) {
            return Vec::new();
        }
        self.enter(wall, signal.symbol, &source)
    }

    pub(super) fn on_quote(&mut self, wall: Timestamp, quote: Quote) -> Vec<Output> {
        self.see(wall, quote.at);
        let symbol = quote.symbol;
        self.could_read(|| subject::quote(symbol));
        let Some(price) = quote.mark() else {
            return Vec::new();
        };
        self.prices.insert(symbol, price);
        let (id, at, is_tradable) = (quote.id.clone(), quote.at, quote.tradable);
        self.quotes.insert(symbol, quote);
        let position = self.portfolio.positions.get(&symbol);
        let reason = position.and_then(|position| exits::by_price(&self.settings.exits, position, price));
        let Some(reason) = reason.filter(|_| is_tradable) else {
            return Vec::new();
        };
        if self.fresh_quote(wall, symbol).is_none() {
            // What waited for a bus that was away is no price of now.
            let age = self.live_clock(wall).duration_since(at).as_secs();
            let text = format!("its price is {age} s old");
            let check = Check::StaleQuote;
            return self.refuse_exit(wall, &id, (symbol, reason), Refused { check, text });
        }
        let source = Source {
            cause: &id,
            decided_at: at,
            model_hash: None,
        };
        self.exit(wall, symbol, reason, &source)
    }

    fn enter(&mut self, wall: Timestamp, symbol: Symbol, source: &Source<'_>) -> Vec<Output> {
        let quote = self.fresh_quote(wall, symbol);
        // The larger of both: an ask that is an error would buy too many.
        let price = quote
            .and_then(|quote| quote.ask.max(quote.mark()))
            .or_else(|| self.prices.get(&symbol).copied());
        let price = price.unwrap_or_default();
        let target = sizing::target(&self.settings.entry, &self.settings.risk, price);
        let proposal = Proposal {
            symbol,
            side: Side::Buy,
            quantity: target,
            reason: Reason::Entry,
            price,
            decided_at: source.decided_at,
        };
        let id = self.decision_id(symbol, source, target, Reason::Entry);
        if self.portfolio.orders.contains_key(&id) {
            self.repeated += 1;
            return Vec::new();
        }
        let checked = self.look(wall, symbol).entry(&proposal);
        let limit = match checked.and_then(|()| self.limit(wall, &proposal)) {
            Ok(limit) => limit,
            Err(refused) => return self.refuse_entry(wall, source.cause, symbol, refused),
        };
        if target.is_zero() {
            return Vec::new();
        }
        vec![self.intent(wall, id, source, &proposal, target, limit)]
    }

    /// Says why an entry is not made. What is likely a mistake is told to a person as well: a storm of signals now and
    /// then, not with each of them.
    fn refuse_entry(&mut self, wall: Timestamp, cause: &Id, symbol: Symbol, refused: Refused) -> Vec<Output> {
        let (check, why) = (refused.check, refused.text.clone());
        let mut outputs = vec![self.refusal(wall, cause, symbol, refused)];
        if check == Check::Duplicate {
            let text = format!("an entry is held back: {why}");
            outputs.push(self.alert(wall, "order-duplicate", Level::Warning, Some(symbol), text));
        }
        if check == Check::OrdersPerMinute && self.is_rate_news(wall) {
            let text = format!(
                "entries are held back: {why}; look at what signals so often, and if it should not, halt with `command.halt`"
            );
            outputs.push(self.alert(wall, "order-rate", Level::Warning, None, text));
        }
        outputs
    }

    /// True once a minute of the wall clock. One that was set back must not put it off.
    fn is_rate_news(&mut self, wall: Timestamp) -> bool {
        let pace = SignedDuration::from_secs(RATE_ALERT_SECONDS_MIN);
        let just_told = |told: Timestamp| told <= wall && wall.duration_since(told) < pace;
        let is_news = !self.rate_told.is_some_and(just_told);
        if is_news {
            self.rate_told = Some(wall);
        }
        is_news
    }

    /// Closes what is held of a symbol: the confirmed position less what already leaves, and less what others may trade of
    /// it, never below zero.
    pub(super) fn exit(
        &mut self,
        wall: Timestamp,
        symbol: Symbol,
        reason: Reason,
        source: &Source<'_>,
    ) -> Vec<Output> {
        let held = self.portfolio.certain(symbol);
        let side = if held.is_sign_negative() {
            Side::Buy
        } else {
            Side::Sell
        };
        let leaving = self.portfolio.leaving(symbol, side, self.live_clock(wall), None);
        let ours = (held.abs() - leaving).max(Quantity::ZERO);
        // The broker takes whole shares from us; a fraction stays until it is sold by hand.
        if ours.trunc().is_zero() || (!is_by_name(reason) && self.exit_waits(wall, symbol)) {
            return Vec::new();
        }
        let price = self.prices.get(&symbol).copied().unwrap_or_default();
        let proposal = Proposal {
            symbol,
            side,
            quantity: self.left_by_others(symbol, side, ours).trunc(),
            reason,
            price,
            decided_at: source.decided_at,
        };
        let id = self.exit_id(symbol, source, reason);
        if self.portfolio.orders.contains_key(&id) {
            self.repeated += 1;
            return Vec::new();
        }
        let checked = self.look(wall, symbol).exit(&proposal);
        let limit = match checked.and_then(|()| self.limit(wall, &proposal)) {
            Ok(limit) => limit,
            Err(refused) => return self.refuse_exit(wall, source.cause, (symbol, reason), refused),
        };
        let is_whole = proposal.quantity == ours.trunc();
        let told = (!is_whole)
            .then(|| self.tell_in_the_way(wall, &proposal))
            .flatten();
        if let Err(refused) = self.held_back(&proposal) {
            let refusal = self.refuse_exit(wall, source.cause, (symbol, reason), refused);
            return told.into_iter().chain(refusal).collect();
        }
        self.refused_exits.retain(|(refused, ..)| *refused != symbol);
        // An absent exit does not block this one; but if the broker has it after all, it must not sell the same shares
        // again.
        let in_the_way = |order: &Order| order.side != side || order.state == OrderState::Absent;
        let mut outputs = self.cancels("its position is being closed", |order| {
            order.symbol == symbol && in_the_way(order) && !self.is_asked_for(order)
        });
        outputs.extend(told);
        outputs.push(self.intent(wall, id, source, &proposal, Quantity::ZERO, limit));
        outputs
    }

    /// The id of an exit. The repetition of one decision must have one, so what it is reckoned from is the position, not
    /// the tick.
    fn exit_id(&self, symbol: Symbol, source: &Source<'_>, reason: Reason) -> Id {
        if reason.is_by_operator() {
            return self.command_id(symbol, source.cause);
        }
        let position = self.portfolio.positions.get(&symbol);
        let opened_at = position.and_then(|position| position.opened_at);
        let anchored = Source {
            decided_at: opened_at.unwrap_or(Timestamp::UNIX_EPOCH),
            ..*source
        };
        self.decision_id(symbol, &anchored, Quantity::ZERO, reason)
    }

    /// Says why an exit is not made. A price that stays beyond the stop would repeat the same refusal with every tick, so
    /// each cause is told once: another check, or another reason to leave, is news even where the first one is known.
    /// What is too old decides nothing, so a person must know: where clocks differ by that much, everything is.
    fn refuse_exit(
        &mut self,
        wall: Timestamp,
        cause: &Id,
        (symbol, reason): (Symbol, Reason),
        refused: Refused,
    ) -> Vec<Output> {
        let check = refused.check;
        let is_news = self.refused_exits.insert((symbol, reason, check));
        if !is_news && !reason.is_by_operator() {
            return Vec::new();
        }
        let text = format!(
            "the exit of {symbol} ({reason:?}) waits for newer data: {}; if that stays so, compare the clock of this machine with the gateway's, or `command.close`",
            refused.text
        );
        let mut outputs = vec![self.refusal(wall, cause, symbol, refused)];
        if matches!(check, Check::StaleQuote | Check::StaleSignal) && !reason.is_by_operator() {
            outputs.push(self.alert(wall, "exit-old-data", Level::Critical, Some(symbol), text));
        }
        outputs
    }

    /// True shortly after an exit of this symbol failed, so that a broker who refuses is not flooded. By the market clock,
    /// so that a replay at another speed decides alike; a live one runs on while nobody tells it.
    pub(super) fn exit_waits(&self, wall: Timestamp, symbol: Symbol) -> bool {
        let failed = |order: &&Order| {
            order.symbol == symbol
                && order.reason != Reason::Entry
                && matches!(order.state, OrderState::Rejected | OrderState::Cancelled)
        };
        let just_now = |order: &Order| {
            let since = self.now_or(wall).duration_since(order.updated_at);
            !since.is_negative() && since < SignedDuration::from_secs(EXIT_RETRY_SECONDS)
        };
        self.portfolio.orders.values().filter(failed).any(just_now)
    }

    /// The id of a decision: a hash of all it is decided from, so that a repeated signal is not a new decision, and a
    /// retry after a cancelled exit is.
    fn decision_id(&self, symbol: Symbol, source: &Source<'_>, target: Quantity, reason: Reason) -> Id {
        let last_end = self
            .portfolio
            .last_end
            .get(&symbol)
            .copied()
            .unwrap_or_default()
            .to_string();
        let identity = self.portfolio.identity.as_ref();
        Id::derive(&[
            "tradewind",
            identity.map_or("", |identity| identity.account.as_str()),
            &format!("{:?}", identity.map(|identity| identity.mode)),
            symbol.as_str(),
            &source.decided_at.to_string(),
            &target.normalize().to_string(),
            &format!("{reason:?}"),
            source.model_hash.map_or("", |hash| hash.0.as_str()),
            &self.config_hash.0,
            &last_end,
        ])
    }

    fn command_id(&self, symbol: Symbol, command: &Id) -> Id {
        let last_end = self
            .portfolio
            .last_end
            .get(&symbol)
            .copied()
            .unwrap_or_default()
            .to_string();
        Id::derive(&["command", command.as_str(), symbol.as_str(), &last_end])
    }

    fn intent(
        &self,
        wall: Timestamp,
        id: Id,
        source: &Source<'_>,
        proposal: &Proposal,
        target: Quantity,
        limit: Option<Price>,
    ) -> Output {
        let order_type = limit.map_or(OrderType::Market, |_| OrderType::Limit);
        let entry = Entry::Intent(Intent {
            symbol: proposal.symbol,
            side: proposal.side,
            quantity: proposal.quantity.normalize(),
            order_type,
            limit_price: limit,
            time_in_force: TimeInForce::Day,
            outside_regular_hours: limit.is_some(),
            reason: proposal.reason,
            target: target.normalize(),
            basis: self.portfolio.held(proposal.symbol),
            // One step makes at most one intent a symbol, and several symbols only when closing: each its own id.
            order_id: self.next_order_id,
            reference_price: Some(proposal.price),
        });
        Output::Append(Draft {
            id,
            at: self.now_or(wall),
            cause: Some(source.cause.clone()),
            entry,
        })
    }

    /// The limit of an order, which it has outside the regular session and where nobody knows the session.
    fn limit(&self, wall: Timestamp, proposal: &Proposal) -> Result<Option<Price>, Refused> {
        let phase = self.phase(wall);
        if phase == Some(Phase::Regular) {
            return Ok(None);
        }
        // Without market data neither hours nor a price are known, and a limit of an old one may be far from the market.
        // The broker knows both, and takes a market order now or keeps it until the next session.
        let priced = self.fresh_quote(wall, proposal.symbol).is_some();
        if phase.is_none() && !priced && proposal.reason.is_by_operator() {
            return Ok(None);
        }
        let limit = self.marketable_limit(proposal);
        if limit > Price::ZERO {
            return Ok(Some(limit));
        }
        Err(Refused {
            check: Check::StaleQuote,
            text: format!(
                "no price of {} is known, and outside the regular session an order needs a limit",
                proposal.symbol
            ),
        })
    }

    fn marketable_limit(&self, proposal: &Proposal) -> Price {
        let quote = self.quotes.get(&proposal.symbol);
        let (base, factor) = match proposal.side {
            Side::Buy => (quote.and_then(|quote| quote.ask), Price::ONE + LIMIT_COLLAR),
            Side::Sell => (quote.and_then(|quote| quote.bid), Price::ONE - LIMIT_COLLAR),
        };
        let raw = base.unwrap_or(proposal.price) * factor;
        let step = sizing::price_step(raw);
        ((raw / step).round() * step).normalize()
    }
}

/// Gives the intents of one step order ids of their own.
pub(super) fn number_intents(outputs: &mut [Output]) {
    let mut seen = 0;
    for output in outputs {
        if let Output::Append(Draft {
            entry: Entry::Intent(intent),
            ..
        }) = output
        {
            intent.order_id += seen;
            seen += 1;
        }
    }
}
