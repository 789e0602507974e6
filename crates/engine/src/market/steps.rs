//! What the machine does with each input.

use super::bars::Taken;
use super::clock::DOUBT_SECONDS;
use super::quotes::LEAP_SECONDS;
use super::*;
use protocol::market::Phase;
use protocol::{Id, Price};

impl Market {
    pub(super) fn link(&mut self) {
        // Connected only counts once the broker told its time: before, nobody knows when that is.
        self.fresh = true;
        for watch in self.watches.values_mut() {
            watch.held = Some(Vec::new());
            watch.unknown = false;
        }
    }

    pub(super) fn unlink(&mut self, now: Timestamp, reason: &str, out: &mut Vec<Output>) {
        self.fresh = false;
        if !std::mem::take(&mut self.connected) {
            return;
        }
        let at = self.clock.at(now);
        self.lost_at.get_or_insert(at);
        for watch in self.watches.values_mut() {
            watch.bars.lose(at);
            watch.quotes.cut();
        }
        let text = format!(
            "market data stopped at {} market time: {reason}; quotes are not traded on until it is back",
            clock_text(at)
        );
        out.push(Output::Alert {
            kind: "data-lost",
            level: Level::Warning,
            text,
        });
        self.tell_quotes(now, out);
    }

    pub(super) fn server_time(
        &mut self,
        now: Timestamp,
        asked: Timestamp,
        at: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let fresh = std::mem::take(&mut self.fresh);
        if fresh {
            self.connected = true;
            self.clock = Clock::default();
        }
        self.clock.sample(asked, now, at);
        self.judge_clock(now, out);
        if fresh {
            for watch in self.watches.values_mut() {
                watch.bars.restart(at);
            }
            if let Some(lost_at) = self.lost_at.take() {
                let text = format!(
                    "market data is back: nothing came from {} to {} market time; bars in between are taken from the broker's history and decide nothing",
                    clock_text(lost_at),
                    clock_text(at)
                );
                out.push(Output::Alert {
                    kind: "data-gap",
                    level: Level::Warning,
                    text,
                });
            }
            let told = self.watches.values().filter_map(|watch| watch.bars.told()).max();
            if let Some(told) = told.filter(|told| at < *told) {
                let text = format!(
                    "the market clock went back from {} to {}: bars up to then are not told again",
                    clock_text(told),
                    clock_text(at)
                );
                out.push(Output::Alert {
                    kind: "clock-back",
                    level: Level::Warning,
                    text,
                });
            }
        }
        self.pass(at, out);
    }

    pub(super) fn refuse_symbol(
        &mut self,
        now: Timestamp,
        symbol: Symbol,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        if let Some(watch) = self.watches.get_mut(&symbol) {
            watch.unknown = true;
            watch.quotes.cut();
        }
        let text = format!(
            "the broker sends no data of {symbol} ({reason}): correct or remove it in market.watchlist; all others go on"
        );
        self.alert(now, "no-data", Some(symbol), Level::Warning, text, out);
    }

    pub(super) fn tick(&mut self, now: Timestamp, symbol: Symbol, tick: &Tick, out: &mut Vec<Output>) {
        if let Tick::LastTime(at) = tick {
            self.clock.prove(now, *at);
        }
        if self.clock.is_late(now) {
            self.judge_clock(now, out);
        }
        let at = self.clock.at(now);
        let Some(watch) = self.watches.get_mut(&symbol) else {
            return;
        };
        let (delayed, leapt) = (watch.quotes.delayed(), watch.quotes.leapt().is_some());
        let taken = watch.quotes.take(now, at, tick);
        out.extend(
            watch
                .quotes
                .told(now, self.plan.quote_interval)
                .map(Output::Quote),
        );
        let leaps = watch.quotes.leapt().filter(|_| !leapt);
        if !delayed && watch.quotes.delayed() {
            let text = format!(
                "the broker sends delayed or frozen data of {symbol}, which is not traded on: subscribe to live data for it"
            );
            self.alert(now, "delayed-data", Some(symbol), Level::Warning, text, out);
        }
        if let Some(leap) = leaps {
            self.tell_leap(now, symbol, leap, out);
        }
        if let Err(what) = taken {
            self.refuse(
                now,
                "bad-tick",
                symbol,
                format!("the broker sent a tick of {symbol} that can't be: {what}"),
                out,
            );
        }
    }

    pub(super) fn bar(&mut self, now: Timestamp, symbol: Symbol, bar: &RawBar, out: &mut Vec<Output>) {
        let Some(watch) = self.watches.get_mut(&symbol) else {
            return;
        };
        let piece = match bar.check() {
            Ok(piece) => piece,
            Err(what) => {
                watch.bars.mark_gap();
                let text = format!(
                    "the broker sent five seconds of {symbol} at {} that can't be: {what}",
                    clock_text(bar.start)
                );
                self.refuse(now, "bad-bar", symbol, text, out);
                return;
            }
        };
        self.clock.prove(now, piece.start + bars::FIVE_SECONDS);
        if let Some(held) = &mut watch.held {
            if held.len() < HELD_MAX {
                held.push(piece);
            }
            return;
        }
        self.piece(now, symbol, &piece, out);
    }

    fn piece(&mut self, now: Timestamp, symbol: Symbol, piece: &Piece, out: &mut Vec<Output>) {
        let Some(watch) = self.watches.get_mut(&symbol) else {
            return;
        };
        let lead = self.clock.lead(now, piece.start);
        let lead_max = SignedDuration::from_secs(BAR_AHEAD_SECONDS_MAX);
        if let Some(lead) = lead.filter(|lead| *lead > lead_max) {
            watch.bars.mark_gap();
            let text = format!(
                "the broker sent five seconds of {symbol} at {} that can't be: they begin {} s after the market clock",
                clock_text(piece.start),
                lead.as_secs()
            );
            self.refuse(now, "bad-bar", symbol, text, out);
            return;
        }
        match watch.bars.take(piece) {
            Taken::In(bars) => out.extend(bars.into_iter().map(Output::Bar)),
            Taken::Repeated => {}
            Taken::Late => {
                let text = format!(
                    "five seconds of {symbol} at {} came after their bar was complete: its trades are missing there",
                    clock_text(piece.start)
                );
                self.refuse(now, "late-bar", symbol, text, out);
            }
        }
    }

    pub(super) fn lagged(&mut self, now: Timestamp, symbol: Symbol, reason: &str, out: &mut Vec<Output>) {
        if let Some(watch) = self.watches.get_mut(&symbol) {
            watch.bars.mark_gap();
        }
        self.alert(
            now,
            "data-lag",
            Some(symbol),
            Level::Warning,
            format!("data of {symbol} was lost on the way: {reason}"),
            out,
        );
    }

    pub(super) fn past(&mut self, now: Timestamp, symbol: Symbol, past: Past, out: &mut Vec<Output>) {
        let begin = self.plan.bar_size.start_of(past.asked_at);
        let Some(watch) = self.watches.get_mut(&symbol) else {
            return;
        };
        let held = watch.held.take().unwrap_or_default();
        let latest = past.pieces.last().or(past.bars.last());
        if let Some(piece) = latest.and_then(|bar| bar.check().ok()) {
            watch.quotes.remember(piece.close);
        }
        // What can't be read in history is left out: it decides nothing.
        for piece in past
            .bars
            .iter()
            .filter_map(|bar| bar.check().ok())
            .filter(|bar| bar.start < begin)
        {
            out.extend(watch.bars.adopt(&piece).map(Output::Bar));
        }
        let over = |piece: &Piece| piece.start >= begin && piece.start + bars::FIVE_SECONDS <= past.asked_at;
        for piece in past.pieces.iter().filter_map(|bar| bar.check().ok()).filter(over) {
            if let Taken::In(done) = watch.bars.take(&piece) {
                out.extend(
                    done.into_iter()
                        .map(|bar| Output::Bar(Bar { warm_up: true, ..bar })),
                );
            }
        }
        watch.bars.know(past.asked_at);
        if let Some(missing) = past.missing {
            if past.asked_at.duration_since(begin) >= bars::FIVE_SECONDS {
                watch.bars.lose(begin);
                watch.bars.resume(past.asked_at);
            }
            let text = format!(
                "the broker's history of {symbol} is not to be had ({missing}): features warm up on live bars"
            );
            self.alert(now, "no-history", Some(symbol), Level::Warning, text, out);
        }
        for piece in held {
            self.piece(now, symbol, &piece, out);
        }
    }

    /// Completes the bars whose end the broker's own clock has passed. Nothing else proves that: the rim hands
    /// out its time only after all that came before it, but ticks and bars of different symbols in any order.
    fn pass(&mut self, at: Timestamp, out: &mut Vec<Output>) {
        if !self.clock.measured() {
            return;
        }
        let grace = GRACE_WALL_SECONDS * (self.clock.speed() - 1.0).max(0.0);
        let grace = SignedDuration::from_secs(GRACE_SECONDS)
            + SignedDuration::try_from_secs_f64(grace).unwrap_or_default();
        for watch in self.watches.values_mut().filter(|watch| watch.held.is_none()) {
            out.extend(watch.bars.pass(at, grace).map(Output::Bar));
        }
    }

    /// A wall clock that was set back: what was to be told or looked at is not put off until it is there again.
    pub(super) fn begin_pace(&mut self, now: Timestamp) {
        self.looked_at = None;
        self.told_at = None;
        self.alerts.clear();
        for watch in self.watches.values_mut() {
            watch.quotes.begin_pace(now);
        }
    }

    /// Looks at all symbols: what may be told by now, what went stale.
    pub(super) fn look(&mut self, now: Timestamp, wake: bool, out: &mut Vec<Output>) {
        let look = SignedDuration::from_millis(LOOK_MS);
        let due = self.looked_at.is_none_or(|at| now >= at + look);
        if due {
            self.looked_at = Some(now);
            let (at, speed) = (self.clock.at(now), self.clock.speed());
            for watch in self.watches.values_mut() {
                watch.quotes.age(now, at, speed, self.plan.stale_after);
                out.extend(watch.bars.shown().map(Output::Bar));
            }
        }
        if due || wake {
            self.tell_quotes(now, out);
        }
    }

    fn tell_quotes(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let mut leaps = Vec::new();
        for (symbol, watch) in &mut self.watches {
            let leapt = watch.quotes.leapt().is_some();
            let told = watch.quotes.told(now, self.plan.quote_interval);
            out.extend(told.map(Output::Quote));
            let leap = watch.quotes.leapt().filter(|_| !leapt);
            leaps.extend(leap.map(|leap| (*symbol, leap)));
        }
        for (symbol, leap) in leaps {
            self.tell_leap(now, symbol, leap, out);
        }
    }

    fn tell_leap(
        &mut self,
        now: Timestamp,
        symbol: Symbol,
        (from, to): (Price, Price),
        out: &mut Vec<Output>,
    ) {
        let text = format!(
            "the price of {symbol} went from {from} to {to} at once: it is not traded on before it has been there for {LEAP_SECONDS} s"
        );
        self.alert(now, "price-leap", Some(symbol), Level::Warning, text, out);
    }

    /// Tells the session when it changed, and now and then though it did not.
    pub(super) fn tell_session(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        if self.clock.seen().is_none() {
            return;
        }
        let at = self.clock.at(now);
        let (phase, next_change, source) = match &self.hours {
            Some((symbol, hours)) => (
                hours.phase(at),
                hours.next_change(at),
                format!("broker hours of {symbol}"),
            ),
            None => (
                Phase::Closed,
                None,
                "the broker's hours are not known yet".to_owned(),
            ),
        };
        let speed = self.clock.speed();
        let same = self.told.as_ref().is_some_and(|told| {
            told.phase == phase
                && told.next_change == next_change
                && told.connected == self.connected
                && told.source == source
                && (told.speed - speed).abs() <= SPEED_CHANGE * speed.abs()
        });
        let due = self
            .told_at
            .is_none_or(|told| now >= told + SignedDuration::from_secs(SESSION_SECONDS));
        if same && !due {
            return;
        }
        let id = Id::derive(&[
            "session",
            &at.to_string(),
            &format!("{phase:?} {next_change:?} {} {speed}", self.connected),
            &source,
        ]);
        let session = Session {
            id,
            at,
            phase,
            next_change,
            source,
            speed,
            connected: self.connected,
        };
        self.told = Some(session.clone());
        self.told_at = Some(now);
        out.push(Output::Session(session));
    }

    /// Says of all quotes whether what comes may be older than the clock says.
    fn judge_clock(&mut self, now: Timestamp, out: &mut Vec<Output>) {
        let doubt = if self.clock.is_late(now) {
            Some((
                "data-late",
                format!(
                    "the broker's answers come more than {DOUBT_SECONDS} s late, and so may its prices: quotes are not traded on until it answers in time"
                ),
            ))
        } else {
            self.clock.ahead(now).map(|ahead| {
                let seconds = ahead.as_secs();
                ("clock-ahead", format!("the market clock is {seconds} s ahead of the broker's and stands still: quotes are not traded on until that has caught up"))
            })
        };
        if doubt.is_some() == self.doubt.is_some() {
            return;
        }
        for watch in self.watches.values_mut() {
            watch.quotes.doubt(now, doubt.is_some());
        }
        self.doubt = doubt.as_ref().map(|(_, text)| text.clone());
        if let Some((kind, text)) = doubt {
            self.alert(now, kind, None, Level::Warning, text, out);
        }
    }

    fn refuse(
        &mut self,
        now: Timestamp,
        kind: &'static str,
        symbol: Symbol,
        text: String,
        out: &mut Vec<Output>,
    ) {
        out.push(Output::Refused {
            symbol,
            text: text.clone(),
        });
        self.alert(now, kind, Some(symbol), Level::Warning, text, out);
    }

    /// Tells a person, but not the same about the same symbol again and again.
    fn alert(
        &mut self,
        now: Timestamp,
        kind: &'static str,
        symbol: Option<Symbol>,
        level: Level,
        text: String,
        out: &mut Vec<Output>,
    ) {
        let last = self.alerts.get(&(kind, symbol));
        if last.is_some_and(|last| now < *last + SignedDuration::from_secs(ALERT_SECONDS_MIN)) {
            return;
        }
        self.alerts.insert((kind, symbol), now);
        out.push(Output::Alert { kind, level, text });
    }
}

/// A market time as people read it.
fn clock_text(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}
