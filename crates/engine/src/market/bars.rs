//! Bars of the configured length, built without loss from the broker's five-second bars.
//!
//! A bar is complete when its last five seconds came, when a bar of a later interval came, or when the market
//! clock has passed its end by a grace. Intervals without a trade make no bar.

use jiff::{SignedDuration, Timestamp};
use protocol::market::{Bar, BarSize};
use protocol::units::{exact, is_price};
use protocol::{Price, Quantity, Symbol};

/// Length of the broker's real-time bars.
pub const FIVE_SECONDS: SignedDuration = SignedDuration::from_secs(5);

/// A bar as the broker sends it: floats that may be anything.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RawBar {
    /// Start of its interval.
    pub start: Timestamp,
    /// First price.
    pub open: f64,
    /// Highest price.
    pub high: f64,
    /// Lowest price.
    pub low: f64,
    /// Last price.
    pub close: f64,
    /// Shares traded.
    pub volume: f64,
}

/// A bar whose numbers are exact and agree with each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Start of its interval.
    pub start: Timestamp,
    open: Price,
    high: Price,
    low: Price,
    /// Its last price.
    pub close: Price,
    volume: Quantity,
}

impl RawBar {
    /// The exact bar that the floats mean.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn check(&self) -> Result<Piece, String> {
        let price = |name: &str, value: f64| match exact(value) {
            Some(price) if is_price(price) => Ok(price),
            _ => Err(format!("its {name} is {value}")),
        };
        let piece = Piece {
            start: self.start,
            open: price("open", self.open)?,
            high: price("high", self.high)?,
            low: price("low", self.low)?,
            close: price("close", self.close)?,
            volume: exact(self.volume)
                .filter(|volume| *volume >= Quantity::ZERO)
                .ok_or_else(|| format!("its volume is {}", self.volume))?,
        };
        let (least, most) = (piece.open.min(piece.close), piece.open.max(piece.close));
        if piece.low > least || piece.high < most {
            return Err(format!(
                "open {}, high {}, low {} and close {} contradict each other",
                piece.open, piece.high, piece.low, piece.close
            ));
        }
        Ok(piece)
    }
}

/// What becomes of a piece of a bar.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// It was taken in; these bars became complete, oldest first.
    In(Vec<Bar>),
    /// It repeats what is known already.
    Repeated,
    /// Its interval is over and told: its trades are missing in that bar.
    Late,
}

/// Builds the bars of one symbol.
#[derive(Debug, Clone)]
pub struct Builder {
    symbol: Symbol,
    size: BarSize,
    running: Option<Bar>,
    /// Whether a trade came since the running bar was last shown.
    changed: bool,
    /// Start of the newest piece taken in.
    newest: Option<Timestamp>,
    /// End of the newest complete bar, which no later one may overlap.
    told: Option<Timestamp>,
    /// Market time from which on data was lost, until the link came back.
    lost_from: Option<Timestamp>,
    lost_to: Option<Timestamp>,
}

impl Builder {
    /// A builder that knows nothing yet.
    #[must_use]
    pub fn new(symbol: Symbol, size: BarSize) -> Self {
        Self {
            symbol,
            size,
            running: None,
            changed: false,
            newest: None,
            told: None,
            lost_from: None,
            lost_to: None,
        }
    }

    /// Takes in five seconds of trades.
    pub fn take(&mut self, piece: &Piece) -> Taken {
        let start = self.size.start_of(piece.start);
        if self.newest.is_some_and(|newest| piece.start <= newest) {
            return Taken::Repeated;
        }
        if self.told.is_some_and(|told| start < told) {
            return Taken::Late;
        }
        let mut done = Vec::new();
        if self.running.as_ref().is_some_and(|bar| bar.start < start) {
            done.extend(self.complete());
        }
        self.newest = Some(piece.start);
        // The broker also sends five seconds in which nothing was traded; they make no bar.
        if piece.volume > Quantity::ZERO {
            self.absorb(start, piece);
        }
        if piece.start + FIVE_SECONDS >= self.size.end_of(start) {
            done.extend(self.complete());
        }
        Taken::In(done)
    }

    /// Completes the running bar when the market clock is past its end by the grace.
    pub fn pass(&mut self, seen: Timestamp, grace: SignedDuration) -> Option<Bar> {
        let running = self.running.as_ref()?;
        if seen < self.size.end_of(running.start) + grace {
            None
        } else {
            self.complete()
        }
    }

    /// Adopts a complete bar from history, unless it is one that is known already.
    pub fn adopt(&mut self, piece: &Piece) -> Option<Bar> {
        let start = self.size.start_of(piece.start);
        if piece.volume <= Quantity::ZERO || self.told.is_some_and(|told| start < told) {
            return None;
        }
        let mut bar = self.bar(start, piece);
        self.told = Some(self.size.end_of(start));
        bar.complete = true;
        bar.warm_up = true;
        bar.at = self.size.end_of(start);
        Some(bar)
    }

    /// Data is being lost from this market time on.
    pub fn lose(&mut self, at: Timestamp) {
        if self.lost_to.take().is_some() {
            self.lost_from = None;
        }
        self.lost_from.get_or_insert(at);
        if let Some(bar) = &mut self.running {
            bar.gap = true;
        }
    }

    /// Data comes again from this market time on.
    pub fn resume(&mut self, at: Timestamp) {
        if self.lost_from.is_some() && self.lost_to.is_none() {
            self.lost_to = Some(at);
        }
    }

    /// Data comes again over a new link. What was begun before is void: history tells it anew.
    pub fn restart(&mut self, at: Timestamp) {
        self.resume(at);
        self.running = None;
        self.newest = None;
    }

    /// Everything that ended by this market time is known: pieces of it that still come are repetitions.
    pub fn know(&mut self, at: Timestamp) {
        let newest = BarSize::FIVE_SECONDS.start_of(at) - FIVE_SECONDS;
        self.newest = Some(self.newest.map_or(newest, |known| known.max(newest)));
    }

    /// Marks the running bar: a part of it is missing.
    pub fn mark_gap(&mut self) {
        if let Some(bar) = &mut self.running {
            bar.gap = true;
        }
    }

    /// The running bar, if a trade came since this was last asked.
    pub fn shown(&mut self) -> Option<Bar> {
        std::mem::take(&mut self.changed)
            .then(|| self.running.clone())
            .flatten()
    }

    /// End of the newest complete bar.
    #[must_use]
    pub fn told(&self) -> Option<Timestamp> {
        self.told
    }

    fn absorb(&mut self, start: Timestamp, piece: &Piece) {
        self.changed = true;
        let at = piece.start + FIVE_SECONDS;
        if let Some(bar) = &mut self.running {
            bar.high = bar.high.max(piece.high);
            bar.low = bar.low.min(piece.low);
            bar.close = piece.close;
            bar.volume += piece.volume;
            bar.at = at;
            return;
        }
        let mut bar = self.bar(start, piece);
        bar.at = at;
        bar.gap = self.overlaps_loss(start);
        self.running = Some(bar);
    }

    fn overlaps_loss(&self, start: Timestamp) -> bool {
        let Some(from) = self.lost_from else { return false };
        from < self.size.end_of(start) && self.lost_to.is_none_or(|to| start < to)
    }

    fn bar(&self, start: Timestamp, piece: &Piece) -> Bar {
        Bar {
            id: Bar::id_of(self.symbol, self.size, start),
            at: start,
            symbol: self.symbol,
            size: self.size,
            start,
            open: piece.open,
            high: piece.high,
            low: piece.low,
            close: piece.close,
            volume: piece.volume,
            complete: false,
            warm_up: false,
            gap: false,
        }
    }

    fn complete(&mut self) -> Option<Bar> {
        let mut bar = self.running.take()?;
        let end = self.size.end_of(bar.start);
        bar.at = end;
        bar.complete = true;
        self.told = Some(end);
        self.changed = false;
        Some(bar)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(size: &str) -> Builder {
        Builder::new("SPY".parse().unwrap(), size.parse().unwrap())
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_381_152_600 + second).unwrap()
    }

    fn piece(second: i64, prices: [f64; 4], volume: f64) -> Piece {
        let [open, high, low, close] = prices;
        RawBar {
            start: at(second),
            open,
            high,
            low,
            close,
            volume,
        }
        .check()
        .unwrap()
    }

    fn bars(taken: Taken) -> Vec<Bar> {
        match taken {
            Taken::In(bars) => bars,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_minute_is_the_sum_of_its_five_seconds() {
        let mut builder = builder("1m");
        assert!(bars(builder.take(&piece(0, [10.1, 10.3, 10.1, 10.2], 100.0))).is_empty());
        assert!(bars(builder.take(&piece(20, [10.2, 10.2, 9.9, 10.0], 50.5))).is_empty());
        let done = bars(builder.take(&piece(55, [10.0, 10.1, 10.0, 10.05], 1.0)));
        let bar = &done[0];
        let texts = [bar.open, bar.high, bar.low, bar.close, bar.volume].map(|value| value.to_string());
        assert_eq!(texts, ["10.1", "10.3", "9.9", "10.05", "151.5"]);
        assert!(bar.complete && !bar.gap && !bar.warm_up);
        assert_eq!((bar.start, bar.at), (at(0), at(60)));
    }

    #[test]
    fn a_bar_ends_with_the_next_or_with_the_clock() {
        let mut builder = builder("1m");
        builder.take(&piece(0, [10.0; 4], 1.0));
        let done = bars(builder.take(&piece(65, [11.0; 4], 1.0)));
        assert_eq!((done.len(), done[0].start), (1, at(0)));
        let grace = SignedDuration::from_secs(3);
        assert_eq!(builder.pass(at(122), grace), None);
        assert_eq!(builder.pass(at(123), grace).unwrap().start, at(60));
        assert_eq!(builder.take(&piece(115, [11.0; 4], 1.0)), Taken::Late);
        assert_eq!(builder.take(&piece(65, [11.0; 4], 1.0)), Taken::Repeated);
    }

    #[test]
    fn five_seconds_without_trades_make_no_bar_but_end_one() {
        let mut builder = builder("1m");
        assert!(bars(builder.take(&piece(55, [10.0; 4], 0.0))).is_empty());
        builder.take(&piece(60, [10.0; 4], 5.0));
        assert_eq!(
            bars(builder.take(&piece(115, [99.0; 4], 0.0)))[0]
                .close
                .to_string(),
            "10"
        );
    }

    #[test]
    fn history_joins_without_overlap() {
        let mut builder = builder("1m");
        assert!(builder.adopt(&piece(0, [10.0; 4], 5.0)).unwrap().warm_up);
        assert_eq!(builder.adopt(&piece(0, [10.0; 4], 5.0)), None);
        assert_eq!(builder.take(&piece(30, [10.0; 4], 5.0)), Taken::Late);
        assert!(bars(builder.take(&piece(60, [10.0; 4], 5.0))).is_empty());
    }

    #[test]
    fn a_loss_marks_the_bars_it_touches() {
        let mut builder = builder("1m");
        builder.take(&piece(0, [10.0; 4], 5.0));
        builder.lose(at(10));
        assert!(builder.pass(at(70), SignedDuration::ZERO).unwrap().gap);
        builder.restart(at(90));
        builder.take(&piece(95, [10.0; 4], 5.0));
        assert!(builder.pass(at(120), SignedDuration::ZERO).unwrap().gap);
        builder.take(&piece(125, [10.0; 4], 5.0));
        assert!(!builder.pass(at(180), SignedDuration::ZERO).unwrap().gap);
    }

    #[test]
    fn numbers_that_can_not_be_are_refused() {
        let good = RawBar {
            start: at(0),
            open: 10.0,
            high: 11.0,
            low: 9.0,
            close: 10.0,
            volume: 0.0,
        };
        assert!(good.check().is_ok());
        for bad in [
            RawBar {
                open: f64::NAN,
                ..good
            },
            RawBar {
                high: f64::INFINITY,
                ..good
            },
            RawBar { low: 0.0, ..good },
            RawBar { close: -1.0, ..good },
            RawBar { volume: -5.0, ..good },
            RawBar {
                volume: f64::MAX,
                ..good
            },
            RawBar { high: 9.5, ..good },
            RawBar { low: 10.5, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }
}
