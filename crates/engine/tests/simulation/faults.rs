//! What goes wrong, and when.

use std::collections::VecDeque;

use protocol::ledger::{Entry, OrderChange};
use protocol::operator::{Command, Verb};

use crate::broker::Told;
use crate::world::{Event, Ms, Run, TROUBLE_MS, World};

/// The design, or the design without one of its guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variant {
    Design,
    /// What a reading does not show is sent again.
    Resend,
    /// An append without an answer counts as acknowledged.
    TakeSilenceForYes,
    /// A start forgets what is held and what was ordered, and does not ask the broker.
    Forget,
    /// LEDGER stores whatever comes, wherever.
    NoGuard,
    /// The gateway's daily restart is not known.
    SendIntoRestart,
}

/// How a world goes.
#[derive(Debug, Clone)]
pub struct Plan {
    pub variant: Variant,
    /// Machines that run an execution.
    pub hosts: usize,
    /// True when things go wrong by chance.
    pub trouble: bool,
    /// What goes wrong otherwise, one after the other.
    pub crashes: VecDeque<Crash>,
}

impl Plan {
    /// A world full of trouble.
    pub fn of(variant: Variant) -> Self {
        Self {
            variant,
            hosts: 2,
            trouble: true,
            crashes: VecDeque::new(),
        }
    }
}

/// A crash at a place of the order path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crash {
    pub point: Point,
    /// Its host never starts again, so that another takes over.
    pub takeover: bool,
    /// NATS stays up.
    pub ledger_up: bool,
    /// What was written to the broker arrives.
    pub broker_has: bool,
}

/// Every step of the order path at which a process can die.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    Connected,
    LeaseTaken,
    LedgerRead,
    OtherAppendSent,
    OtherStored,
    OtherDone,
    FirstReading,
    SecondReading,
    Decided,
    IntentAppendSent,
    IntentStored,
    Acknowledged,
    Witnessed,
    IntentDone,
    GatePassed,
    OrderSent,
    OrderArrived,
    StatusHeard,
    EventAppendSent,
    EventStored,
    EventDone,
    CancelSent,
    Filled,
    FillHeard,
    FillAppendSent,
    FillStored,
    FillDone,
    CommissionHeard,
}

impl Point {
    pub const ALL: [Self; 28] = [
        Self::Connected,
        Self::LeaseTaken,
        Self::LedgerRead,
        Self::OtherAppendSent,
        Self::OtherStored,
        Self::OtherDone,
        Self::FirstReading,
        Self::SecondReading,
        Self::Decided,
        Self::IntentAppendSent,
        Self::IntentStored,
        Self::Acknowledged,
        Self::Witnessed,
        Self::IntentDone,
        Self::GatePassed,
        Self::OrderSent,
        Self::OrderArrived,
        Self::StatusHeard,
        Self::EventAppendSent,
        Self::EventStored,
        Self::EventDone,
        Self::CancelSent,
        Self::Filled,
        Self::FillHeard,
        Self::FillAppendSent,
        Self::FillStored,
        Self::FillDone,
        Self::CommissionHeard,
    ];

    fn of(entry: &Entry, points: [Self; 4]) -> Self {
        match entry {
            Entry::Intent(_) => points[0],
            Entry::Order(event) if matches!(event.change, OrderChange::Fill(_)) => points[1],
            Entry::Order(_) => points[2],
            _ => points[3],
        }
    }

    pub fn append_sent(entry: &Entry) -> Self {
        use Point::*;
        Self::of(
            entry,
            [IntentAppendSent, FillAppendSent, EventAppendSent, OtherAppendSent],
        )
    }

    pub fn append_stored(entry: &Entry) -> Self {
        use Point::*;
        Self::of(entry, [IntentStored, FillStored, EventStored, OtherStored])
    }

    pub fn append_done(entry: &Entry) -> Self {
        use Point::*;
        Self::of(entry, [IntentDone, FillDone, EventDone, OtherDone])
    }
}

/// What can be wrong for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    Bus,
    Gateway,
    Outage,
    Data,
    Delayed,
    Farm,
    KillFile(usize),
    Clock(usize),
    Limits,
}

impl World {
    /// A step of the order path is reached: true when the process dies of it.
    pub fn point(&mut self, run: Run, point: Point) -> bool {
        if self.process(run).is_none() {
            return false;
        }
        let planned = self.plan.crashes.front().copied();
        if let Some(crash) = planned.filter(|crash| crash.point == point) {
            if self.now < 20_000 {
                return false;
            }
            self.plan.crashes.pop_front();
            self.crash_as_planned(run, crash);
            return true;
        }
        let dies = self.mishap(400);
        if dies {
            self.count("crash at a step of the order path");
            self.crash(run, false);
        }
        dies
    }

    fn crash_as_planned(&mut self, run: Run, crash: Crash) {
        self.count("planned crash");
        self.tell(|| format!("execution {run}: killed at {:?}", crash.point));
        if !crash.ledger_up {
            self.bus = false;
            self.after(3_000, Event::Heal(Trouble::Bus));
        }
        if let Some(conn) = self.process(run).and_then(|process| process.conn) {
            self.broker.links[conn].frozen = !crash.broker_has;
        }
        self.hosts[run.host].retired = crash.takeover;
        self.evidence.killed = Some(run);
        self.crash(run, false);
    }

    /// kill -9: memory is gone, what left is on its way.
    pub fn crash(&mut self, run: Run, rude: bool) {
        let Some(process) = self.hosts[run.host].process.take() else {
            return;
        };
        self.tell(|| format!("execution {run}: killed"));
        self.hosts[run.host].paused_until = 0;
        if let Some(desk) = process.desk {
            // The write to the disk may have been done, and nobody heard of it.
            if let Some(pending) = desk.pending.filter(|pending| !pending.witnessed)
                && self.chance.one_in(2)
            {
                self.hosts[run.host].witness = pending.memory;
            }
        }
        if let Some(conn) = process.conn {
            self.hang_up(conn, rude);
        }
        let ms = self.chance.between(100, 1_500);
        self.after(ms, Event::Start(run.host));
    }

    /// A process ends by its own decision.
    pub fn end(&mut self, run: Run, why: &str) {
        if self.process(run).is_none() {
            return;
        }
        let Some(process) = self.hosts[run.host].process.take() else {
            return;
        };
        self.tell(|| format!("execution {run}: ends, {why}"));
        self.count("ended on doubt");
        if self.lease.is_some_and(|(holder, _)| holder == run) {
            self.lease = None;
        }
        if let Some(conn) = process.conn {
            self.hang_up(conn, false);
        }
        let ms = self.chance.between(200, 1_500);
        self.after(ms, Event::Start(run.host));
    }

    /// Something goes wrong.
    pub fn next_trouble(&mut self) {
        if !self.troubled() {
            return;
        }
        let ms = self.chance.between(1_500, 12_000);
        self.after(ms, Event::Trouble);
        let host = usize::try_from(self.chance.between(0, self.hosts.len() as u64 - 1)).unwrap();
        match self.chance.between(0, 22) {
            0..=2 => {
                self.count("crash");
                let rude = self.chance.one_in(3);
                self.crash(self.run_of(host), rude);
            }
            3 | 4 => self.break_session(false),
            5 => self.break_session(true),
            6 => {
                self.count("gateway restarted");
                self.restart_gateway();
                self.heal_after(Trouble::Gateway, 4_000);
            }
            7 | 8 if self.broker.stale.is_none() => {
                self.count("outage of the gateway's link");
                self.outage();
                self.heal_after(Trouble::Outage, 15_000);
            }
            9 => {
                self.count("NATS away");
                self.bus = false;
                self.heal_after(Trouble::Bus, 8_000);
            }
            10 => {
                self.count("data link lost");
                self.feed.up = false;
                self.heal_after(Trouble::Data, 8_000);
            }
            11 => {
                self.count("delayed data");
                self.feed.delayed = true;
                self.heal_after(Trouble::Delayed, 10_000);
            }
            12 => {
                self.count("wall clock leapt");
                let leap = self.chance.between(0, 7_200_000) as i64 - 3_600_000;
                self.hosts[host].skew_ms = leap;
                self.heal_after(Trouble::Clock(host), 15_000);
            }
            13 => self.trade_by_hand(),
            21 | 22 => self.book(),
            14 => self.roll_ids_back(),
            15 => self.correct_a_trade(),
            16 | 17 => self.pause(host),
            18 => {
                self.count("data farm down");
                self.notify(2103);
                self.heal_after(Trouble::Farm, 8_000);
            }
            19 => {
                self.count("the gateway says 1300");
                self.notify(1300);
            }
            _ => {
                self.count("market data and signal restarted");
                self.restart_feed();
            }
        }
    }

    fn break_session(&mut self, frozen: bool) {
        if let Some(conn) = self.broker.session() {
            self.count(if frozen {
                "connection frozen"
            } else {
                "connection lost"
            });
            self.tell(|| "the ordering connection breaks".to_owned());
            self.break_link(conn, frozen);
        }
    }

    /// The process stands still for a while (SIGSTOP), and does not know it.
    fn pause(&mut self, host: usize) {
        self.count("process stood still");
        let ms = self.chance.between(500, 14_000);
        self.tell(|| format!("host {host} stands still for {ms} ms"));
        self.hosts[host].paused_until = (self.now + ms).min(TROUBLE_MS);
    }

    fn notify(&mut self, code: i32) {
        if let Some(conn) = self.broker.session() {
            self.told(conn, Told::Notice(code));
        }
    }

    pub fn heal_after(&mut self, trouble: Trouble, most: Ms) {
        self.tell(|| format!("trouble: {trouble:?}"));
        let ms = self.chance.between(300, most);
        self.after(ms, Event::Heal(trouble));
    }

    /// What was wrong is right again.
    pub fn heal(&mut self, trouble: Trouble) {
        match trouble {
            Trouble::Bus if !self.bus => {
                self.bus = true;
                for append in std::mem::take(&mut self.buffered) {
                    self.count("append delivered after NATS came back");
                    self.on_append(append);
                }
            }
            Trouble::Bus => {}
            Trouble::Gateway => self.broker.gateway = true,
            Trouble::Outage if self.broker.stale.is_some() => self.end_of_outage(),
            Trouble::Outage => {}
            Trouble::Data => self.feed.up = true,
            Trouble::Delayed => self.feed.delayed = false,
            Trouble::KillFile(host) => {
                if std::mem::take(&mut self.hosts[host].kill_file) {
                    self.ask(Verb::Release, Command::default());
                }
            }
            Trouble::Clock(host) => self.hosts[host].skew_ms = 0,
            // Of no farm a gateway says that it is up while its own link is not.
            Trouble::Farm if self.broker.stale.is_some() => self.after(500, Event::Heal(Trouble::Farm)),
            Trouble::Farm => self.notify(2104),
            Trouble::Limits => self.unlimit(),
        }
    }

    /// From here on nothing goes wrong any more.
    pub fn end_of_trouble(&mut self) {
        let all = [
            Trouble::Bus,
            Trouble::Gateway,
            Trouble::Outage,
            Trouble::Data,
            Trouble::Delayed,
            Trouble::Farm,
            Trouble::Limits,
        ];
        all.into_iter().for_each(|trouble| self.heal(trouble));
        for host in 0..self.hosts.len() {
            self.heal(Trouble::KillFile(host));
            self.heal(Trouble::Clock(host));
        }
        self.tell(|| "nothing goes wrong from here on".to_owned());
    }
}
