//! From the exchange's trades to quotes, bars and signals: the engine's own market data and signal policy. In the place
//! of the model's answer stands chance, which has many more opinions.

use std::collections::BTreeMap;

use engine::market::bars::RawBar;
use engine::market::hours::Hours;
use engine::market::quotes::{Field, Tick as RawTick};
use engine::market::{Input, Market, Output, Past, Plan};
use engine::signal::{Model, Signals, weigh};
use engine::venue::Input as Deed;
use engine::venue::bars::{Bar as VenueBar, BarSize as VenueSize};
use engine::venue::market::Tick;
use engine::venue::noise;
use jiff::SignedDuration;
use protocol::market::{Bar, Quote, Session};
use protocol::settings::Settings;
use protocol::units::approximate;
use protocol::{Hash, Id, Symbol, Timestamp};

use crate::world::{CALM_MS, Ms, Published, SILENT_MS, SYMBOLS, TROUBLE_MS, World, symbol};

/// From here on nothing may follow from a price any more.
const AT_REST_MS: Ms = TROUBLE_MS + CALM_MS - 20_000;
/// One in so many seeds has trades told at ten times their price or a tenth of it, each in so many.
const ERRING_SEEDS: u64 = 5;
const ERRING_TICKS: u64 = 200;
/// A price that is traded on is not this many times the true one, nor this part of it.
const ERROR: f64 = 2.0;
/// Seconds of history that warm features up.
const WARM_SECONDS: i64 = 180;

pub struct Feed {
    market: Market,
    signals: Signals,
    hours: Hours,
    pub session: Option<(Session, Timestamp)>,
    /// What the exchange did since the last look.
    pub ticks: Vec<Tick>,
    pub bars: Vec<(Symbol, VenueBar)>,
    /// The latest of each stock.
    quotes: BTreeMap<Symbol, Quote>,
    /// The latest true prices.
    prices: BTreeMap<Symbol, f64>,
    /// Bars of five seconds that the broker can tell of.
    history: BTreeMap<Symbol, Vec<RawBar>>,
    linked: bool,
    /// False while the data link is down.
    pub up: bool,
    /// True while the broker sends data that is late on purpose.
    pub delayed: bool,
}

fn plan(settings: &Settings) -> Plan {
    Plan {
        watchlist: settings.market.watchlist.clone(),
        bar_size: settings.market.bar_size,
        quote_interval: SignedDuration::from_millis(i64::from(settings.market.quote_interval_ms)),
        stale_after: SignedDuration::from_secs(i64::from(settings.market.stale_after_seconds)),
    }
}

impl Feed {
    pub fn new(settings: &Settings) -> Self {
        let span = |from: &str, to: &str| vec![format!("20261123:{from}-20261123:{to}")];
        Self {
            market: Market::new(plan(settings)),
            signals: Signals::new(settings.market.bar_size),
            hours: Hours::parse("US/Eastern", &span("0000", "2000"), &span("0000", "1600")).unwrap(),
            session: None,
            ticks: Vec::new(),
            bars: Vec::new(),
            quotes: BTreeMap::new(),
            prices: BTreeMap::new(),
            history: BTreeMap::new(),
            linked: false,
            up: true,
            delayed: false,
        }
    }
}

fn raw(bar: &VenueBar) -> RawBar {
    RawBar {
        start: bar.start,
        open: approximate(bar.open),
        high: approximate(bar.high),
        low: approximate(bar.low),
        close: approximate(bar.close),
        volume: approximate(bar.volume),
    }
}

impl World {
    /// The exchange's clock moves on, and market data tells what it sees.
    pub fn market_moves(&mut self) {
        self.exchange(Deed::Time);
        if self.now > SILENT_MS {
            if self.now.is_multiple_of(1_000) && self.now < AT_REST_MS {
                self.tell_prices_again();
            }
            return;
        }
        let (ticks, bars) = (
            std::mem::take(&mut self.feed.ticks),
            std::mem::take(&mut self.feed.bars),
        );
        if self.now == 0 {
            self.remember_the_past();
        }
        for (symbol, bar) in &bars {
            self.feed.history.entry(*symbol).or_default().push(raw(bar));
        }
        if !self.feed.up || !self.broker.gateway {
            if std::mem::take(&mut self.feed.linked) {
                self.market_hears(Input::Unlinked {
                    reason: "the link broke".into(),
                });
            }
            return;
        }
        if !std::mem::replace(&mut self.feed.linked, true) {
            self.link();
        }
        for tick in ticks {
            let (bid, ask, last) = (
                approximate(tick.bid),
                approximate(tick.ask),
                approximate(tick.price),
            );
            self.feed.prices.insert(tick.symbol, last);
            let last = last * self.error(tick.symbol);
            for (field, price, size) in [
                (Field::Bid, bid, tick.bid_size),
                (Field::Ask, ask, tick.ask_size),
                (Field::Last, last, tick.size),
            ] {
                let (size, delayed) = (Some(approximate(size)), self.feed.delayed);
                let tick_of = RawTick::Price {
                    field,
                    price,
                    size,
                    delayed,
                };
                self.market_hears(Input::Tick {
                    symbol: tick.symbol,
                    tick: tick_of,
                });
            }
        }
        for (symbol, bar) in bars {
            self.market_hears(Input::Bar {
                symbol,
                bar: raw(&bar),
            });
        }
        if self.now.is_multiple_of(1_000) {
            self.market_tells_its_time();
        }
        self.market_hears(Input::Wake);
    }

    /// By how much the price of a trade is told wrongly: seldom, and in some seeds alone.
    fn error(&mut self, symbol: Symbol) -> f64 {
        let chance = noise::at(noise::seed_of(self.seed, symbol.as_str()), -(self.now as i64));
        if !self.seed.is_multiple_of(ERRING_SEEDS) || !chance.is_multiple_of(ERRING_TICKS) {
            return 1.0;
        }
        self.count("erroneous price");
        if chance.is_multiple_of(2 * ERRING_TICKS) {
            10.0
        } else {
            0.1
        }
    }

    /// The market is at rest: the same prices again, so that who begins only now knows them too.
    fn tell_prices_again(&mut self) {
        let at = self.market_time();
        for quote in self.feed.quotes.clone().into_values() {
            let id = Id::derive(&["again", quote.symbol.as_str(), &at.to_string()]);
            self.publish(&Published::Quote(Quote { id, at, ..quote }));
        }
    }

    fn link(&mut self) {
        let now = self.market_time();
        self.market_hears(Input::Linked);
        self.market_tells_its_time();
        let hours = self.feed.hours.clone();
        self.market_hears(Input::Hours {
            symbol: symbol(0),
            hours,
        });
        for symbol in (0..SYMBOLS.len()).map(symbol) {
            let bars = self.feed.history.get(&symbol).cloned().unwrap_or_default();
            let past = Past {
                asked_at: now,
                pieces: bars.clone(),
                bars,
                missing: None,
            };
            self.market_hears(Input::Past { symbol, past });
        }
    }

    fn remember_the_past(&mut self) {
        let (now, size) = (self.market_time(), VenueSize::Seconds(5));
        let from = now - SignedDuration::from_secs(WARM_SECONDS);
        for symbol in (0..SYMBOLS.len()).map(symbol) {
            let bars = self.broker.venue.market().bars(symbol, from, now, size);
            self.feed.history.insert(symbol, bars.iter().map(raw).collect());
        }
    }

    fn market_tells_its_time(&mut self) {
        let now = self.market_time();
        self.market_hears(Input::ServerTime { asked: now, at: now });
    }

    fn market_hears(&mut self, input: Input) {
        let now = self.market_time();
        for output in self.feed.market.step(now, input) {
            match output {
                Output::Quote(quote) => {
                    self.judge_price(&quote);
                    self.feed.quotes.insert(quote.symbol, quote.clone());
                    self.publish(&Published::Quote(quote));
                }
                Output::Session(session) => {
                    self.feed.session = Some((session.clone(), now));
                    self.publish(&Published::Session(session));
                }
                Output::Bar(bar) => self.weigh_bar(&bar),
                Output::Refused { .. } | Output::Alert { .. } => {}
            }
        }
    }

    /// Nothing may be decided on a price that never was.
    fn judge_price(&mut self, quote: &Quote) {
        let told = quote.mark().filter(|_| quote.tradable).map(approximate);
        if let (Some(told), Some(price)) = (told, self.feed.prices.get(&quote.symbol))
            && !(price / ERROR..price * ERROR).contains(&told)
        {
            let text = format!("{} may be traded on at {told} and is at {price}", quote.symbol);
            self.evidence.discord.push(text);
        }
    }

    fn weigh_bar(&mut self, bar: &Bar) {
        let Some(question) = self.feed.signals.observe(bar, true) else {
            return;
        };
        // An opinion lasts for about two bars, so that positions are held for a while.
        let turn = bar.start.as_second() / 10;
        let hash = noise::at(noise::seed_of(self.seed, bar.symbol.as_str()), turn);
        let answer: [f32; 3] = match hash % 5 {
            0 | 1 => [0.1, 0.2, 0.7],
            2 | 3 => [0.7, 0.2, 0.1],
            _ => [0.2, 0.6, 0.2],
        };
        let model = Model {
            name: "chance".into(),
            hash: Hash::zero(),
        };
        if let Ok(signal) = weigh(&question, &model, &answer) {
            self.count("signal");
            self.publish(&Published::Signal(signal));
        }
    }

    /// The signal or the market data stage ends and begins again, with nothing but history.
    pub fn restart_feed(&mut self) {
        self.feed.market = Market::new(plan(&self.settings));
        self.feed.signals = Signals::new(self.settings.market.bar_size);
        self.feed.linked = false;
    }
}
