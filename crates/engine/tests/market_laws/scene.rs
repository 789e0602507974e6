//! A machine under test, its clocks, and what it said.

use engine::market::bars::RawBar;
use engine::market::quotes::{Field, Tick};
use engine::market::{Input, Market, Output, Past, Plan};
use jiff::{SignedDuration, Timestamp};
use protocol::Symbol;
use protocol::market::{Bar, Quote};

/// 2013-10-07 13:30 UTC.
pub const BEGIN: i64 = 1_381_152_600;

pub fn market(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap()
}

/// Wall time, years later.
pub fn wall(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_795_000_000_000 + ms).unwrap()
}

pub fn symbol(text: &str) -> Symbol {
    text.parse().unwrap()
}

pub fn machine(watchlist: &[&str], size: &str) -> Market {
    Market::new(Plan {
        watchlist: watchlist.iter().map(|text| symbol(text)).collect(),
        bar_size: size.parse().unwrap(),
        quote_interval: SignedDuration::from_millis(250),
        stale_after: SignedDuration::from_secs(30),
    })
}

pub fn raw(second: i64, cents: [i64; 4], volume: i64) -> RawBar {
    let [open, high, low, close] = cents.map(|cents| cents as f64 / 100.0);
    RawBar {
        start: market(second),
        open,
        high,
        low,
        close,
        volume: volume as f64,
    }
}

pub fn past(asked: i64, bars: Vec<RawBar>, pieces: Vec<RawBar>) -> Past {
    Past {
        asked_at: market(asked),
        bars,
        pieces,
        missing: None,
    }
}

pub fn bars(outputs: Vec<Output>) -> Vec<Bar> {
    let complete = |output| {
        if let Output::Bar(bar) = output {
            Some(bar).filter(|bar| bar.complete)
        } else {
            None
        }
    };
    outputs.into_iter().filter_map(complete).collect()
}

pub fn quotes(outputs: Vec<Output>) -> Vec<Quote> {
    outputs
        .into_iter()
        .filter_map(|output| {
            if let Output::Quote(quote) = output {
                Some(quote)
            } else {
                None
            }
        })
        .collect()
}

pub fn alerts(outputs: &[Output]) -> Vec<(&'static str, String)> {
    let alert = |output: &Output| {
        if let Output::Alert { kind, text, .. } = output {
            Some((*kind, text.clone()))
        } else {
            None
        }
    };
    outputs.iter().filter_map(alert).collect()
}

/// The broker's time, asked for at a wall time.
pub fn server_time(asked: Timestamp, at: Timestamp) -> Input {
    Input::ServerTime { asked, at }
}

/// Two ticks of SPY, a millisecond apart.
pub fn bid_ask(machine: &mut Market, ms: i64, bid: f64, ask: f64) -> Vec<Output> {
    let price = |field, price| Input::Tick {
        symbol: symbol("SPY"),
        tick: Tick::Price {
            field,
            price,
            size: Some(100.0),
            delayed: false,
        },
    };
    let mut out = machine.step(wall(ms), price(Field::Bid, bid));
    out.extend(machine.step(wall(ms + 1), price(Field::Ask, ask)));
    out
}

/// A machine whose one symbol is linked and warm at the start of the day.
pub fn warm(size: &str) -> Market {
    let mut machine = machine(&["SPY"], size);
    machine.step(wall(0), Input::Linked);
    machine.step(wall(0), server_time(wall(0), market(0)));
    machine.step(
        wall(0),
        Input::Past {
            symbol: symbol("SPY"),
            past: past(0, vec![], vec![]),
        },
    );
    machine
}
