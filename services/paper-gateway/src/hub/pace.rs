//! The pace of the market's clock: when it runs, when it stands, and when it leaps.

use std::time::Duration;

use anyhow::Result;
use engine::venue::Input;
use engine::venue::calendar::Phase;
use engine::venue::market::Market;
use protocol::{Symbol, Timestamp};
use tokio::time::Instant;

use super::Hub;
use crate::clock::{Clock, Leap};
use crate::peer::Peer;

/// Frames waiting for one client at which the market's own clock is held, until half of them are written.
const REPLAY_FRAMES_WAITING: usize = 8192;
/// Time for which the market waits for a client that does not read, before it is cut off.
const REPLAY_WAIT_SECONDS: u64 = 20;
/// A replay begins when bars of every stock are asked for, or so long after the last price was asked for.
const REPLAY_GRACE: Duration = Duration::from_secs(3);
/// Closed hours longer than this many seconds of the market are leapt over, up to this long before their end.
const CLOSED_SECONDS: i64 = 120;
/// Most seconds of the market that are made up for in one turn: a clock that is too fast waits for its market.
const BEHIND_SECONDS_MAX: i64 = 10;
/// Most events of the market that one turn makes up for at full speed.
const TURN_EVENTS_MAX: usize = 32;

impl Hub {
    /// Lets the market go on: at full speed by several events, if they are due, so that a turn's wait for the disk
    /// does not slow it down.
    pub(super) fn run_market(&mut self) -> Result<()> {
        for _ in 0..TURN_EVENTS_MAX {
            self.pace();
            self.step(Input::Time)?;
            if !self.is_behind() {
                break;
            }
        }
        Ok(())
    }

    /// Sets the market's own clock going, holds it, or lets it leap; follows a wall clock that leapt.
    pub(super) fn pace(&mut self) {
        if let Clock::Wall(wall) = &mut self.clock {
            let leap = wall.follow(Timestamp::now(), self.venue.now());
            return self.meet_leap(leap);
        }
        let Some(next) = self.venue.next_at() else {
            if !std::mem::replace(&mut self.ended, true) {
                tracing::info!(at = %self.venue.now(), "the replay is at its end: the market stays closed, requests are served");
            }
            return self.hold();
        };
        let may_run = self.is_watched() && !self.is_held_up();
        let gap = next.as_second() - self.clock.now().as_second();
        let closed = self.venue.market().calendar().phase(self.clock.now()) == Phase::Closed;
        let Some(past) = self.clock.past() else { return };
        past.run(may_run);
        past.wait_at(Timestamp::from_second(next.as_second() + BEHIND_SECONDS_MAX).unwrap_or(next));
        if past.is_running() && closed && gap > CLOSED_SECONDS {
            past.leap(Timestamp::from_second(next.as_second() - CLOSED_SECONDS).unwrap_or(next));
        }
        // At full speed the next event is always due, at the pace of the clock.
        if past.is_running()
            && self.clock.wall(next).is_some_and(|wall| wall <= Instant::now())
            && let Some(past) = self.clock.past()
        {
            past.leap_at_full_speed(next);
        }
    }

    fn meet_leap(&mut self, leap: Option<Leap>) {
        let (from, to) = (self.venue.now(), self.clock.now());
        match leap {
            None => {}
            Some(Leap::Back) => {
                tracing::warn!(at = %from, "the machine's clock was set back: the market goes on ahead of it");
            }
            Some(Leap::Ahead) => {
                tracing::warn!(%from, %to, "the clock leapt, its market is left out");
                self.venue.skip_to(to);
            }
        }
    }

    fn hold(&mut self) {
        if let Some(past) = self.clock.past() {
            past.run(false);
        }
    }

    /// Whether the market runs from event to event and the next one is due already.
    fn is_behind(&self) -> bool {
        let Clock::Past(past) = &self.clock else {
            return false;
        };
        let due = || self.clock.wall(self.venue.next_at()?);
        past.is_at_full_speed() && due().is_some_and(|wall| wall <= Instant::now())
    }

    /// Whether there is anybody for whom the market should run. A replay waits until all of its stocks are asked
    /// for, so that nobody misses its beginning.
    fn is_watched(&self) -> bool {
        if matches!(self.venue.market(), Market::Synthetic(_)) {
            return !self.peers.is_empty();
        }
        let running = matches!(&self.clock, Clock::Past(past) if past.is_running());
        let asked = |symbol: Symbol| self.peers.values().any(|peer| peer.bars.follows(symbol));
        self.peers.values().any(Peer::watches_prices)
            && (running
                || self.asked.elapsed() >= REPLAY_GRACE
                || self.directory.all().all(|stock| asked(stock.symbol)))
    }

    /// Whether a client reads too slowly for the market to go on.
    fn is_held_up(&mut self) -> bool {
        let frames = |peer: &Peer| peer.backlog().frames;
        let most = self.peers.values().map(frames).max().unwrap_or(0);
        let limit = if self.held_since.is_some() {
            REPLAY_FRAMES_WAITING / 2
        } else {
            REPLAY_FRAMES_WAITING
        };
        if most <= limit {
            self.held_since = None;
            return false;
        }
        let since = *self.held_since.get_or_insert_with(Instant::now);
        if since.elapsed() > Duration::from_secs(REPLAY_WAIT_SECONDS) {
            for peer in self.peers.values_mut().filter(|peer| frames(peer) > limit) {
                peer.late = Some("it holds the market's clock up");
            }
        }
        true
    }
}
