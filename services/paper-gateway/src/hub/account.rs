//! The account as clients see it: summary, values, holdings, gains.

use std::collections::BTreeSet;

use crate::number::approximate;
use engine::venue::account::Position as Holding;
use engine::venue::money::Valuation;
use protocol::Symbol;

use super::Hub;
use super::prices::text;
use super::values::{tell_multi, tell_summary, tell_values};
use crate::message::account::{
    AccountDataEnd, AccountSummaryEnd, AccountUpdateMultiEnd, AccountUpdateTime, PnL, PnLSingle,
    PortfolioValue, Position, PositionEnd, PositionMulti, PositionMultiEnd,
};
use crate::message::request::{
    AccountDataRequest, AccountRequest, AccountSummaryRequest, AccountUpdatesMultiRequest, PnLSingleRequest,
};
use crate::message::shared::Contract;
use crate::peer::{NO_REQUEST, Peer};
use crate::times;

/// Summaries that one client may follow at a time.
const SUMMARIES_MAX: usize = 2;
/// Requests of one kind for positions or values "multi" that one client may follow at a time: each is told of each trade.
const MULTI_MAX: usize = 10;
const TOO_MANY: &str = "Error processing request.-'ch' : cause - too many requests of this kind go on";
/// Longest tag that is remembered; all known ones are shorter.
const TAG_MAX: usize = 40;

impl Hub {
    pub(super) fn account_summary(&mut self, session: u64, request: AccountSummaryRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        let values = self.values();
        let name = self.name.clone();
        let tags = request.tags.unwrap_or_default();
        let tags = tags.split(',').map(str::trim);
        // Unknown tags are left out at once, so that nobody can make the gateway remember much.
        let known = |tag: &&str| tag.starts_with("$LEDGER") || values.iter().any(|value| value.0 == *tag);
        let tags: BTreeSet<String> = tags
            .filter(known)
            .map(|tag| tag.chars().take(TAG_MAX).collect())
            .collect();
        let peer = self.peer(session);
        let group = request.group.unwrap_or_default();
        if !matches!(group.as_str(), "" | "All") && group != name {
            let text = "Error validating request.-'cc' : cause - the group must be All";
            return peer.error(id, 321, text);
        }
        if peer.summaries.len() >= SUMMARIES_MAX && !peer.summaries.contains_key(&id) {
            return peer.error(id, 322, "Error processing request.-'cc' : cause - Maximum number of account summary requests exceeded");
        }
        tell_summary(peer, id, &name, &tags, &values);
        peer.send(64, &AccountSummaryEnd { req_id: Some(id) });
        peer.summaries.insert(id, tags);
    }

    pub(super) fn account_data(&mut self, session: u64, request: &AccountDataRequest) {
        let subscribe = request.subscribe.unwrap_or(false);
        self.peer(session).account = subscribe;
        if !subscribe {
            return;
        }
        if !self.is_ours(request.acct_code.as_deref()) {
            self.peer(session).account = false;
            return self.peer(session).error(
                NO_REQUEST,
                321,
                "Error validating request.-'bQ' : cause - Invalid account code",
            );
        }
        let (values, holdings, now) = (self.values(), self.holdings(), self.venue.now());
        let name = self.name.clone();
        let peer = self.peer(session);
        tell_values(peer, &name, &values);
        for holding in &holdings {
            peer.send(7, holding);
        }
        peer.send(
            8,
            &AccountUpdateTime {
                time_stamp: Some(times::minute(now)),
            },
        );
        peer.send(
            54,
            &AccountDataEnd {
                account_name: Some(name),
            },
        );
    }

    pub(super) fn account_multi(&mut self, session: u64, request: &AccountUpdatesMultiRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        if !self.is_ours(request.account.as_deref()) {
            return self.peer(session).error(id, 321, &wrong_account("cg"));
        }
        let (values, name) = (self.values(), self.name.clone());
        let ledger = request.ledger_and_nlv.unwrap_or(false);
        let peer = self.peer(session);
        if peer.account_multi.len() >= MULTI_MAX && !peer.account_multi.contains_key(&id) {
            return peer.error(id, 322, TOO_MANY);
        }
        tell_multi(peer, (id, ledger), &name, &values);
        peer.send(74, &AccountUpdateMultiEnd { req_id: Some(id) });
        peer.account_multi.insert(id, ledger);
    }

    pub(super) fn positions(&mut self, session: u64) {
        let held = self
            .told
            .positions
            .iter()
            .filter(|(_, holding)| !holding.quantity.is_zero());
        let told: Vec<Position> = held
            .map(|(symbol, holding)| self.position(*symbol, holding))
            .collect();
        let peer = self.peer(session);
        for position in &told {
            peer.send(61, position);
        }
        peer.send(62, &PositionEnd {});
        peer.positions = true;
    }

    pub(super) fn positions_multi(&mut self, session: u64, request: &AccountRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        if !self.is_ours(request.account.as_deref()) {
            return self.peer(session).error(id, 321, &wrong_account("ch"));
        }
        let held = self
            .told
            .positions
            .iter()
            .filter(|(_, holding)| !holding.quantity.is_zero());
        let told: Vec<PositionMulti> = held
            .map(|(symbol, holding)| multi(id, self.position(*symbol, holding)))
            .collect();
        let peer = self.peer(session);
        if peer.positions_multi.len() >= MULTI_MAX && !peer.positions_multi.contains(&id) {
            return peer.error(id, 322, TOO_MANY);
        }
        for position in &told {
            peer.send(71, position);
        }
        peer.send(72, &PositionMultiEnd { req_id: Some(id) });
        peer.positions_multi.insert(id);
    }

    pub(super) fn gains(&mut self, session: u64, request: &AccountRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        if !self.is_ours(request.account.as_deref()) {
            return self.peer(session).error(id, 321, &wrong_account("cj"));
        }
        let gains = gains_of(id, &self.venue.valuation());
        let peer = self.peer(session);
        peer.gains.insert(id);
        peer.send(94, &gains);
    }

    pub(super) fn gains_single(&mut self, session: u64, request: &PnLSingleRequest) {
        let id = request.req_id.unwrap_or(NO_REQUEST);
        if !self.is_ours(request.account.as_deref()) {
            return self.peer(session).error(id, 321, &wrong_account("cl"));
        }
        let Some(stock) = self.directory.number(request.con_id.unwrap_or(0)) else {
            return self.peer(session).error(
                id,
                321,
                "Error validating request.-'cl' : cause - Invalid contract id",
            );
        };
        let symbol = stock.symbol;
        let gains = self.gains_of_stock(id, symbol);
        let peer = self.peer(session);
        peer.gains_single.insert(id, symbol);
        peer.send(95, &gains);
    }

    /// Whether a request that may name an account means the one that is here.
    fn is_ours(&self, account: Option<&str>) -> bool {
        account.is_none_or(|account| account.is_empty() || account == "All" || account == self.name)
    }

    /// Positions changed: those who follow positions or the account are told.
    pub(super) fn tell_positions(&mut self, symbols: &BTreeSet<Symbol>) {
        let follows = |peer: &Peer| {
            let multi = !(peer.positions_multi.is_empty() && peer.account_multi.is_empty());
            peer.positions || peer.account || multi
        };
        if symbols.is_empty() || !self.peers.values().any(follows) {
            return;
        }
        let told = |symbol: &Symbol| {
            let holding = self.told.positions.get(symbol).cloned().unwrap_or_default();
            (
                self.position(*symbol, &holding),
                self.portfolio(*symbol, &holding),
            )
        };
        let (positions, portfolios): (Vec<Position>, Vec<PortfolioValue>) = symbols.iter().map(told).unzip();
        let (values, name) = (self.values(), self.name.clone());
        for peer in self.peers.values_mut() {
            if peer.positions {
                positions.iter().for_each(|position| peer.send(61, position));
            }
            for id in peer.positions_multi.clone() {
                let told = positions.iter().map(|position| multi(id, position.clone()));
                told.for_each(|position| peer.send(71, &position));
            }
            for wanted in peer.account_multi.clone() {
                tell_multi(peer, wanted, &name, &values);
            }
            if peer.account {
                portfolios.iter().for_each(|portfolio| peer.send(7, portfolio));
                tell_values(peer, &name, &values);
            }
        }
    }

    /// Gains, to those who follow them.
    pub(super) fn tell_gains(&mut self) {
        if !self
            .peers
            .values()
            .any(|peer| !peer.gains.is_empty() || !peer.gains_single.is_empty())
        {
            return;
        }
        let valuation = self.venue.valuation();
        let symbols: BTreeSet<Symbol> = self
            .peers
            .values()
            .flat_map(|peer| peer.gains_single.values().copied())
            .collect();
        let single: std::collections::BTreeMap<Symbol, PnLSingle> = symbols
            .into_iter()
            .map(|symbol| (symbol, self.gains_of_stock(0, symbol)))
            .collect();
        for peer in self.peers.values_mut() {
            for id in peer.gains.clone() {
                peer.send(94, &gains_of(id, &valuation));
            }
            for (id, symbol) in peer.gains_single.clone() {
                if let Some(gains) = single.get(&symbol) {
                    peer.send(
                        95,
                        &PnLSingle {
                            req_id: Some(id),
                            ..gains.clone()
                        },
                    );
                }
            }
        }
    }

    /// Account values and holdings, to those who follow them.
    pub(super) fn tell_account(&mut self) {
        let (values, holdings, now, name) = (
            self.values(),
            self.holdings(),
            self.venue.now(),
            self.name.clone(),
        );
        for peer in self.peers.values_mut() {
            for (id, tags) in peer.summaries.clone() {
                tell_summary(peer, id, &name, &tags, &values);
            }
            for wanted in peer.account_multi.clone() {
                tell_multi(peer, wanted, &name, &values);
            }
            if peer.account {
                tell_values(peer, &name, &values);
                for holding in &holdings {
                    peer.send(7, holding);
                }
                peer.send(
                    8,
                    &AccountUpdateTime {
                        time_stamp: Some(times::minute(now)),
                    },
                );
            }
        }
    }

    fn position(&self, symbol: Symbol, holding: &Holding) -> Position {
        // The real broker leaves the exchange of a holding empty.
        let contract = self.contract(symbol).map(|contract| Contract {
            exchange: None,
            ..contract
        });
        Position {
            account: Some(self.name.clone()),
            contract,
            position: Some(text(holding.quantity)),
            avg_cost: Some(approximate(holding.average_cost())),
        }
    }

    fn holdings(&self) -> Vec<PortfolioValue> {
        self.told
            .positions
            .iter()
            .map(|(symbol, holding)| self.portfolio(*symbol, holding))
            .collect()
    }

    fn portfolio(&self, symbol: Symbol, holding: &Holding) -> PortfolioValue {
        let price = self.price_held(symbol, holding);
        let value = price * holding.quantity;
        PortfolioValue {
            contract: self.contract(symbol).map(|contract| Contract {
                exchange: None,
                ..contract
            }),
            position: Some(text(holding.quantity)),
            market_price: Some(approximate(price)),
            market_value: Some(approximate(value)),
            average_cost: Some(approximate(holding.average_cost())),
            unrealized_pnl: Some(approximate(holding.unrealized(price))),
            realized_pnl: Some(approximate(holding.realized)),
            account_name: Some(self.name.clone()),
        }
    }

    fn gains_of_stock(&self, id: i32, symbol: Symbol) -> PnLSingle {
        let holding = self.told.positions.get(&symbol).cloned().unwrap_or_default();
        let price = self.venue.price_held(symbol, &holding);
        PnLSingle {
            req_id: Some(id),
            position: Some(text(holding.quantity)),
            daily: Some(approximate(holding.daily(price))),
            unrealized: Some(approximate(holding.unrealized(price))),
            realized: Some(approximate(holding.realized)),
            value: Some(approximate(price * holding.quantity)),
        }
    }
}

fn wrong_account(request: &str) -> String {
    format!("Error validating request.-'{request}' : cause - Invalid account code")
}

fn multi(id: i32, position: Position) -> PositionMulti {
    let Position {
        account,
        contract,
        position,
        avg_cost,
    } = position;
    PositionMulti {
        req_id: Some(id),
        account,
        contract,
        position,
        avg_cost,
        model_code: None,
    }
}

fn gains_of(id: i32, now: &Valuation) -> PnL {
    PnL {
        req_id: Some(id),
        daily: Some(approximate(now.daily)),
        unrealized: Some(approximate(now.unrealized)),
        realized: Some(approximate(now.realized)),
    }
}
