//! The values of the account under the names that IB has for them.

use std::collections::BTreeSet;

use engine::venue::money::Valuation;
use protocol::{Money, Quantity};

use super::Hub;
use crate::message::account::{AccountSummary, AccountUpdateMulti, AccountValue};
use crate::peer::Peer;

/// One value of the account: its tag, its text, its currency.
pub(super) type Value = (&'static str, String, &'static str);

/// Values that make up the ledger of a currency.
const LEDGER: [&str; 9] = [
    "CashBalance",
    "TotalCashBalance",
    "StockMarketValue",
    "NetLiquidationByCurrency",
    "UnrealizedPnL",
    "RealizedPnL",
    "ExchangeRate",
    "Currency",
    "AccruedCash",
];

impl Hub {
    /// What is no amount of money.
    fn texts(&self, now: &Valuation) -> Vec<Value> {
        let equity = now.equity();
        let cushion = if equity.is_zero() {
            Quantity::ZERO
        } else {
            now.available() / equity
        };
        vec![
            ("AccountType", "INDIVIDUAL".into(), ""),
            ("AccountReady", "true".into(), ""),
            ("AccountCode", self.name.clone(), ""),
            ("Currency", "USD".into(), "USD"),
            ("ExchangeRate", "1.00".into(), "USD"),
            ("Cushion", cushion.round_dp(6).to_string(), ""),
            ("DayTradesRemaining", "-1".into(), ""),
            ("HighestSeverity", "0".into(), ""),
            ("Leverage", leverage(now), ""),
            ("LookAheadNextChange", "0".into(), ""),
        ]
    }

    /// Every value of the account that IB names for a margin account of stocks.
    pub(super) fn values(&self) -> Vec<Value> {
        let now = self.valuation();
        let usd = |tag, amount: Money| (tag, amount.round_dp(2).to_string(), "USD");
        let equity = now.equity();
        let mut values = self.texts(&now);
        for tag in [
            "NetLiquidation",
            "EquityWithLoanValue",
            "NetLiquidationByCurrency",
            "PreviousEquityWithLoanValue",
            "PreviousDayEquityWithLoanValue",
            "ReqTEquity",
            "RegTEquity",
        ] {
            let amount = if tag.starts_with("Previous") {
                self.told.day_equity
            } else {
                equity
            };
            values.push(usd(tag, amount));
        }
        values.extend(
            ["TotalCashValue", "TotalCashBalance", "CashBalance", "SettledCash"]
                .map(|tag| usd(tag, now.cash)),
        );
        values.extend(
            [
                "InitMarginReq",
                "MaintMarginReq",
                "FullInitMarginReq",
                "FullMaintMarginReq",
                "LookAheadInitMarginReq",
                "LookAheadMaintMarginReq",
                "ReqTMargin",
                "RegTMargin",
            ]
            .map(|tag| usd(tag, now.margin)),
        );
        values.extend(
            [
                "AvailableFunds",
                "ExcessLiquidity",
                "FullAvailableFunds",
                "FullExcessLiquidity",
                "LookAheadAvailableFunds",
                "LookAheadExcessLiquidity",
                "SMA",
            ]
            .map(|tag| usd(tag, now.available())),
        );
        values.extend([
            usd("BuyingPower", now.buying_power()),
            usd("GrossPositionValue", now.gross()),
            usd("StockMarketValue", now.long + now.short),
            usd("AccruedCash", Money::ZERO),
            usd("AccruedDividend", Money::ZERO),
            usd("UnrealizedPnL", now.unrealized),
            usd("RealizedPnL", now.realized),
        ]);
        values
    }
}

fn leverage(now: &Valuation) -> String {
    let equity = now.equity();
    if equity.is_zero() {
        "0".into()
    } else {
        (now.gross() / equity).round_dp(2).to_string()
    }
}

/// Values that a request names, or all those of a currency's ledger.
pub(super) fn tell_summary(
    peer: &mut Peer,
    id: i32,
    account: &str,
    tags: &BTreeSet<String>,
    values: &[Value],
) {
    let ledger = tags.iter().any(|tag| tag.starts_with("$LEDGER"));
    let wanted = |tag: &str| tags.contains(tag);
    for value in values
        .iter()
        .filter(|value| wanted(value.0) || (ledger && is_of_ledger(value)))
    {
        peer.send(
            63,
            &AccountSummary {
                req_id: Some(id),
                account: Some(account.to_owned()),
                tag: Some(value.0.to_owned()),
                value: Some(value.1.clone()),
                currency: Some(value.2.to_owned()),
            },
        );
    }
}

pub(super) fn tell_values(peer: &mut Peer, account: &str, values: &[Value]) {
    for (tag, value, currency) in values {
        peer.send(
            6,
            &AccountValue {
                key: Some((*tag).to_owned()),
                value: Some(value.clone()),
                currency: Some((*currency).to_owned()),
                account_name: Some(account.to_owned()),
            },
        );
    }
}

/// Values to who asked for those of an account, perhaps for the ledger and its worth alone.
pub(super) fn tell_multi(peer: &mut Peer, (id, ledger): (i32, bool), account: &str, values: &[Value]) {
    let wanted = |value: &&Value| !ledger || is_of_ledger(value) || value.0 == "NetLiquidation";
    for (tag, value, currency) in values.iter().filter(wanted) {
        peer.send(
            73,
            &AccountUpdateMulti {
                req_id: Some(id),
                account: Some(account.to_owned()),
                model_code: None,
                key: Some((*tag).to_owned()),
                value: Some(value.clone()),
                currency: Some((*currency).to_owned()),
            },
        );
    }
}

/// Whether a value belongs to the ledger of a currency.
fn is_of_ledger((tag, _, currency): &Value) -> bool {
    *currency == "USD" && LEDGER.contains(tag)
}
