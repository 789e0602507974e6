//! What an execution is made of: the host and what survives there, the process, and what an incarnation that leads has
//! in memory.

use std::collections::{BTreeMap, VecDeque};

use engine::desk::{Deed, Desk as Mind, Memory};
use engine::reconcile::{Pass, Truth};
use engine::trader::{Ask, Heard};
use protocol::Hash;
use protocol::decision::Signal;
use protocol::ledger::Record;
use protocol::market::{Quote, Session};

use crate::answers::Question;
use crate::world::{Conn, Ms, Run, World};

/// A machine that runs one execution at a time.
#[derive(Default)]
pub struct Host {
    pub life: u64,
    /// What it remembers of LEDGER beside NATS, through every crash.
    pub witness: Memory,
    /// The local kill switch.
    pub kill_file: bool,
    /// By how much its wall clock is wrong.
    pub skew_ms: i64,
    /// Until when its process stands still (SIGSTOP): what is for it waits.
    pub paused_until: Ms,
    /// True when nobody starts it again.
    pub retired: bool,
    pub process: Option<Process>,
    /// Why it will not trade: two things that must agree do not.
    pub contradiction: Option<String>,
}

impl Host {
    /// True while its execution is there to hear the bus.
    pub fn listens(&self) -> bool {
        self.process
            .as_ref()
            .is_some_and(|process| process.stage == Stage::Trading)
    }
}

/// Where a process is in its life.
#[derive(Debug, Clone, PartialEq)]
pub enum Stage {
    Connecting,
    Leasing,
    Reading,
    Starting,
    Trading,
}

/// A process.
pub struct Process {
    pub run: Run,
    pub stage: Stage,
    pub conn: Option<Conn>,
    /// What it heard and has not taken in, by urgency and arrival.
    pub inbox: BTreeMap<(u8, u64), Input>,
    pub heard: u64,
    pub desk: Option<Box<Desk>>,
}

/// What an incarnation that leads has in memory.
pub struct Desk {
    pub mind: Mind,
    /// What was decided and is still to be done, in order, and when it was decided.
    pub todo: VecDeque<(Deed, Ms)>,
    pub pending: Option<Pending>,
    pub appends: u64,
    pub reading: Option<Reading>,
    pub readings: u64,
    /// When it wants to look at the broker next.
    pub looks: BTreeMap<Pass, Ms>,
}

/// An append that waits for its acknowledgement and for the witness.
pub struct Pending {
    pub number: u64,
    pub decided: Ms,
    pub record: Record,
    pub memory: Memory,
    pub hash: Hash,
    pub sequence: u64,
    pub acknowledged: bool,
    pub witnessed: bool,
}

/// A reading of the broker's truth under way.
pub struct Reading {
    pub number: u64,
    /// Milliseconds since the world began, by the clock of its host.
    pub began: i64,
    pub pass: Pass,
    pub question: Question,
    pub truth: Truth,
    /// The beat at which open orders were told.
    pub told_open: u64,
}

/// Everything that can wake an execution.
#[derive(Debug, Clone)]
pub enum Input {
    Row(Heard),
    LinkEnded,
    Notice(i32),
    Ask(Ask),
    Renew,
    Truth(Option<Box<Truth>>, Pass),
    Session(Session),
    Signal(Signal),
    Tick,
    Look(Pass),
    Quote(Quote),
}

impl Input {
    /// What concerns money comes first.
    pub fn urgency(&self) -> u8 {
        match self {
            Self::Row(_) | Self::LinkEnded => 0,
            Self::Notice(_) => 1,
            Self::Ask(_) => 2,
            Self::Renew => 3,
            Self::Truth(..) | Self::Look(_) => 4,
            Self::Session(_) => 5,
            Self::Signal(_) => 6,
            Self::Tick => 7,
            Self::Quote(_) => 8,
        }
    }
}

impl World {
    pub fn run_of(&self, host: usize) -> Run {
        Run {
            host,
            life: self.hosts[host].life,
        }
    }

    /// The process of a life, while it lives.
    pub fn process(&mut self, run: Run) -> Option<&mut Process> {
        self.hosts[run.host]
            .process
            .as_mut()
            .filter(|process| process.run == run)
    }

    pub fn desk(&mut self, run: Run) -> Option<&mut Desk> {
        self.process(run)?.desk.as_deref_mut()
    }
}

impl std::fmt::Display for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", ["A", "B", "C"][self.host], self.life)
    }
}
