//! The world of the simulation: one virtual clock, one queue of what is to happen, one source of chance. Nothing comes
//! from the machine that it runs on, so a seed is a story that can be told again.

use std::collections::BTreeMap;

use engine::desk::Memory;
use engine::reconcile::Pass;
use engine::trader::Ask;
use jiff::SignedDuration;
use protocol::market::{Quote, Session};
use protocol::settings::Settings;
use protocol::{Id, Symbol, Timestamp};

use crate::broker::{Broker, Said, Told};
use crate::chance::Chance;
use crate::evidence::Evidence;
use crate::faults::{Plan, Trouble, Variant};
use crate::feed::Feed;
use crate::folds::Fold;
use crate::ledger::{Append, Ledger, Outcome};
use crate::process::{Host, Input};
use crate::window::Window;

/// Virtual milliseconds since the world began.
pub type Ms = u64;

/// How long things may go wrong.
pub const TROUBLE_MS: Ms = 90_000;
/// How long the world runs on afterwards, before it is judged.
pub const CALM_MS: Ms = 60_000;
/// When market data and the model fall silent, so that orders come to their end.
pub const SILENT_MS: Ms = TROUBLE_MS + 15_000;
/// Steps of the exchange and of market data.
const FEED_MS: Ms = 250;

/// What is traded. The last one is also traded by a person at the broker's own screen.
pub const SYMBOLS: [&str; 4] = ["AAPL", "NVDA", "OPEN", "UPST"];

/// One life of one process: which host, and which of its lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    pub host: usize,
    pub life: u64,
}

/// A connection to the broker.
pub type Conn = usize;

/// Everything that is still to happen.
pub enum Event {
    Feed,
    Start(usize),
    Go(Run),
    Look(Run, Pass),
    Tick(Run),
    Renew(Run),
    Hear(Run, Input),
    Append(Append),
    Answer(Run, u64, Outcome),
    Witnessed(Run, u64, Memory),
    Silence(Run, u64),
    Unanswered(Run, u64),
    ToBroker(Conn, Said),
    ToProcess(Conn, Told),
    LetGo(Conn),
    Learn(Conn),
    Appear(Id, protocol::ledger::Intent),
    Pull(usize),
    Trouble,
    DailyRestart,
    Heal(Trouble),
    Operator,
    Command(Ask),
    /// A person rests an order by hand.
    Rest,
    TakeBack(i32),
}

pub struct World {
    pub seed: u64,
    pub chance: Chance,
    pub plan: Plan,
    pub settings: Settings,
    /// When the gateway's daily restart is expected, if it is.
    pub window: Option<Window>,
    pub now: Ms,
    /// Counts what happened, so that of two things it is known which came first.
    pub beat: u64,
    queue: BTreeMap<(Ms, u64), Event>,
    queued: u64,
    pub broker: Broker,
    pub ledger: Ledger,
    /// False while NATS is away.
    pub bus: bool,
    /// Appends that wait in a client's buffer until NATS is back.
    pub buffered: Vec<Append>,
    pub lease: Option<(Run, Ms)>,
    pub hosts: Vec<Host>,
    pub feed: Feed,
    pub folds: Vec<Fold>,
    pub evidence: Evidence,
}

pub fn symbol(number: usize) -> Symbol {
    SYMBOLS[number].parse().unwrap()
}

/// One world in so many sees a midnight of New York, at which the day's orders end.
const MIDNIGHT_IN: u64 = 10;
/// The midnight that those worlds see.
pub const MIDNIGHT: &str = "2026-11-24T05:00:00Z";

/// The instant at which a world begins: as a rule a minute into New York's day, because the exchange first works through
/// all that was traded since its midnight.
pub fn begin(seed: u64) -> Timestamp {
    let begin = if seed.is_multiple_of(MIDNIGHT_IN) {
        "2026-11-24T04:59:15Z"
    } else {
        "2026-11-23T05:01:00Z"
    };
    begin.parse().unwrap()
}

/// Limits that are met in a minute and a half, and waits that end in it.
fn settings() -> Settings {
    let mut settings = engine::testing::settings();
    settings.market.watchlist = (0..SYMBOLS.len()).map(symbol).collect();
    settings.entry.regimes = serde_json::from_str(r#"["bull","bear","sideways","volatile"]"#).unwrap();
    settings.exits.regimes.clear();
    settings.entry.cooldown_bars = 1;
    settings.risk.duplicate_window_seconds = 4;
    settings.risk.trades_per_symbol_per_day_max = 40;
    settings.broker.second_pass_seconds = 6;
    settings.broker.reconcile_seconds = 8;
    settings
}

impl World {
    pub fn new(seed: u64, plan: Plan, told: bool) -> Self {
        let mut settings = settings();
        let window = Window::of(seed).filter(|_| plan.trouble);
        if let Some(window) = window.filter(|_| plan.variant != Variant::SendIntoRestart) {
            settings.broker.restart_at = window.at();
            settings.broker.restart_minutes = 1;
        }
        let mut world = Self {
            seed,
            window,
            chance: Chance::new(seed),
            broker: Broker::new(seed),
            feed: Feed::new(&settings),
            settings,
            now: 0,
            beat: 0,
            queue: BTreeMap::new(),
            queued: 0,
            ledger: Ledger::default(),
            bus: true,
            buffered: Vec::new(),
            lease: None,
            hosts: (0..plan.hosts).map(|_| Host::default()).collect(),
            folds: Fold::all(),
            evidence: Evidence::new(told),
            plan,
        };
        world.after(0, Event::Feed);
        for host in 0..world.hosts.len() {
            world.after(100 * (host as u64 + 1), Event::Start(host));
        }
        for fold in 0..world.folds.len() {
            world.after(500, Event::Pull(fold));
        }
        if world.plan.trouble {
            world.after(5_000, Event::Trouble);
            world.after(9_000, Event::Operator);
            world.plan_daily_restart();
            world.plan_rests();
        }
        if !world.plan.crashes.is_empty() {
            world.after(20_000, Event::Operator);
        }
        world
    }

    /// Runs the story to its end.
    pub fn run(&mut self) {
        let midnight: Timestamp = MIDNIGHT.parse().unwrap();
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > TROUBLE_MS + CALM_MS {
                break;
            }
            if self.now < TROUBLE_MS && at >= TROUBLE_MS {
                self.now = TROUBLE_MS;
                self.end_of_trouble();
            }
            let day_before = self.market_time() < midnight;
            self.now = self.now.max(at);
            self.beat += 1;
            if day_before && self.market_time() >= midnight {
                self.count("midnight in New York");
                self.evidence.midnight = Some(self.beat);
            }
            self.happen(event);
        }
    }

    /// The host that an event is for, if it stands still.
    fn stands_still(&self, event: &Event) -> Option<usize> {
        let host = match event {
            Event::Go(run)
            | Event::Look(run, _)
            | Event::Tick(run)
            | Event::Renew(run)
            | Event::Hear(run, _)
            | Event::Answer(run, ..)
            | Event::Witnessed(run, ..)
            | Event::Silence(run, _)
            | Event::Unanswered(run, _) => run.host,
            Event::ToProcess(conn, _) | Event::Learn(conn) => self.broker.links[*conn].run.host,
            _ => return None,
        };
        (self.hosts[host].paused_until > self.now).then_some(host)
    }

    fn happen(&mut self, event: Event) {
        if let Some(host) = self.stands_still(&event) {
            return self.at(self.hosts[host].paused_until, event);
        }
        match event {
            Event::Feed => {
                self.market_moves();
                self.after(FEED_MS, Event::Feed);
            }
            Event::Start(host) => self.start(host),
            Event::Go(run) => self.go(run),
            Event::Look(run, pass) => self.on_look(run, pass),
            Event::Tick(run) => self.on_tick(run),
            Event::Renew(run) => self.on_renew(run),
            Event::Hear(run, input) => self.hear(run, input),
            Event::Append(append) => self.on_append(append),
            Event::Answer(run, number, outcome) => self.on_answer(run, number, outcome),
            Event::Witnessed(run, number, memory) => self.on_witnessed(run, number, memory),
            Event::Silence(run, number) => self.on_silence(run, number),
            Event::Unanswered(run, number) => self.on_unanswered(run, number),
            Event::ToBroker(conn, said) => self.on_said(conn, said),
            Event::ToProcess(conn, told) => self.on_told(conn, told),
            Event::LetGo(conn) => self.let_go(conn),
            Event::Learn(conn) => self.learn(conn),
            Event::Appear(id, intent) => self.take_in(&id, &intent),
            Event::Pull(fold) => self.pull(fold),
            Event::Trouble => self.next_trouble(),
            Event::DailyRestart => self.daily_restart(),
            Event::Heal(trouble) => self.heal(trouble),
            Event::Operator => self.operate(),
            Event::Command(ask) => self.command(ask),
            Event::Rest => self.rest_by_hand(),
            Event::TakeBack(order_id) => self.take_back(order_id),
        }
    }

    /// Lets something happen later.
    pub fn after(&mut self, ms: Ms, event: Event) {
        self.at(self.now + ms, event);
    }

    pub fn at(&mut self, at: Ms, event: Event) {
        self.queued += 1;
        self.queue.insert((at, self.queued), event);
    }

    /// True while things may go wrong.
    pub fn troubled(&self) -> bool {
        self.plan.trouble && self.now < TROUBLE_MS
    }

    /// True in one of so many cases, while things may go wrong.
    pub fn mishap(&mut self, cases: u64) -> bool {
        self.troubled() && self.chance.one_in(cases)
    }

    /// The market's clock, which is the true one.
    pub fn market_time(&self) -> Timestamp {
        begin(self.seed) + SignedDuration::from_millis(self.now as i64)
    }

    /// The wall clock of a host, which may have leapt.
    pub fn wall(&self, host: usize) -> Timestamp {
        self.market_time() + SignedDuration::from_millis(self.hosts[host].skew_ms)
    }

    /// The same in milliseconds since the world began.
    pub fn clock(&self, host: usize) -> i64 {
        self.now.cast_signed() + self.hosts[host].skew_ms
    }

    /// A time on the way, short as a rule.
    pub fn delay(&mut self) -> Ms {
        match self.mishap(40) {
            true => self.chance.between(300, 2_500),
            false => self.chance.between(1, 40),
        }
    }

    /// Counts something that happened.
    pub fn count(&mut self, what: &'static str) {
        *self.evidence.totals.entry(what).or_default() += 1;
    }

    /// Tells the story, if anybody listens.
    pub fn tell(&mut self, text: impl FnOnce() -> String) {
        if let Some(story) = &mut self.evidence.story {
            story.push(format!("{:>9.3} s  {}", self.now as f64 / 1000.0, text()));
        }
    }

    /// What is said on the bus to those who listen at the moment.
    pub fn publish(&mut self, input: &Published) {
        if !self.bus {
            return;
        }
        for host in 0..self.hosts.len() {
            if !self.hosts[host].listens() {
                continue;
            }
            let run = self.run_of(host);
            let times = 1 + u64::from(matches!(input, Published::Signal(_)) && self.mishap(8));
            if times == 2 {
                self.count("signal told twice");
            }
            for _ in 0..times {
                let late = matches!(input, Published::Signal(_)) && self.mishap(40);
                let delay = if late {
                    self.chance.between(3_000, 9_000)
                } else {
                    self.delay()
                };
                if late {
                    self.count("signal told late");
                }
                self.after(delay, Event::Hear(run, input.heard()));
            }
        }
    }
}

/// What market data and the model say.
pub enum Published {
    Quote(Quote),
    Session(Session),
    Signal(protocol::decision::Signal),
}

impl Published {
    fn heard(&self) -> Input {
        match self {
            Self::Quote(quote) => Input::Quote(quote.clone()),
            Self::Session(session) => Input::Session(session.clone()),
            Self::Signal(signal) => Input::Signal(signal.clone()),
        }
    }
}
