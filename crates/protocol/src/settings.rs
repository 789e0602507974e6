//! What the operator says in `services/config.toml`: every knob, one struct a section, unknown keys refused.
//!
//! Dollars, shares and fractions are quoted text, so that they are exact: `daily_loss_max = "1500"`.

use std::path::PathBuf;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::market::BarSize;
use crate::{Money, Quantity, Symbol};

/// The whole file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The bus.
    pub nats: Nats,
    /// The broker's gateway.
    pub broker: Broker,
    /// What is watched.
    pub market: Market,
    /// The model.
    pub signal: SignalSettings,
    /// When to enter, and how much.
    pub entry: Entry,
    /// When to leave.
    pub exits: Exits,
    /// Limits.
    pub risk: Risk,
    /// The page.
    pub bridge: Bridge,
}

/// `[nats]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nats {
    /// Where the server listens for stages, `127.0.0.1:4222`.
    pub address: String,
    /// Where its monitor listens, `127.0.0.1:8222`.
    pub monitor: String,
}

/// `[broker]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Broker {
    /// Where the gateway listens: 127.0.0.1:4010 is the paper gateway, 4002 IB Gateway with a paper account, 4001 live.
    pub address: String,
    /// The name under which LEDGER knows the gateway; empty: its address is its name.
    #[serde(default)]
    pub gateway: String,
    /// Client id of market-data.
    pub market_data_client_id: i32,
    /// Client id of execution, the only one that orders.
    pub ordering_client_id: i32,
    /// The account; empty takes the gateway's only one.
    #[serde(default)]
    pub account: String,
    /// The very account that may trade real money; empty allows paper accounts (DU, DF) only.
    #[serde(default)]
    pub live_account: String,
    /// Seconds between two comparisons of broker and ledger.
    pub reconcile_seconds: u32,
    /// Seconds between the two passes of the start-up for orders that the first did not find.
    pub second_pass_seconds: u32,
    /// Milliseconds between two readings of the account that must agree before its positions are taken over.
    #[serde(default = "opening_gap_ms")]
    pub opening_gap_ms: u32,
    /// When the gateway restarts daily, `HH:MM` in New York, or `none`; empty: [`RESTART_AT_LIVE`] on a live account,
    /// none on a paper account.
    #[serde(default)]
    pub restart_at: String,
    /// Minutes from then on in which nothing is sent.
    #[serde(default = "restart_minutes")]
    pub restart_minutes: u32,
}

/// When IB restarts its servers and gateways every night, in New York.
pub const RESTART_AT_LIVE: &str = "23:45";

fn opening_gap_ms() -> u32 {
    1_000
}

fn restart_minutes() -> u32 {
    60
}

impl Broker {
    /// The name under which LEDGER knows the gateway.
    #[must_use]
    pub fn gateway_name(&self) -> &str {
        if self.gateway.is_empty() {
            &self.address
        } else {
            &self.gateway
        }
    }

    /// When the gateway of an account restarts daily, in New York; `None` when it does not.
    #[must_use]
    pub fn restart(&self, live: bool) -> Option<jiff::civil::Time> {
        match self.restart_at.as_str() {
            "none" => None,
            "" if !live => None,
            "" => time(RESTART_AT_LIVE),
            told => time(told),
        }
    }
}

impl Broker {
    fn check(&self) -> Result<(), String> {
        let told = self.restart_at.as_str();
        if !matches!(told, "" | "none") && time(told).is_none() {
            return Err(format!(
                "broker.restart_at is `{told}`: use a time like 23:45, `none`, or nothing"
            ));
        }
        if self.restart_minutes > 12 * 60 {
            return Err(format!(
                "broker.restart_minutes is {}: use at most 720",
                self.restart_minutes
            ));
        }
        Ok(())
    }
}

fn time(text: &str) -> Option<jiff::civil::Time> {
    jiff::civil::Time::strptime("%H:%M", text).ok()
}

/// `[market]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Market {
    /// Name of the market, which names the state folder too: `demo`, `broker`.
    pub name: String,
    /// What is watched and may be traded.
    pub watchlist: Vec<Symbol>,
    /// Length of the bars that decide.
    pub bar_size: BarSize,
    /// Complete bars asked from history at the start, so that features are warm.
    pub warm_up_bars: u32,
    /// True to decide in the pre- and after-market too.
    pub extended_hours: bool,
    /// Milliseconds between two quotes of one symbol on the bus, at the least.
    pub quote_interval_ms: u32,
    /// Seconds without any tick after which a symbol's quote is stale, in market time.
    pub stale_after_seconds: u32,
}

/// `[signal]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignalSettings {
    /// Folder that is watched for models.
    pub models: PathBuf,
    /// Name of the model to decide with: the newest good file in the folder when empty.
    #[serde(default)]
    pub model: String,
}

/// `[entry]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Least belief in a rise that opens a position, 0 to 1.
    pub up_min: f64,
    /// Regimes in which positions may be opened.
    pub regimes: Vec<crate::decision::Regime>,
    /// Dollars put into a new position.
    pub notional: Money,
    /// Bars after an exit in which the symbol is not entered again.
    pub cooldown_bars: u32,
    /// Seconds after which a signal is too old to act on, in market time.
    pub signal_age_seconds_max: u32,
}

/// `[exits]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Exits {
    /// Least belief in a fall that closes a position, 0 to 1.
    pub down_min: f64,
    /// Regimes that close a position.
    pub regimes: Vec<crate::decision::Regime>,
    /// Loss that closes a position, as a fraction of its cost: `"0.02"` is 2 %.
    pub stop_loss: Decimal,
    /// Profit that closes a position, as a fraction of its cost.
    pub profit_target: Decimal,
}

/// `[risk]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// Shares of one symbol.
    pub shares_per_symbol_max: Quantity,
    /// Dollars in one symbol.
    pub notional_per_symbol_max: Money,
    /// Dollars in all symbols together.
    pub gross_notional_max: Money,
    /// Entries of one symbol in a day.
    pub trades_per_symbol_per_day_max: u32,
    /// Dollars that may be lost in a day before entries stop.
    pub daily_loss_max: Money,
    /// Orders out in any minute of market time.
    pub orders_per_minute_max: u32,
    /// Seconds of market time in which a second entry of the same symbol and size is held back as a likely mistake.
    pub duplicate_window_seconds: u32,
}

/// `[bridge]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bridge {
    /// Where the page is served, `127.0.0.1:5555`.
    pub listen: String,
    /// Folder with the built page.
    pub page: PathBuf,
    /// Browsers at the same time.
    pub clients_max: u32,
}

impl Settings {
    /// What is wrong with the values, in a sentence that names the key; `Ok` when nothing is.
    ///
    /// # Errors
    /// The first value outside its range.
    pub fn check(&self) -> Result<(), String> {
        let fraction = |key: &str, value: f64| {
            if (0.0..=1.0).contains(&value) {
                Ok(())
            } else {
                Err(format!("{key} is {value}: use a number from 0 to 1"))
            }
        };
        let positive = |key: &str, value: Decimal| {
            if value > Decimal::ZERO {
                Ok(())
            } else {
                Err(format!("{key} is {value}: use a number above 0"))
            }
        };
        fraction("entry.up_min", self.entry.up_min)?;
        fraction("exits.down_min", self.exits.down_min)?;
        positive("entry.notional", self.entry.notional)?;
        positive("exits.stop_loss", self.exits.stop_loss)?;
        positive("exits.profit_target", self.exits.profit_target)?;
        positive("risk.shares_per_symbol_max", self.risk.shares_per_symbol_max)?;
        positive("risk.notional_per_symbol_max", self.risk.notional_per_symbol_max)?;
        positive("risk.gross_notional_max", self.risk.gross_notional_max)?;
        positive("risk.daily_loss_max", self.risk.daily_loss_max)?;
        if self.market.watchlist.is_empty() {
            return Err("market.watchlist is empty: name at least one symbol".to_owned());
        }
        let mut sorted = self.market.watchlist.clone();
        sorted.sort_unstable();
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("market.watchlist names {} twice: name it once", pair[0]));
        }
        if self.broker.market_data_client_id == self.broker.ordering_client_id {
            return Err(
                "broker.market_data_client_id and broker.ordering_client_id are equal: use two ids"
                    .to_owned(),
            );
        }
        self.broker.check()?;
        let name = &self.market.name;
        if name.is_empty()
            || !name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_' || b == b'.')
        {
            return Err(format!(
                "market.name is `{name}`: use letters, digits, dots, `-` and `_`, as it names a folder"
            ));
        }
        Ok(())
    }
}
