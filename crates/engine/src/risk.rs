//! What may be ordered: every check an order passes, in one list, with its numbers. Limits assume the worst: whatever
//! may still fill counts as filled, on its own side.

use std::collections::VecDeque;

use jiff::SignedDuration;
use protocol::decision::Check;
use protocol::ledger::{Reason, Side, TradingState};
use protocol::market::{Phase, Quote};
use protocol::settings::Settings;
use protocol::{Money, Price, Quantity, Symbol, Timestamp};
use rust_decimal::Decimal;

use crate::day::trading_day;
use crate::order::{Order, OrderState};
use crate::others::Others;
use crate::portfolio::Portfolio;

/// Why an order is not made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// The check that refused.
    pub check: Check,
    /// Its numbers, in one sentence.
    pub text: String,
}

/// What the checks look at. Everything is data, so the same look gives the same answer.
#[derive(Debug)]
pub struct Look<'a> {
    /// Market clock.
    pub now: Timestamp,
    /// The fold.
    pub portfolio: &'a Portfolio,
    /// Orders at the broker that are none of this ledger: whatever they may still fill counts as filled, too.
    pub others: &'a Others,
    /// Limits.
    pub settings: &'a Settings,
    /// Where in the day we are; `None` while that is not known, or what was known is over.
    pub phase: Option<Phase>,
    /// Why nothing may be sent, if so.
    pub gate: Option<&'a str>,
    /// True when a local kill switch is latched.
    pub killed_here: bool,
    /// The symbol's newest quote, if it is fresh.
    pub quote: Option<&'a Quote>,
    /// Price of every held symbol, for loss and exposure.
    pub prices: &'a std::collections::BTreeMap<Symbol, Price>,
    /// When the last orders went out, market clock, oldest first.
    pub sent: &'a VecDeque<Timestamp>,
}

/// An order that might be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// What.
    pub symbol: Symbol,
    /// Direction.
    pub side: Side,
    /// Shares.
    pub quantity: Quantity,
    /// Why.
    pub reason: Reason,
    /// Price it is reckoned at.
    pub price: Price,
    /// Market clock of what it follows from.
    pub decided_at: Timestamp,
}

impl Look<'_> {
    /// Shares of one side that may still fill.
    #[must_use]
    pub fn rest(&self, symbol: Symbol, side: Side) -> Quantity {
        let open = self
            .portfolio
            .open_orders()
            .filter(|order| order.symbol == symbol && order.side == side);
        let ours: Quantity = open.filter(|order| order.counts(self.now)).map(Order::rest).sum();
        ours + self.others.rest(symbol, side)
    }

    /// Checks an exit: an order that only reduces. Passes in every trading state; only the kill switch, the broker's
    /// absence and the market's hours hold it back, and an operator's exit only hours that are known. One that follows from a
    /// signal waits for the next when that is old.
    ///
    /// # Errors
    /// The check that refused.
    pub fn exit(&self, proposal: &Proposal) -> Result<(), Refused> {
        if proposal.reason != Reason::EmergencyExit {
            self.kill_switch()?;
        }
        self.gate()?;
        if matches!(proposal.reason, Reason::Signal | Reason::Regime) {
            self.signal_age(proposal)?;
        }
        if proposal.reason.is_by_operator() && self.phase.is_none() {
            return Ok(());
        }
        self.session()
    }

    /// Checks an entry: an order that adds.
    ///
    /// # Errors
    /// The first check that refused.
    pub fn entry(&self, proposal: &Proposal) -> Result<(), Refused> {
        self.kill_switch()?;
        self.trading_state(proposal.symbol)?;
        self.gate()?;
        self.session()?;
        self.freshness(proposal)?;
        self.unsettled(proposal.symbol)?;
        self.cooldown(proposal.symbol)?;
        self.duplicate(proposal)?;
        self.limits(proposal)?;
        self.daily_loss()?;
        self.buying_power(proposal)?;
        self.orders_per_minute()
    }

    fn kill_switch(&self) -> Result<(), Refused> {
        let latched = self.portfolio.killed || self.killed_here;
        refuse(latched, Check::KillSwitch, || {
            "the kill switch is latched: `command.release` releases it".to_owned()
        })
    }

    fn trading_state(&self, symbol: Symbol) -> Result<(), Refused> {
        let of_symbol = self.portfolio.symbol_states.get(&symbol);
        refuse(of_symbol.is_some(), Check::TradingState, || {
            format!("{symbol} is halted or only reduces: `command.resume` with its symbol resumes it")
        })?;
        let state = self.portfolio.state;
        refuse(
            state != TradingState::Active,
            Check::TradingState,
            || match state {
                TradingState::Halted => "trading is halted: `command.resume` resumes it".to_owned(),
                _ => "trading only reduces: `command.resume` allows entries".to_owned(),
            },
        )
    }

    fn gate(&self) -> Result<(), Refused> {
        refuse(self.gate.is_some(), Check::BrokerGate, || {
            self.gate.unwrap_or_default().to_owned()
        })
    }

    fn session(&self) -> Result<(), Refused> {
        let extended = self.settings.market.extended_hours;
        let open = match self.phase {
            Some(Phase::Regular) => true,
            Some(Phase::Pre | Phase::After) => extended,
            Some(Phase::Closed) | None => false,
        };
        refuse(!open, Check::SessionClosed, || match self.phase {
            Some(Phase::Closed) => "the market is closed".to_owned(),
            Some(_) => "outside the regular session, and market.extended_hours is off".to_owned(),
            None => "the market's session is not known".to_owned(),
        })
    }

    fn freshness(&self, proposal: &Proposal) -> Result<(), Refused> {
        let quote = self.quote;
        refuse(quote.is_none(), Check::StaleQuote, || {
            format!("no fresh quote of {}", proposal.symbol)
        })?;
        let tradable = quote.is_some_and(|quote| quote.tradable);
        refuse(!tradable, Check::StaleQuote, || {
            format!("the quote of {} may not be traded on", proposal.symbol)
        })?;
        self.signal_age(proposal)
    }

    /// What waited for a bus that was away is no opinion of now.
    fn signal_age(&self, proposal: &Proposal) -> Result<(), Refused> {
        let age = self.now.duration_since(proposal.decided_at);
        let limit = SignedDuration::from_secs(i64::from(self.settings.entry.signal_age_seconds_max));
        // The clock follows a signal as far as its time can be. One that is ahead all the same has a time that can't.
        refuse(age.abs() > limit, Check::StaleSignal, || {
            let what = if age.is_negative() {
                "ahead of the market clock"
            } else {
                "old"
            };
            format!(
                "the signal is {} s {what}, limit {} s",
                age.abs().as_secs(),
                limit.as_secs()
            )
        })
    }

    fn unsettled(&self, symbol: Symbol) -> Result<(), Refused> {
        let of_symbol = || {
            self.portfolio
                .open_orders()
                .filter(|order| order.symbol == symbol && order.counts(self.now))
        };
        let doubtful =
            of_symbol().find(|order| matches!(order.state, OrderState::Unresolved | OrderState::Absent));
        refuse(doubtful.is_some(), Check::Unsettled, || {
            doubtful.map_or_else(String::new, |order| {
                format!("order {} of {symbol} is not settled: {}", order.id, order.text)
            })
        })?;
        let differs = self
            .portfolio
            .differences
            .iter()
            .find(|known| known.symbol == Some(symbol) && !self.portfolio.ignores(known));
        refuse(differs.is_some(), Check::Unsettled, || {
            differs.map_or_else(String::new, |difference| difference.text.clone())
        })?;
        let working = of_symbol().next();
        refuse(working.is_some(), Check::Working, || {
            working.map_or_else(String::new, |order| {
                format!("order {} of {symbol} is still working", order.id)
            })
        })?;
        let sale = self.others.on(symbol, Side::Sell).next();
        refuse(sale.is_some(), Check::Working, || {
            sale.map_or_else(String::new, |sale| {
                format!("{sale}, which is not of this ledger, may sell what is bought before an exit could")
            })
        })
    }

    fn cooldown(&self, symbol: Symbol) -> Result<(), Refused> {
        let market = &self.settings.market;
        let seconds = i64::from(self.settings.entry.cooldown_bars) * i64::from(market.bar_size.seconds());
        let closed_at = self
            .portfolio
            .positions
            .get(&symbol)
            .and_then(|position| position.closed_at);
        let wait = closed_at.map(|at| SignedDuration::from_secs(seconds) - self.now.duration_since(at));
        refuse(
            wait.is_some_and(|wait| wait.is_positive()),
            Check::Cooldown,
            || {
                format!(
                    "{symbol} was left a moment ago: entries wait another {} s",
                    wait.map_or(0, |wait| wait.as_secs() + 1)
                )
            },
        )
    }

    /// Two decisions of the same symbol, side and size in a short time look like one that was made twice.
    fn duplicate(&self, proposal: &Proposal) -> Result<(), Refused> {
        let window = SignedDuration::from_secs(i64::from(self.settings.risk.duplicate_window_seconds));
        let alike = self.portfolio.orders.values().find(|order| {
            (order.symbol, order.side, order.quantity) == (proposal.symbol, proposal.side, proposal.quantity)
                && order.reason == proposal.reason
                && self.now.duration_since(order.created_at) < window
        });
        refuse(alike.is_some(), Check::Duplicate, || {
            format!(
                "{} {} was ordered less than {} s ago and looks like the same again",
                proposal.quantity,
                proposal.symbol,
                window.as_secs()
            )
        })
    }

    fn limits(&self, proposal: &Proposal) -> Result<(), Refused> {
        let (risk, symbol) = (&self.settings.risk, proposal.symbol);
        let watched = self.settings.market.watchlist.contains(&symbol);
        refuse(!watched, Check::NotWatched, || {
            format!("{symbol} is not in market.watchlist")
        })?;
        let entries = if self.portfolio.day.date >= Some(trading_day(self.now)) {
            self.portfolio
                .day
                .entries
                .get(&symbol)
                .copied()
                .unwrap_or_default()
        } else {
            0
        };
        refuse(
            entries >= risk.trades_per_symbol_per_day_max,
            Check::TradesPerDay,
            || {
                format!(
                    "{entries} entries of {symbol} today, limit {}",
                    risk.trades_per_symbol_per_day_max
                )
            },
        )?;
        let shares =
            (self.portfolio.held(symbol) + self.rest(symbol, proposal.side) + proposal.quantity).abs();
        refuse(
            shares > risk.shares_per_symbol_max,
            Check::SharesPerSymbol,
            || {
                format!(
                    "{shares} shares of {symbol} with this order, limit {}",
                    risk.shares_per_symbol_max
                )
            },
        )?;
        let notional = shares * proposal.price;
        refuse(
            notional > risk.notional_per_symbol_max,
            Check::NotionalPerSymbol,
            || {
                format!(
                    "${} in {symbol} with this order, limit ${}",
                    notional.round_dp(2),
                    risk.notional_per_symbol_max
                )
            },
        )?;
        let gross = self.gross() + self.bought_by_others()? + proposal.quantity * proposal.price;
        refuse(gross > risk.gross_notional_max, Check::GrossExposure, || {
            format!(
                "${} in all symbols with this order, limit ${}",
                gross.round_dp(2),
                risk.gross_notional_max
            )
        })
    }

    /// Dollars in all symbols, as if every resting buy were filled.
    #[must_use]
    pub fn gross(&self) -> Money {
        let price = |symbol: Symbol| self.prices.get(&symbol).copied();
        let worth = |symbol: Symbol, shares: Quantity, else_cost: Money| {
            price(symbol).map_or(else_cost.abs(), |p| (shares * p).abs())
        };
        let held: Money = self
            .portfolio
            .open_positions()
            .map(|p| worth(p.symbol, p.quantity, p.cost))
            .sum();
        let buys = self
            .portfolio
            .open_orders()
            .filter(|order| order.side == Side::Buy && order.counts(self.now));
        held + buys
            .map(|o| {
                worth(
                    o.symbol,
                    o.rest(),
                    o.rest() * o.reference_price.unwrap_or_default(),
                )
            })
            .sum::<Money>()
    }

    /// Dollars that the purchases of others may cost yet, at their limit or the market's price, whichever is more.
    fn bought_by_others(&self) -> Result<Money, Refused> {
        let buys = self.others.iter().filter(|other| other.side == Side::Buy);
        buys.map(|other| {
            let prices = [self.prices.get(&other.symbol).copied(), other.limit_price];
            let held = || self.portfolio.positions.get(&other.symbol);
            let price = prices.into_iter().flatten().max();
            let price = price.or_else(|| Some(held()?.average_cost()).filter(|cost| !cost.is_zero()));
            price.map(|price| other.rest * price).ok_or_else(|| Refused {
                check: Check::GrossExposure,
                text: format!("{other}, which is not of this ledger, costs nobody knows what: entries wait for a price of it"),
            })
        })
        .sum()
    }

    /// Dollars lost today: what was closed, what was paid to the broker, and what is open, against its cost.
    #[must_use]
    pub fn loss_today(&self) -> Money {
        let day = &self.portfolio.day;
        // Where the clocks are apart at midnight, figures of a day that has just begun count as well.
        let is_over = day.date < Some(trading_day(self.now));
        let closed = if is_over {
            Decimal::ZERO
        } else {
            day.realized - day.commission
        };
        -(closed
            + self
                .portfolio
                .unrealized(|symbol| self.prices.get(&symbol).copied()))
    }

    fn daily_loss(&self) -> Result<(), Refused> {
        let (loss, limit) = (self.loss_today(), self.settings.risk.daily_loss_max);
        refuse(loss >= limit, Check::DailyLoss, || {
            format!("${} lost today, limit ${limit}", loss.round_dp(2))
        })
    }

    fn buying_power(&self, proposal: &Proposal) -> Result<(), Refused> {
        let buys = self
            .portfolio
            .open_orders()
            .filter(|order| order.side == Side::Buy && order.counts(self.now));
        let bound: Money = buys
            .map(|order| order.rest() * order.reference_price.unwrap_or_default())
            .sum();
        let bound = bound + self.bought_by_others()?;
        let (cash, needed) = (self.portfolio.cash - bound, proposal.quantity * proposal.price);
        refuse(needed > cash, Check::BuyingPower, || {
            format!("${} needed, ${} cash free", needed.round_dp(2), cash.round_dp(2))
        })
    }

    fn orders_per_minute(&self) -> Result<(), Refused> {
        let minute_ago = self.now - SignedDuration::from_secs(60);
        let (count, limit) = (
            self.sent.iter().filter(|at| **at > minute_ago).count(),
            self.settings.risk.orders_per_minute_max,
        );
        refuse(count >= limit as usize, Check::OrdersPerMinute, || {
            format!("{count} orders in the last minute, limit {limit}")
        })
    }
}

fn refuse(when: bool, check: Check, text: impl FnOnce() -> String) -> Result<(), Refused> {
    if when {
        Err(Refused { check, text: text() })
    } else {
        Ok(())
    }
}
