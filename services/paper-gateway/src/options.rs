//! What the gateway can be told when it starts.

use std::path::PathBuf;

use clap::Parser;
use engine::venue::synthetic::STOCKS;
use protocol::{Money, Symbol, Timestamp};

use crate::clock::Speed;
use crate::line::Entitlement;

/// A paper trading server that speaks the socket protocol of Interactive Brokers' TWS and IB Gateway.
///
/// Any program written for them can trade on it, against made-up prices or a replay of real ones.
/// Nothing here ever reaches a broker.
#[derive(Debug, Clone, Parser)]
#[command(name = "tradewind-paper-gateway", version, about, args_override_self = true)]
pub struct Options {
    /// Where to listen; port 0 takes a free one, and the first line printed says which.
    #[arg(long, default_value = "127.0.0.1:4010", value_name = "HOST:PORT", value_parser = address)]
    pub listen: String,
    /// Write the real address into this file once clients can connect.
    #[arg(long, value_name = "FILE")]
    pub address_file: Option<PathBuf>,
    /// The folder in which the account is kept; it is made if missing and belongs to one gateway at a time.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Replay the bars of this folder (SYMBOL.csv: timestamp,open,high,low,close,volume) instead of making prices up.
    #[arg(long, value_name = "DIR")]
    pub market: Option<PathBuf>,
    /// Speed of the market's time: 60 plays a minute in a second, `max` plays as fast as clients can be told.
    /// By default 60 for a replay and 1 for made-up prices.
    #[arg(long, value_name = "N|max")]
    pub speed: Option<Speed>,
    /// Begin here instead of with the first bar of a replay, whose earlier bars are history, or instead of now.
    /// Later starts go on where the last one stopped.
    #[arg(long, value_name = "TIME")]
    pub start: Option<Timestamp>,
    /// Trade only these stocks, separated by commas. By default those of the demo, or all files of the folder.
    #[arg(long, value_delimiter = ',', value_name = "SYMBOLS")]
    pub symbols: Vec<Symbol>,
    /// Seed of everything that is made up: the same seed makes the same prices.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Trades a second of each made-up stock, 1 to 1000.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000), conflicts_with = "market")]
    pub trades_per_second: u32,
    /// Cash in dollars that a new account begins with, up to a trillion; 100000 by default.
    #[arg(long, value_name = "DOLLARS", value_parser = cash)]
    pub cash: Option<Money>,
    /// Stocks that nobody lends, separated by commas: a short sale of one is rejected.
    #[arg(long, value_delimiter = ',', value_name = "SYMBOLS")]
    pub not_shortable: Vec<Symbol>,
    /// Name of the account; IB's paper accounts begin with DU. By default it follows from the market.
    #[arg(long, value_name = "NAME", value_parser = account)]
    pub account: Option<String>,
    /// What prices the account may see: `live`, `delayed` (late, and only to who asks for delayed ones) or `none`.
    #[arg(long, default_value = "live", value_name = "live|delayed|none")]
    pub data: Entitlement,
    /// How late delayed prices are, in seconds of the market.
    #[arg(long, default_value_t = 900, value_parser = clap::value_parser!(i64).range(1..=86_400), value_name = "N")]
    pub delay_seconds: i64,
    /// Market data lines: how many stocks all clients together may follow at a time.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub lines: usize,
    /// Let faults be ordered here, one JSON object a line (docs/paper-gateway-faults.md); addresses of this
    /// machine only. Off by default.
    #[arg(long, value_name = "HOST:PORT", value_parser = address)]
    pub control: Option<String>,
    /// Write the control port's real address into this file.
    #[arg(long, value_name = "FILE", requires = "control")]
    pub control_file: Option<PathBuf>,
    /// Play the faults of this file: the control port's lines, each with its `at_seconds` after the start.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,
    /// Note in this file when bars were written and orders were read, for measuring.
    #[arg(long, value_name = "FILE")]
    pub trace: Option<PathBuf>,
}

/// Options that don't go together with the market or with the account.
#[derive(Debug, thiserror::Error)]
pub enum OptionsError {
    /// A stock that nobody lends is not traded at all.
    #[error("--not-shortable names {}, which is not traded here: leave it out, or add it to --symbols", .0.broker_text())]
    NotShortable(Symbol),
    /// The folder holds the account of another name, and so perhaps of another market.
    #[error(
        "{folder} holds the account {kept}, not {asked}: choose another folder with --state, or its own market and --account"
    )]
    OtherAccount {
        /// The state folder.
        folder: PathBuf,
        /// The name of its account.
        kept: String,
        /// The name that these options give.
        asked: String,
    },
    /// The account has seen times that the bars never reach.
    #[error(
        "{folder} holds an account that was used at {seen}, and the bars of --market end at {end}: choose another folder with --state"
    )]
    OtherMarket {
        /// The state folder.
        folder: PathBuf,
        /// The latest time of the account.
        seen: Timestamp,
        /// The end of the last bar.
        end: Timestamp,
    },
}

impl Options {
    /// Cash that a new account begins with.
    pub(crate) fn first_cash(&self) -> Money {
        self.cash.unwrap_or(CASH)
    }

    /// The stocks of a made-up market.
    pub(crate) fn made_up(&self) -> Vec<Symbol> {
        if !self.symbols.is_empty() {
            return self.symbols.clone();
        }
        STOCKS.iter().filter_map(|(name, _)| name.parse().ok()).collect()
    }
}

fn address(text: &str) -> Result<String, String> {
    let parts = text.rsplit_once(':');
    if parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
        return Ok(text.to_owned());
    }
    Err("an address is HOST:PORT, such as 127.0.0.1:4010".into())
}

/// Longest name of an account.
const ACCOUNT_BYTES_MAX: usize = 32;

fn account(text: &str) -> Result<String, String> {
    let is_name = (1..=ACCOUNT_BYTES_MAX).contains(&text.len());
    if is_name && text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err(format!(
        "an account has 1 to {ACCOUNT_BYTES_MAX} letters and digits, such as DU1234567"
    ))
}

/// Dollars of a new account, if nobody says how many.
const CASH: Money = Money::from_parts(100_000, 0, 0, false, 0);
/// Most dollars of a new account: far beyond, sums with prices and shares could not be held.
const CASH_MAX: Money = Money::from_parts(0xD4A5_1000, 0xE8, 0, false, 0);

fn cash(text: &str) -> Result<Money, String> {
    let cash: Money = text.parse().map_err(|_| "it is not an amount".to_owned())?;
    if (Money::ZERO..=CASH_MAX).contains(&cash) {
        Ok(cash)
    } else {
        Err(format!("an account begins with 0 to {CASH_MAX} dollars"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_begins_with_an_amount_that_sums_can_hold() {
        assert_eq!(CASH_MAX.to_string(), "1000000000000");
        assert_eq!(cash("100000.5"), Ok(Money::new(1_000_005, 1)));
        for wrong in ["-5", "1000000000001", "79228162514264337593543950335", "much"] {
            assert!(cash(wrong).is_err(), "{wrong}");
        }
    }
}
