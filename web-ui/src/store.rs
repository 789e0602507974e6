//! All that the page knows, in signals small enough that one change redraws one cell.
//!
//! Money comes from nowhere but [`Portfolio`], the fold that the stages run as well.

use std::collections::{BTreeMap, VecDeque};

use engine::equity::Curve;
use engine::portfolio::{Portfolio, Position};
use leptos::prelude::*;
use protocol::decision::{Alert, Check, ModelEvent, Refusal, Signal as Opinion};
use protocol::feed::EquityPoint;
use protocol::ledger::Mode;
use protocol::market::{BarSize, Quote, Session};
use protocol::operator::{Health, Reply, StateMark};
use protocol::settings::{Exits, Risk};
use protocol::{Id, Money, Symbol, Timestamp};

use crate::account::{Totals, Worth, realised_today, totals, worth};
use crate::clock::{MarketClock, same_day, wall_ms};
use crate::format::price_places;
use crate::toast::Toast;

/// Complete bars kept for a symbol's sparkline.
pub const CLOSES_MAX: usize = 60;
/// Newest refusals, alerts, model events and ledger lines kept.
pub const NEWS_MAX: usize = 200;
/// A quote older than this counts as stale on the page, wall seconds.
pub const QUOTE_AGE_MAX: f64 = 60.0;

/// How the line to the bridge is.
#[derive(Debug, Clone, PartialEq)]
pub enum Link {
    /// Nothing has come yet.
    Opening,
    /// Frames come.
    Open,
    /// It broke at this wall time, milliseconds, and is tried again.
    Lost(f64),
    /// The bridge does not let us in; a sentence says what to do.
    Shut(String),
}

/// What a snapshot says once.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Name of the market.
    pub market: String,
    /// Play money or real money.
    pub mode: Mode,
    /// Length of the bars that decide.
    pub bar_size: BarSize,
    /// Limits.
    pub risk: Risk,
    /// Exits.
    pub exits: Exits,
}

/// One symbol's market. The signals live as long as the page.
#[derive(Debug, Clone, Copy)]
pub struct Ticker {
    /// Which.
    pub symbol: Symbol,
    /// Newest quote.
    pub quote: RwSignal<Option<Quote>>,
    /// Closes of the newest bars, the last one still moving.
    pub closes: RwSignal<Closes>,
    /// Newest opinion.
    pub opinion: RwSignal<Option<Opinion>>,
}

/// Closes of bars, oldest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Closes {
    /// Start of the newest bar, whose close may still move.
    pub newest: Option<Timestamp>,
    /// The closes.
    pub values: VecDeque<f64>,
}

/// A command that nobody has answered yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Pending {
    /// Our id for it.
    pub id: Id,
    /// Which.
    pub verb: String,
    /// Wall clock, milliseconds.
    pub asked_ms: f64,
}

/// One line of the ledger as it grew under our eyes.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its place.
    pub sequence: u64,
    /// The record's instant.
    pub at: Timestamp,
    /// What kind of record.
    pub kind: &'static str,
    /// What it says.
    pub text: String,
    /// Its hash.
    pub hash: String,
}

/// All that the page knows.
#[derive(Debug, Clone, Copy)]
pub struct Store {
    /// The line to the bridge.
    pub link: RwSignal<Link>,
    /// What the snapshot said once.
    pub facts: RwSignal<Option<Facts>>,
    /// The fold.
    pub portfolio: RwSignal<Portfolio>,
    /// Symbols with a ticker, in the operator's order, then those that are only held.
    pub symbols: RwSignal<Vec<Symbol>>,
    /// The watchlist.
    pub watchlist: RwSignal<Vec<Symbol>>,
    tickers: StoredValue<BTreeMap<Symbol, Ticker>>,
    owner: StoredValue<Owner>,
    /// The session.
    pub session: RwSignal<Option<Session>>,
    /// The equity curve.
    pub points: RwSignal<Vec<EquityPoint>>,
    /// Newest last.
    pub refusals: RwSignal<VecDeque<Refusal>>,
    /// Refusals by check: how many, and the newest.
    pub reasons: RwSignal<BTreeMap<Check, (u64, Refusal)>>,
    /// Newest last.
    pub alerts: RwSignal<VecDeque<Alert>>,
    /// Newest last.
    pub models: RwSignal<VecDeque<ModelEvent>>,
    /// The newest heartbeat of each stage and the wall time when it came, milliseconds.
    pub health: RwSignal<BTreeMap<String, (Health, f64)>>,
    /// Newest last.
    pub lines: RwSignal<VecDeque<Line>>,
    /// Where our own fold stands.
    pub mark: RwSignal<Option<StateMark>>,
    /// Why our fold was thrown away, if it ever was.
    pub mismatch: RwSignal<Option<String>>,
    /// The command under way.
    pub pending: RwSignal<Option<Pending>>,
    /// The last answer.
    pub reply: RwSignal<Option<Reply>>,
    /// When a fill was last told as a toast, wall milliseconds.
    pub fill_told: StoredValue<f64>,
    /// Lines at the bottom right.
    pub toasts: RwSignal<Vec<Toast>>,
    /// Wall clock of the last half second, milliseconds: what ages are told from.
    pub beat: RwSignal<f64>,
    /// The market's clock.
    pub clock: StoredValue<MarketClock>,
    /// Everything added up.
    pub totals: Memo<Totals>,
    /// Cash and positions at their mark, dollars.
    pub equity: Memo<Money>,
    /// Gained today by what was closed, after commissions, dollars.
    pub realised: Memo<Money>,
    /// Gained today in all, dollars: what was closed and what is open.
    pub day: Memo<Money>,
    /// Makes the curve's next point.
    pub curve: StoredValue<Curve>,
}

impl Store {
    /// An empty store, owned by whoever calls.
    #[must_use]
    pub fn new() -> Self {
        let owner = Owner::current().unwrap_or_default();
        let portfolio = RwSignal::new(Portfolio::default());
        let tickers = StoredValue::new(BTreeMap::<Symbol, Ticker>::new());
        let facts = RwSignal::new(None::<Facts>);
        let symbols = RwSignal::new(Vec::new());
        let clock = StoredValue::new(MarketClock::new(Timestamp::UNIX_EPOCH, wall_ms(), 1.0));
        let beat = RwSignal::new(wall_ms());
        let totals = Memo::new(move |_| {
            symbols.track();
            let exits = facts.with(|facts| facts.as_ref().map(|facts| facts.exits.clone()));
            portfolio.with(|portfolio| {
                totals(portfolio, exits.as_ref(), |position| {
                    worth_now(tickers, clock, position)
                })
            })
        });
        let equity = Memo::new(move |_| {
            portfolio.with(|portfolio| portfolio.cash) + totals.with(|totals| totals.value)
        });
        let realised = Memo::new(move |_| {
            let now = clock.with_value(|clock| clock.now(beat.get()));
            portfolio.with(|portfolio| realised_today(portfolio, now))
        });
        let day = Memo::new(move |_| realised.get() + totals.with(|totals| totals.day));
        Self {
            link: RwSignal::new(Link::Opening),
            facts,
            portfolio,
            symbols,
            watchlist: RwSignal::new(Vec::new()),
            tickers,
            owner: StoredValue::new(owner),
            session: RwSignal::new(None),
            points: RwSignal::new(Vec::new()),
            refusals: RwSignal::new(VecDeque::new()),
            reasons: RwSignal::new(BTreeMap::new()),
            alerts: RwSignal::new(VecDeque::new()),
            models: RwSignal::new(VecDeque::new()),
            health: RwSignal::new(BTreeMap::new()),
            lines: RwSignal::new(VecDeque::new()),
            mark: RwSignal::new(None),
            mismatch: RwSignal::new(None),
            pending: RwSignal::new(None),
            reply: RwSignal::new(None),
            fill_told: StoredValue::new(0.0),
            toasts: RwSignal::new(Vec::new()),
            beat,
            clock,
            totals,
            equity,
            realised,
            day,
            curve: StoredValue::new(Curve::default()),
        }
    }

    /// The ticker of a symbol, made when it is new.
    pub fn ticker(&self, symbol: Symbol) -> Ticker {
        if let Some(found) = self.tickers.with_value(|tickers| tickers.get(&symbol).copied()) {
            return found;
        }
        // The page's own owner keeps the signals: a row that goes must not take them along.
        let made = self.owner.get_value().with(|| Ticker {
            symbol,
            quote: RwSignal::new(None),
            closes: RwSignal::new(Closes::default()),
            opinion: RwSignal::new(None),
        });
        self.tickers.update_value(|tickers| {
            tickers.insert(symbol, made);
        });
        self.symbols.update(|symbols| symbols.push(symbol));
        made
    }

    /// The position in a symbol, if shares are held. Changes when that position does.
    pub fn position(&self, symbol: Symbol) -> Memo<Option<Position>> {
        let portfolio = self.portfolio;
        Memo::new(move |_| {
            portfolio.with(|p| {
                p.positions
                    .get(&symbol)
                    .filter(|held| !held.quantity.is_zero())
                    .cloned()
            })
        })
    }

    /// What the position in a symbol is worth now.
    pub fn worth(&self, symbol: Symbol) -> Memo<Option<Worth>> {
        let (tickers, clock, position) = (self.tickers, self.clock, self.position(symbol));
        Memo::new(move |_| {
            position.with(|held| held.as_ref().and_then(|held| worth_now(tickers, clock, held)))
        })
    }

    /// Whether any of the symbols trades below a dollar, so that its column mixes two and four decimals.
    #[must_use]
    pub fn mixes_decimals(&self, symbols: &[Symbol]) -> bool {
        symbols.iter().any(|symbol| {
            let mark = self
                .ticker(*symbol)
                .quote
                .with(|quote| quote.as_ref().and_then(Quote::mark));
            mark.is_some_and(|price| price_places(price) > 2)
        })
    }

    /// The market's clock at the last beat. Tracks the beat.
    #[must_use]
    pub fn market_now(&self) -> Timestamp {
        let beat = self.beat.get();
        self.clock.with_value(|clock| clock.now(beat))
    }

    /// Wall seconds since an instant of the market. Tracks the beat.
    #[must_use]
    pub fn market_age(&self, at: Timestamp) -> f64 {
        let beat = self.beat.get();
        self.clock.with_value(|clock| clock.wall_age(at, beat))
    }

    /// Wall seconds since a wall instant. Tracks the beat.
    #[must_use]
    pub fn wall_age(&self, at: Timestamp) -> f64 {
        (self.beat.get() / 1_000.0 - at.as_millisecond() as f64 / 1_000.0).max(0.0)
    }

    /// Whether the page plays a recorded market.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        self.facts.with(|facts| {
            facts
                .as_ref()
                .is_some_and(|facts| facts.market.starts_with("replay"))
        })
    }

    /// The same, without following its changes.
    #[must_use]
    pub fn is_live_untracked(&self) -> bool {
        untrack(|| self.is_live())
    }

    /// Whether real money is at stake.
    #[must_use]
    pub fn is_live(&self) -> bool {
        self.facts
            .with(|facts| facts.as_ref().is_some_and(|facts| facts.mode == Mode::Live))
    }
}

impl Default for Store {
    fn default() -> Self {
        Self::new()
    }
}

fn worth_now(
    tickers: StoredValue<BTreeMap<Symbol, Ticker>>,
    clock: StoredValue<MarketClock>,
    position: &Position,
) -> Option<Worth> {
    let ticker = tickers.with_value(|tickers| tickers.get(&position.symbol).copied())?;
    let now = clock.with_value(|clock| clock.now(wall_ms()));
    let entered_today = position.opened_at.is_some_and(|opened| same_day(opened, now));
    ticker
        .quote
        .with(|quote| worth(position, quote.as_ref()?, entered_today))
}
