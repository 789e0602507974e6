//! Who looks things up: one question about the past at a time, beside the hub, and clients take turns.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use anyhow::Result;
use engine::venue::Input;
use engine::venue::bars::{self, BarSize, PUSHED_SECONDS};
use engine::venue::history::Query;
use engine::venue::market::Market;
use tokio::task::{JoinError, JoinHandle};
use tokio::time::Instant;

use super::Hub;
use super::history;
use super::lookup::{Found, Lookup, What};
use crate::peer::{LOOKUPS_MAX, LiveHistory, Peer};
use crate::request::Cancel;
use crate::span::{self, Refusal};

/// Looks up what is past.
#[derive(Debug)]
pub(super) struct Clerk {
    /// A market of its own: the past is the same in all of them.
    market: Arc<Market>,
    job: Option<Job>,
    /// The connection whose question was taken last.
    turn: u64,
}

/// A question that is being answered.
#[derive(Debug)]
struct Job {
    session: u64,
    lookup: Lookup,
    /// Whether nobody has cancelled it.
    is_wanted: bool,
    task: JoinHandle<Result<Found, Refusal>>,
}

impl Clerk {
    pub(super) fn new(market: Market) -> Self {
        Self {
            market: Arc::new(market),
            job: None,
            turn: 0,
        }
    }

    /// Resolves when the question in hand is answered. Who calls may give up waiting at any point.
    pub(super) async fn found(&mut self) -> Result<Result<Found, Refusal>, JoinError> {
        match &mut self.job {
            Some(job) => (&mut job.task).await,
            None => std::future::pending().await,
        }
    }

    /// The question in hand, if somebody wants it.
    pub(super) fn in_hand(&self) -> Option<&Lookup> {
        let wanted = self.job.as_ref().filter(|job| job.is_wanted);
        wanted.map(|job| &job.lookup)
    }

    /// The question in hand, if it is this client's and still wanted.
    fn job_of(&mut self, session: u64) -> Option<&mut Job> {
        self.job
            .as_mut()
            .filter(|job| job.session == session && job.is_wanted)
    }
}

impl Hub {
    /// Lets a question wait for its turn.
    pub(super) fn look_up(&mut self, session: u64, lookup: Lookup) {
        let peer = self.peer(session);
        if peer.lookups.len() < LOOKUPS_MAX {
            return peer.lookups.push_back(lookup);
        }
        let (code, text) = span::unavailable("Historical data request pacing violation");
        peer.error(lookup.id, code, &text);
    }

    /// Whether a history of this number that goes on is there or is being looked up.
    pub(super) fn has_history(&mut self, session: u64, id: i32) -> bool {
        let is_it = |lookup: &Lookup| lookup.id == id && lookup.is_live();
        self.is_asked(session, is_it) || self.peer(session).histories.contains(id)
    }

    /// Whether such a question of a client waits or is being answered.
    pub(super) fn is_asked(&mut self, session: u64, is_it: impl Fn(&Lookup) -> bool) -> bool {
        let in_hand = self.clerk.job_of(session).is_some_and(|job| is_it(&job.lookup));
        in_hand || self.peer(session).lookups.iter().any(is_it)
    }

    /// Takes out questions that wait or are being answered. True if there was one.
    pub(super) fn withdraw(&mut self, session: u64, kind: Cancel, id: i32) -> bool {
        let is_it = |lookup: &Lookup| lookup.id == id && lookup.cancel() == kind;
        let job = self.clerk.job_of(session).filter(|job| is_it(&job.lookup));
        let in_hand = job.map(|job| job.is_wanted = false).is_some();
        let waiting: &mut VecDeque<Lookup> = &mut self.peer(session).lookups;
        let before = waiting.len();
        waiting.retain(|lookup| !is_it(lookup));
        in_hand || waiting.len() < before
    }

    /// Begins with the next question, if none is in hand: each client has its turn.
    pub(super) fn look_on(&mut self) {
        if self.clerk.job.is_some() {
            return;
        }
        let waiting = |from, to| {
            let mut peers = self.peers.range((from, to));
            let is_next = |peer: &Peer| !(peer.muted || peer.lookups.is_empty() || peer.backlog().is_long());
            let asks = peers.find(|(_, peer)| is_next(peer));
            asks.map(|(session, _)| *session)
        };
        let turn = self.clerk.turn;
        let next = waiting(Bound::Excluded(turn), Bound::Unbounded)
            .or_else(|| waiting(Bound::Unbounded, Bound::Included(turn)));
        let Some(session) = next else { return };
        let Some(mut lookup) = self.peer(session).lookups.pop_front() else {
            return;
        };
        // What goes on where its answer ends is answered as late as can be.
        match &mut lookup.what {
            What::Bars {
                query, live: true, ..
            } => query.to = self.five_seconds_ago(),
            What::Ticks { end, live: true, .. } => *end = self.after_now(),
            What::Late { at, .. } => *at = self.late.at(self.venue.now()),
            _ => {}
        }
        let (question, market) = (lookup.clone(), self.clerk.market.clone());
        self.clerk.turn = session;
        self.clerk.job = Some(Job {
            session,
            lookup,
            is_wanted: true,
            task: tokio::task::spawn_blocking(move || question.answer(&market)),
        });
    }

    /// Tells the answer to the question in hand.
    pub(super) fn tell_found(&mut self, found: Result<Found, Refusal>) -> Result<()> {
        let Some(job) = self.clerk.job.take().filter(|job| job.is_wanted) else {
            return Ok(());
        };
        let (session, lookup) = (job.session, job.lookup);
        if self.peers.get(&session).is_none_or(|peer| peer.muted) {
            return Ok(());
        }
        // What came before the answer has been told, and is no part of it.
        self.pace();
        self.step(Input::Time)?;
        self.release(false);
        match self.refused_meanwhile(&lookup).map_or(found, Err) {
            Err((code, text)) => {
                let peer = self.peer(session);
                peer.error(lookup.id, code, &text);
                if matches!(lookup.what, What::Ticks { live: true, .. }) {
                    peer.ticks.remove(lookup.id);
                }
            }
            Ok(found) => self.tell_answer(session, lookup, found),
        }
        self.release(true);
        Ok(())
    }

    /// Why the past is not told after all: what serves it was lost while it was looked up. Quotes are told without it.
    fn refused_meanwhile(&self, lookup: &Lookup) -> Option<Refusal> {
        let trouble = self.trouble.as_ref()?;
        let (code, text) = trouble.weather.refuses_history()?;
        (lookup.cancel() != Cancel::MarketData).then(|| (code, text.to_owned()))
    }

    fn tell_answer(&mut self, session: u64, Lookup { id, what }: Lookup, found: Found) {
        if let What::Ticks {
            symbol,
            end,
            live: true,
            ..
        } = what
        {
            return self.begin_ticks(session, id, &found, (symbol, end));
        }
        let peer = self.peer(session);
        found.frames.iter().for_each(|frame| peer.send_made(frame));
        match what {
            What::Bars { query, .. } => {
                if let Some(live) = found.live {
                    self.go_on(session, id, &query, live);
                }
            }
            What::Late { symbol, at, snapshot } => {
                self.late.put(symbol, at, found.book);
                self.tell_late_begin(session, id, symbol, snapshot);
            }
            _ => {}
        }
    }

    /// Lets a history go on, from what has become past while its begin was looked up.
    fn go_on(&mut self, session: u64, id: i32, query: &Query, mut live: LiveHistory) {
        let (market, symbol) = (self.venue.market(), query.symbol);
        let fives = BarSize::Seconds(PUSHED_SECONDS);
        let missed = market.bars(symbol, query.to, self.five_seconds_ago(), fives);
        let show = live.show;
        let updates: Vec<_> = missed
            .iter()
            .filter_map(|five| history::shown(market, symbol, five, show))
            .filter_map(|five| history::update(market.calendar(), &mut live, &five))
            .collect();
        let peer = self.peer(session);
        for update in updates {
            peer.send(90, &history::updated(id, update));
        }
        peer.histories.insert(id, symbol, live);
        self.asked = Instant::now();
        self.tell_competed(session, id);
    }

    /// The end of the last five seconds that are over: those in progress are told when they are.
    pub(super) fn five_seconds_ago(&self) -> protocol::Timestamp {
        bars::floor(self.venue.now(), PUSHED_SECONDS)
    }
}
