//! What the market says: quotes, bars and the session, as market-data publishes them. A message with a number that no
//! market has is refused where it is read, by everybody who reads it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::units::{read_price, read_price_if_any, read_quantity, read_quantity_if_any};
use crate::{Id, Price, Quantity, Symbol, Timestamp};

/// The best bid and ask and the last trade of a symbol. Published on `market.quote.{symbol}`;
/// only the newest matters. A side that the market does not show is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Follows from all that it says: no two quotes of a symbol share an instant.
    pub id: Id,
    /// Market clock.
    pub at: Timestamp,
    /// What is quoted.
    pub symbol: Symbol,
    /// Best price somebody pays.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_price_if_any"
    )]
    pub bid: Option<Price>,
    /// Best price somebody asks.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_price_if_any"
    )]
    pub ask: Option<Price>,
    /// Price of the last trade.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_price_if_any"
    )]
    pub last: Option<Price>,
    /// Shares wanted at the bid.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_quantity_if_any"
    )]
    pub bid_size: Option<Quantity>,
    /// Shares offered at the ask.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_quantity_if_any"
    )]
    pub ask_size: Option<Quantity>,
    /// Close of the session before, the baseline of "today".
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "read_price_if_any"
    )]
    pub previous_close: Option<Price>,
    /// False when the price may not be traded on: delayed, frozen, crossed, or its feed is broken.
    pub tradable: bool,
}

impl Quote {
    /// The price a position is valued at: the last trade, else the middle of bid and ask, else the one side there is.
    #[must_use]
    pub fn mark(&self) -> Option<Price> {
        self.last.or_else(|| match (self.bid, self.ask) {
            (Some(bid), Some(ask)) => Some((bid + ask) / Price::TWO),
            (one, other) => one.or(other),
        })
    }
}

/// The length of a bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BarSize {
    seconds: u32,
}

/// Why a text is not a bar size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a bar size: use 5s, 10s, 15s, 30s, 1m, 2m, 5m, 15m, 30m, 1h or 1d")]
pub struct BarSizeError(String);

impl BarSize {
    /// The broker's real-time bars, of which longer ones are made.
    pub const FIVE_SECONDS: Self = Self { seconds: 5 };
    /// The usual size for trading.
    pub const ONE_MINUTE: Self = Self { seconds: 60 };

    /// Its length in seconds, a multiple of five.
    #[must_use]
    pub fn seconds(self) -> u32 {
        self.seconds
    }

    /// The start of the bar that holds an instant: the epoch is cut into bars without rest.
    #[must_use]
    pub fn start_of(self, at: Timestamp) -> Timestamp {
        let second = at.as_second();
        let start = second - second.rem_euclid(i64::from(self.seconds));
        Timestamp::from_second(start).expect("a bar starts at most a day before a valid instant")
    }

    /// The end of the bar that starts at `start`, which is the start of the next one.
    #[must_use]
    pub fn end_of(self, start: Timestamp) -> Timestamp {
        start + jiff::SignedDuration::from_secs(i64::from(self.seconds))
    }
}

impl FromStr for BarSize {
    type Err = BarSizeError;

    fn from_str(text: &str) -> Result<Self, BarSizeError> {
        let seconds = match text {
            "5s" => 5,
            "10s" => 10,
            "15s" => 15,
            "30s" => 30,
            "1m" => 60,
            "2m" => 120,
            "5m" => 300,
            "15m" => 900,
            "30m" => 1_800,
            "1h" => 3_600,
            "1d" => 86_400,
            _ => return Err(BarSizeError(text.chars().take(20).collect())),
        };
        Ok(Self { seconds })
    }
}

impl TryFrom<String> for BarSize {
    type Error = BarSizeError;

    fn try_from(text: String) -> Result<Self, BarSizeError> {
        text.parse()
    }
}

impl From<BarSize> for String {
    fn from(size: BarSize) -> Self {
        size.to_string()
    }
}

impl fmt::Display for BarSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            s if s % 86_400 == 0 => write!(f, "{}d", s / 86_400),
            s if s % 3_600 == 0 => write!(f, "{}h", s / 3_600),
            s if s % 60 == 0 => write!(f, "{}m", s / 60),
            s => write!(f, "{s}s"),
        }
    }
}

/// What was traded in one interval. Published on `market.bar.{symbol}`; an interval without a trade makes no bar.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    /// `{symbol}-{size}-{start in epoch seconds}`.
    pub id: Id,
    /// Market clock: the end of the interval once complete, else the last trade in it.
    pub at: Timestamp,
    /// What was traded.
    pub symbol: Symbol,
    /// Length of the interval.
    pub size: BarSize,
    /// Start of the interval.
    pub start: Timestamp,
    /// First price.
    #[serde(deserialize_with = "read_price")]
    pub open: Price,
    /// Highest price.
    #[serde(deserialize_with = "read_price")]
    pub high: Price,
    /// Lowest price.
    #[serde(deserialize_with = "read_price")]
    pub low: Price,
    /// Last price.
    #[serde(deserialize_with = "read_price")]
    pub close: Price,
    /// Shares traded.
    #[serde(deserialize_with = "read_quantity")]
    pub volume: Quantity,
    /// True when nothing more can be added to it.
    pub complete: bool,
    /// True for a bar from history, which warms features up and never decides anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub warm_up: bool,
    /// True when data was lost inside the interval, so that its numbers may be wrong.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub gap: bool,
}

impl Bar {
    /// The id of the bar of `symbol` and `size` that starts at `start`.
    #[must_use]
    pub fn id_of(symbol: Symbol, size: BarSize, start: Timestamp) -> Id {
        format!("{symbol}-{size}-{}", start.as_second())
            .parse()
            .expect("symbol, size and digits are legal in an id")
    }
}

/// In which part of the day the market is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nobody trades.
    Closed,
    /// Before the regular session.
    Pre,
    /// The regular session.
    Regular,
    /// After the regular session.
    After,
}

/// The market's session, from the broker's own hours. Published on `market.session`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Follows from instant and phase.
    pub id: Id,
    /// Market clock.
    pub at: Timestamp,
    /// Where in the day we are.
    pub phase: Phase,
    /// When the phase changes next, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_change: Option<Timestamp>,
    /// Who says so, `broker hours of AAPL`.
    pub source: String,
    /// How fast the market clock runs against the wall clock: 1 but in a replay.
    pub speed: f64,
    /// True while the broker's link to the market, and the data farms, are whole.
    pub connected: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A quote as it comes, with one price and one size.
    fn quote(price: &str, size: &str) -> serde_json::Result<Quote> {
        let quote = serde_json::json!({
            "id": "one", "at": "2013-10-07T13:30:00Z", "symbol": "AAPL", "bid": price, "ask": price,
            "bid_size": size, "ask_size": size, "tradable": true,
        });
        serde_json::from_str(&quote.to_string())
    }

    fn bar(price: &str, volume: &str) -> serde_json::Result<Bar> {
        let bar = serde_json::json!({
            "id": "one", "at": "2013-10-07T13:31:00Z", "symbol": "AAPL", "size": "1m",
            "start": "2013-10-07T13:30:00Z", "open": price, "high": price, "low": price, "close": price,
            "volume": volume, "complete": true,
        });
        serde_json::from_str(&bar.to_string())
    }

    fn signal(price: &str) -> serde_json::Result<crate::decision::Signal> {
        let signal = serde_json::json!({
            "id": "one", "at": "2013-10-07T13:31:00Z", "cause": "bar", "symbol": "AAPL", "down": 0.1, "flat": 0.2,
            "up": 0.7, "regime": "bull", "price": price, "model": "m", "model_hash": "0",
        });
        serde_json::from_str(&signal.to_string())
    }

    #[test]
    fn a_message_with_a_number_that_no_market_has_is_refused_whole() {
        for price in ["0.000000001", "0.0001", "66.47", "1000000000"] {
            assert!(quote(price, "0").is_ok() && bar(price, "0").is_ok() && signal(price).is_ok());
        }
        for price in [
            "79228162514264337593543950335",
            "70000000000000000000000000000",
            "1000000000.01",
            "0.0000000001",
            "0",
            "-1",
        ] {
            let error = quote(price, "1").expect_err(price).to_string();
            assert!(error.contains(price) && error.contains("no price"), "{error}");
            assert!(bar(price, "1").is_err() && signal(price).is_err(), "{price}");
        }
        for size in ["0", "0.5", "1000000000000000"] {
            assert!(quote("1", size).is_ok() && bar("1", size).is_ok(), "{size}");
        }
        for size in ["79228162514264337593543950335", "1000000000000001", "-1"] {
            assert!(quote("1", size).is_err() && bar("1", size).is_err(), "{size}");
        }
    }

    #[test]
    fn a_quote_without_a_side_reads_back_as_written() {
        let mut quote = quote("66.47", "300").unwrap();
        (quote.ask, quote.bid_size) = (None, None);
        let text = serde_json::to_string(&quote).unwrap();
        assert!(!text.contains("null") && !text.contains("\"ask\""), "{text}");
        assert_eq!(serde_json::from_str::<Quote>(&text).unwrap(), quote);
    }

    proptest::proptest! {
        /// What can't be read can't be reckoned with, and what can must not panic.
        #[test]
        fn whatever_is_read_can_be_reckoned_with(
            parts in proptest::array::uniform2((
                proptest::prelude::any::<(u32, u32, bool)>(),
                proptest::prop_oneof![proptest::prelude::Just(0u32), proptest::prelude::any::<u32>()],
                0u32..=28,
            )),
        ) {
            let [price, size] = parts.map(|((low, middle, negative), high, scale)| {
                Price::from_parts(low, middle, high, negative, scale).to_string()
            });
            if let Ok(quote) = quote(&price, &size) {
                let (mark, size) = (quote.mark().unwrap(), quote.bid_size.unwrap());
                let worth = mark * size * Price::ONE_HUNDRED;
                proptest::prop_assert!(worth + worth >= Price::ZERO);
                proptest::prop_assert!(Price::from(10_000_000_000_000u64) / mark > Price::ZERO);
            }
        }
    }

    #[test]
    fn bar_sizes_read_back_as_written() {
        for text in [
            "5s", "10s", "15s", "30s", "1m", "2m", "5m", "15m", "30m", "1h", "1d",
        ] {
            assert_eq!(text.parse::<BarSize>().unwrap().to_string(), text);
        }
        assert!("7s".parse::<BarSize>().is_err());
    }

    #[test]
    fn bars_start_on_their_grid() {
        let at: Timestamp = "2013-10-07T13:30:59.9Z".parse().unwrap();
        assert_eq!(
            BarSize::ONE_MINUTE.start_of(at),
            "2013-10-07T13:30:00Z".parse().unwrap()
        );
        assert_eq!(
            BarSize::FIVE_SECONDS.start_of(at),
            "2013-10-07T13:30:55Z".parse().unwrap()
        );
    }
}
