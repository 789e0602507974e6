//! Answers `query.{name}`: pages of what the file holds.
//!
//! With `from` or `after` a page begins there and `next` says where the following one begins. With
//! neither, it is the newest `limit` items. Items are always oldest first.

use std::collections::BTreeSet;

use protocol::Symbol;
use protocol::market::BarSize;
use protocol::operator::{Answer, QUERY_LIMIT_DEFAULT, QUERY_LIMIT_MAX, Query, QueryError};
use serde_json::value::RawValue;

use crate::store::{BARS, POSITIONS, Store, Table, nanoseconds};
use crate::view::View;

/// What can be asked.
pub const NAMES: [&str; 8] = [
    "positions",
    "orders",
    "trades",
    "equity",
    "bars",
    "signals",
    "refusals",
    "alerts",
];
/// Rows looked at for one page: a rare symbol in a long table must not keep a reader busy for ever.
const ROWS_SCANNED_MAX: usize = 250_000;

/// Bytes of the items of a page, so that an answer fits into a message of the bus.
const PAGE_BYTES_MAX: usize = 768 * 1024;

/// An item as it is stored: JSON that needs no second look.
pub type Item = Box<RawValue>;

/// Answers one question. Never fails: what goes wrong is said in the answer.
#[must_use]
pub fn answer(store: &Store, watched: &BTreeSet<Symbol>, name: &str, question: &[u8]) -> Answer<Item> {
    let query = match parse(name, question) {
        Ok(query) => query,
        Err(error) => return Answer::Error { error },
    };
    let page = store.view().and_then(|view| page(&view, watched, name, &query));
    match page {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => Answer::Error { error },
        Err(error) => {
            tracing::error!(name, error = format!("{error:#}"), "query failed");
            fail(
                "not-ready",
                format!("the file of persistence can't be read ({error}): look at its log"),
            )
        }
    }
}

fn fail<T>(code: &str, message: String) -> Answer<T> {
    Answer::Error {
        error: refuse(code, message),
    }
}

fn refuse(code: &str, message: String) -> QueryError {
    QueryError {
        code: code.to_owned(),
        message,
    }
}

fn parse(name: &str, question: &[u8]) -> Result<Query, QueryError> {
    if !NAMES.contains(&name) {
        let name: String = name.chars().take(40).collect();
        let message = format!("there is no query `{name}`: ask one of {}", NAMES.join(", "));
        return Err(refuse("unknown-query", message));
    }
    let query = if question.trim_ascii().is_empty() {
        Query::default()
    } else {
        serde_json::from_slice(question).map_err(|error| {
            let message = format!(
                "the query can't be read ({error}): send nothing, or JSON such as \
                 {{\"symbol\":\"SPY\",\"limit\":10}}"
            );
            refuse("bad-query", message)
        })?
    };
    if let Some(limit) = query.limit.filter(|limit| !(1..=QUERY_LIMIT_MAX).contains(limit)) {
        return Err(refuse(
            "bad-query",
            format!("limit is {limit}: use 1 to {QUERY_LIMIT_MAX}"),
        ));
    }
    if name == "equity" && query.symbol.is_some() {
        return Err(refuse(
            "bad-query",
            "equity is of the whole account: leave symbol out".to_owned(),
        ));
    }
    Ok(query)
}

type Page = Result<Answer<Item>, QueryError>;

fn page(view: &View, watched: &BTreeSet<Symbol>, name: &str, query: &Query) -> anyhow::Result<Page> {
    let found = match name {
        "positions" => positions(view, query)?,
        "bars" => bars(view, query)?,
        "orders" => rows(view, Table::Orders, query)?,
        "trades" => rows(view, Table::Trades, query)?,
        "equity" => rows(view, Table::Equity, query)?,
        "signals" => rows(view, Table::Signals, query)?,
        "refusals" => rows(view, Table::Refusals, query)?,
        _ => rows(view, Table::Alerts, query)?,
    };
    let Found { items, next } = match found {
        Ok(found) => found,
        Err(error) => return Ok(Err(error)),
    };
    if let Some(symbol) = query
        .symbol
        .filter(|symbol| items.is_empty() && !watched.contains(symbol))
        && !knows(view, symbol)?
    {
        let message = format!(
            "{symbol} is not watched and nothing is stored of it: ask for a symbol of market.watchlist"
        );
        return Ok(Err(refuse("unknown-symbol", message)));
    }
    let items = items
        .iter()
        .map(|json| Ok(RawValue::from_string(String::from_utf8(json.clone())?)?));
    let items = items.collect::<anyhow::Result<Vec<Item>>>()?;
    Ok(Ok(Answer::Page {
        items,
        next,
        state: view.mark()?,
    }))
}

struct Found {
    items: Vec<Vec<u8>>,
    next: Option<String>,
}

type Finding = Result<Found, QueryError>;

/// How a page is asked for, in the terms of the tables.
struct Frame {
    from: i64,
    to: i64,
    limit: usize,
    forward: bool,
}

impl Frame {
    fn of(query: &Query) -> Self {
        Self {
            from: query.from.map_or(i64::MIN, nanoseconds),
            to: query.to.map_or(i64::MAX, nanoseconds),
            limit: query.limit.unwrap_or(QUERY_LIMIT_DEFAULT) as usize,
            forward: query.from.is_some() || query.after.is_some(),
        }
    }

    fn holds(&self, at: i64) -> bool {
        at >= self.from && (at < self.to || self.to == i64::MAX)
    }

    /// Cuts what was found to a page: `found` is oldest first, and longer than the limit if there is more.
    fn cut(&self, mut found: Vec<(String, Vec<u8>)>) -> Found {
        let fits = |items: &mut dyn Iterator<Item = &(String, Vec<u8>)>| {
            let mut bytes = 0;
            let within = items.take(self.limit).take_while(|(_, json)| {
                bytes += json.len();
                bytes <= PAGE_BYTES_MAX
            });
            within.count()
        };
        let mut next = None;
        if self.forward {
            let count = fits(&mut found.iter());
            if count < found.len() {
                found.truncate(count);
                next = found.last().map(|(key, _)| key.clone());
            }
        } else {
            let count = fits(&mut found.iter().rev());
            found.drain(..found.len() - count);
        }
        Found {
            items: found.into_iter().map(|(_, json)| json).collect(),
            next,
        }
    }
}

/// A page of one of the ordered tables. Its `after` is `{number}:{id}`.
fn rows(view: &View, table: Table, query: &Query) -> anyhow::Result<Finding> {
    let frame = Frame::of(query);
    let open = view.transaction.open_table(table.definition())?;
    let lowest = if table.by_time() { frame.from } else { i64::MIN };
    let highest = if table.by_time() { frame.to } else { i64::MAX };
    let mut start = (lowest, String::new());
    let mut skip = None;
    if let Some(after) = &query.after {
        let Some((number, id)) = split_after(after) else {
            return Ok(Err(bad_after(after)));
        };
        if (number, id) >= (start.0, start.1.as_str()) {
            start = (number, id.to_owned());
            skip = Some((number, id));
        }
    }
    if start.0 > highest {
        return Ok(Ok(Found {
            items: Vec::new(),
            next: None,
        }));
    }
    // `to` itself is left out by the check of the instant; nothing at the end of time is.
    let range = open.range((start.0, start.1.as_str())..=(highest, "\u{10ffff}"))?;
    let wanted = query.symbol.as_ref().map(Symbol::as_str);
    let mut found = Vec::new();
    let mut consider = |key: (i64, &str), value: (&str, i64, &[u8])| {
        if Some(key) != skip && wanted.is_none_or(|wanted| wanted == value.0) && frame.holds(value.1) {
            found.push((format!("{}:{}", key.0, key.1), value.2.to_vec()));
        }
        found.len() > frame.limit
    };
    if frame.forward {
        for row in range.take(ROWS_SCANNED_MAX) {
            let (key, value) = row?;
            if consider(key.value(), value.value()) {
                break;
            }
        }
    } else {
        for row in range.rev().take(ROWS_SCANNED_MAX) {
            let (key, value) = row?;
            if consider(key.value(), value.value()) {
                break;
            }
        }
        found.reverse();
    }
    Ok(Ok(frame.cut(found)))
}

fn split_after(after: &str) -> Option<(i64, &str)> {
    let (number, id) = after.split_once(':')?;
    Some((number.parse().ok()?, id))
}

fn bad_after(after: &str) -> QueryError {
    let after: String = after.chars().take(60).collect();
    refuse(
        "bad-query",
        format!("after is `{after}`: use the `next` of the page before, as it was"),
    )
}

/// All positions, in the order of their symbols. Its `after` is a symbol.
fn positions(view: &View, query: &Query) -> anyhow::Result<Finding> {
    let frame = Frame {
        forward: true,
        ..Frame::of(query)
    };
    let after = query.after.as_deref().unwrap_or_default();
    let mut found = Vec::new();
    for item in view.transaction.open_table(POSITIONS)?.range(after..)? {
        let (key, json) = item?;
        let symbol = key.value();
        if symbol != after && query.symbol.is_none_or(|wanted| wanted.as_str() == symbol) {
            found.push((symbol.to_owned(), json.value().to_vec()));
        }
        if found.len() > frame.limit {
            break;
        }
    }
    Ok(Ok(frame.cut(found)))
}

/// Bars of one symbol or of all, by start, then symbol, then size. Its `after` is a bar's id.
fn bars(view: &View, query: &Query) -> anyhow::Result<Finding> {
    let mut frame = Frame::of(query);
    // A bar is found by its start, whatever the instant of its last trade.
    let after = match query
        .after
        .as_deref()
        .map(|after| split_id(after).ok_or_else(|| bad_after(after)))
    {
        Some(Ok(after)) => Some(after),
        Some(Err(error)) => return Ok(Err(error)),
        None => None,
    };
    if let Some((_, _, start)) = &after {
        frame.from = frame.from.max(start.saturating_mul(1_000_000_000));
    }
    let series = match query.symbol {
        Some(symbol) => view
            .series()?
            .into_iter()
            .filter(|(name, _)| name == symbol.as_str())
            .collect(),
        None => view.series()?,
    };
    let table = view.transaction.open_table(BARS)?;
    let mut found: Vec<((i64, String, String), Vec<u8>)> = Vec::new();
    for (name, size) in series {
        let first = (name.as_str(), size.as_str(), frame.from.div_euclid(1_000_000_000));
        let last = (name.as_str(), size.as_str(), frame.to.div_euclid(1_000_000_000));
        let range = table.range(first..=last)?;
        let mut count = 0;
        let mut consider = |start: i64, json: &[u8]| {
            let place = (start, name.clone(), size.clone());
            let passed = after
                .as_ref()
                .is_some_and(|(symbol, size, at)| place <= (*at, symbol.clone(), size.clone()));
            if !passed && frame.holds(start.saturating_mul(1_000_000_000)) {
                found.push((place, json.to_vec()));
                count += 1;
            }
            count > frame.limit
        };
        let mut range: Box<dyn Iterator<Item = _>> = if frame.forward {
            Box::new(range)
        } else {
            Box::new(range.rev())
        };
        for item in &mut range {
            let (key, value) = item?;
            if consider(key.value().2, value.value().1) {
                break;
            }
        }
    }
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    let more = found.len() > frame.limit;
    if frame.forward {
        found.truncate(frame.limit + 1);
    } else if more {
        found.drain(..found.len() - frame.limit);
    }
    let named = found
        .into_iter()
        .map(|((start, name, size), json)| (id_of(&name, &size, start), json));
    Ok(Ok(frame.cut(named.collect())))
}

fn knows(view: &View, symbol: Symbol) -> anyhow::Result<bool> {
    let bar = view
        .transaction
        .open_table(BARS)?
        .range((symbol.as_str(), "", i64::MIN)..)?
        .next()
        .transpose()?;
    let bar = bar.is_some_and(|(key, _)| key.value().0 == symbol.as_str());
    Ok(bar
        || view
            .transaction
            .open_table(POSITIONS)?
            .get(symbol.as_str())?
            .is_some())
}

fn id_of(symbol: &str, size: &str, start: i64) -> String {
    format!("{symbol}-{size}-{start}")
}

/// Takes a bar's id apart: symbol, size, start in epoch seconds.
fn split_id(id: &str) -> Option<(String, String, i64)> {
    // The start may be negative, so its sign is part of it: `SPY-1m--60`.
    let (symbol, rest) = id.split_once('-')?;
    let (size, start) = rest.split_once('-')?;
    size.parse::<BarSize>().ok()?;
    Some((symbol.to_owned(), size.to_owned(), start.parse().ok()?))
}
