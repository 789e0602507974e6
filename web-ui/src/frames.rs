//! What each frame of the bridge changes in the store. Frames that came together are applied together.

use std::collections::{BTreeMap, VecDeque};

use engine::equity::Curve;
use engine::portfolio::Portfolio;
use leptos::prelude::*;
use protocol::decision::{Level, Refusal};
use protocol::feed::{Frame, Snapshot};
use protocol::ledger::{Entry, OrderChange, Record};
use protocol::market::Bar;
use protocol::operator::{Reply, StateMark};
use protocol::units::approximate;
use protocol::{Hash, WIRE_VERSION};

use crate::clock::{MarketClock, wall_ms};
use crate::store::{CLOSES_MAX, Closes, Facts, Line, Link, NEWS_MAX, Store};
use crate::toast::say;
use crate::words;

/// Points of the equity curve kept: half a day of 5 s bars, a month of minutes.
const POINTS_MAX: usize = 10_000;
/// Fills are told as toasts at most so often, milliseconds between: a busy market must not cover the page.
const FILL_TOAST_MS_MIN: f64 = 5_000.0;

/// Why the page must begin again from a fresh snapshot.
#[derive(Debug, Clone, PartialEq)]
pub enum Again {
    /// Our fold is not the bridge's; the sentence says how it shows.
    Mismatch(String),
    /// The bridge speaks another wire: this page is old.
    Reload,
}

/// Applies frames in their order. `Err` asks for a new connection; the rest of the frames is left out then.
///
/// # Errors
/// When the fold does not match, or the bridge speaks another wire.
pub fn apply(store: Store, frames: Vec<Frame<Portfolio>>) -> Result<(), Again> {
    let mut folded = false;
    let mut outcome = Ok(());
    for frame in frames {
        outcome = match frame {
            Frame::Snapshot(snapshot) => begin(store, *snapshot),
            Frame::Record {
                sequence,
                hash,
                record,
            } => {
                folded = true;
                fold(store, sequence, &hash, &record)
            }
            Frame::Mark { state, .. } => compare(store, &state),
            other => {
                hear(store, other);
                Ok(())
            }
        };
        if outcome.is_err() {
            break;
        }
    }
    if folded {
        store.portfolio.notify();
    }
    outcome
}

fn begin(store: Store, snapshot: Snapshot<Portfolio>) -> Result<(), Again> {
    if snapshot.wire != WIRE_VERSION {
        return Err(Again::Reload);
    }
    let now = wall_ms();
    let speed = snapshot.session.as_ref().map_or(1.0, |session| session.speed);
    let instants = snapshot
        .quotes
        .iter()
        .map(|quote| quote.at)
        .chain(snapshot.session.iter().map(|session| session.at));
    let newest = instants
        .chain(snapshot.bars.iter().map(|bar| bar.at))
        .max()
        .unwrap_or(snapshot.at);
    store.clock.set_value(MarketClock::new(newest, now, speed));
    store.facts.set(Some(Facts {
        market: snapshot.market,
        mode: snapshot.mode,
        bar_size: snapshot.bar_size,
        risk: snapshot.risk,
        exits: snapshot.exits,
    }));
    for symbol in &snapshot.watchlist {
        store.ticker(*symbol).closes.set(Closes::default());
    }
    for symbol in snapshot.portfolio.positions.keys() {
        store.ticker(*symbol);
    }
    store.watchlist.set(snapshot.watchlist);
    store.portfolio.set(snapshot.portfolio);
    for quote in snapshot.quotes {
        store.ticker(quote.symbol).quote.set(Some(quote));
    }
    let mut curve = Curve::after(snapshot.equity.last().map(|point| point.at));
    for bar in snapshot.bars {
        close(store, &bar);
        // As warm-up it only tells its mark: the points up to now came with the snapshot.
        let known = Bar { warm_up: true, ..bar };
        store
            .portfolio
            .with_untracked(|portfolio| curve.step(&known, portfolio));
    }
    store.curve.set_value(curve);
    for signal in snapshot.signals {
        store.ticker(signal.symbol).opinion.set(Some(signal));
    }
    store.reasons.set(BTreeMap::new());
    store.refusals.set(VecDeque::new());
    for refusal in snapshot.refusals {
        refuse(store, refusal);
    }
    store.alerts.set(last(snapshot.alerts));
    store.models.set(last(snapshot.models));
    store.health.set(
        snapshot
            .health
            .into_iter()
            .map(|health| (health.service.clone(), (health, now)))
            .collect(),
    );
    store.session.set(snapshot.session);
    store.points.set(snapshot.equity);
    store
        .mark
        .set(Some(store.portfolio.with_untracked(Portfolio::mark)));
    store.link.set(Link::Open);
    Ok(())
}

fn last<T>(items: Vec<T>) -> VecDeque<T> {
    let skip = items.len().saturating_sub(NEWS_MAX);
    items.into_iter().skip(skip).collect()
}

fn push<T: Send + Sync + 'static>(list: RwSignal<VecDeque<T>>, item: T) {
    list.update(|list| {
        if list.len() == NEWS_MAX {
            list.pop_front();
        }
        list.push_back(item);
    });
}

fn refuse(store: Store, refusal: Refusal) {
    store.reasons.update(|reasons| {
        let entry = reasons
            .entry(refusal.check)
            .or_insert_with(|| (0, refusal.clone()));
        *entry = (entry.0 + 1, refusal.clone());
    });
    push(store.refusals, refusal);
}

/// Frames that change nothing but what is shown.
fn hear(store: Store, frame: Frame<Portfolio>) {
    let now = wall_ms();
    let hear_market = |at| store.clock.update_value(|clock| clock.hear(at, now));
    match frame {
        Frame::Quote(quote) => {
            hear_market(quote.at);
            store.ticker(quote.symbol).quote.set(Some(quote));
        }
        Frame::Bar(bar) => {
            hear_market(bar.at);
            close(store, &bar);
            draw(store, &bar);
        }
        Frame::Session(session) => {
            store.clock.update_value(|clock| {
                if clock.speed() != session.speed {
                    clock.run_at(session.speed, now);
                }
                clock.hear(session.at, now);
            });
            store.session.set(Some(session));
        }
        Frame::Signal(signal) => store.ticker(signal.symbol).opinion.set(Some(signal)),
        Frame::Refusal(refusal) => refuse(store, refusal),
        Frame::Alert(alert) => {
            if alert.level != Level::Info {
                say(store, alert.level, alert.text.clone());
            }
            push(store.alerts, alert);
        }
        Frame::Model(event) => push(store.models, event),
        Frame::Health(health) => store.health.update(|stages| {
            stages.insert(health.service.clone(), (health, now));
        }),
        Frame::Reply(reply) => answer(store, reply),
        Frame::Snapshot(_) | Frame::Record { .. } | Frame::Mark { .. } => {}
    }
}

fn answer(store: Store, reply: Reply) {
    let ours = store
        .pending
        .with_untracked(|pending| pending.as_ref().is_some_and(|pending| pending.id == reply.id));
    if ours {
        store.pending.set(None);
    }
    say(
        store,
        if reply.accepted {
            Level::Info
        } else {
            Level::Warning
        },
        reply.text.clone(),
    );
    store.reply.set(Some(reply));
}

/// Adds the bar's point to the equity curve, if it makes one.
fn draw(store: Store, bar: &Bar) {
    let mut point = None;
    store.curve.update_value(|curve| {
        point = store
            .portfolio
            .with_untracked(|portfolio| curve.step(bar, portfolio))
    });
    let Some(point) = point else { return };
    store.points.update(|points| {
        if points.len() == POINTS_MAX {
            points.remove(0);
        }
        points.push(point);
    });
}

/// Adds a bar to the closes of its symbol: a newer state of the newest bar replaces it.
fn close(store: Store, bar: &Bar) {
    let value = approximate(bar.close);
    store.ticker(bar.symbol).closes.update(|closes| {
        match closes.newest {
            Some(newest) if bar.start < newest => return,
            Some(newest) if bar.start == newest => {
                closes.values.pop_back();
            }
            _ => closes.newest = Some(bar.start),
        }
        closes.values.push_back(value);
        if closes.values.len() > CLOSES_MAX {
            closes.values.pop_front();
        }
    });
}

fn fold(store: Store, sequence: u64, hash: &Hash, record: &Record) -> Result<(), Again> {
    let mut result = Ok(());
    let known = store
        .portfolio
        .with_untracked(|portfolio| portfolio.sequence >= sequence);
    if known {
        return Ok(());
    }
    store
        .portfolio
        .update_untracked(|portfolio| result = portfolio.apply(sequence, hash, record));
    if let Err(fault) = result {
        return Err(Again::Mismatch(format!(
            "Record {sequence} does not follow: {fault}"
        )));
    }
    let text = store
        .portfolio
        .with_untracked(|portfolio| words::record(portfolio, record));
    if let Entry::Order(event) = &record.entry {
        let level = match event.change {
            OrderChange::Fill(_) => Some(Level::Info),
            OrderChange::Rejected { .. } | OrderChange::Unresolved { .. } | OrderChange::Late { .. } => {
                Some(Level::Warning)
            }
            _ => None,
        };
        let now = wall_ms();
        let silent = now - store.fill_told.get_value() < FILL_TOAST_MS_MIN;
        if let Some(level) = level.filter(|level| *level != Level::Info || !silent) {
            if level == Level::Info {
                store.fill_told.set_value(now);
            }
            say(store, level, text.clone());
        }
    }
    let kind = words::record_kind(&record.entry);
    push(
        store.lines,
        Line {
            sequence,
            at: record.at,
            kind,
            text,
            hash: hash.short().to_owned(),
        },
    );
    Ok(())
}

/// A mark may wait at the bridge while records pass it: an older one says nothing, a newer one means that a
/// record was lost.
fn compare(store: Store, theirs: &StateMark) -> Result<(), Again> {
    let ours = store.portfolio.with_untracked(Portfolio::mark);
    store.mark.set(Some(ours.clone()));
    if theirs.sequence < ours.sequence || *theirs == ours {
        return Ok(());
    }
    Err(Again::Mismatch(format!(
        "Record {} is {} here, record {} is {} at the bridge",
        ours.sequence,
        ours.digest.short(),
        theirs.sequence,
        theirs.digest.short()
    )))
}
