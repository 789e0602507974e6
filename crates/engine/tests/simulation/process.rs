//! What an execution is made of: the host and what survives there, the process, and what an incarnation that leads has
//! in memory.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::gate::Gate;
use engine::reconcile::{Pass, Truth};
use engine::trader::{Ask, Heard, Output, Trader};
use protocol::Hash;
use protocol::decision::Signal;
use protocol::ledger::Record;
use protocol::market::{Quote, Session};

use crate::answers::Question;
use crate::world::{Conn, Ms, Run, World};

/// What a host remembers of LEDGER beside NATS, through every crash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub sequence: u64,
    pub hash: Hash,
    pub order_id_max: i32,
}

/// A machine that runs one execution at a time.
pub struct Host {
    pub life: u64,
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

impl Default for Host {
    fn default() -> Self {
        let witness = Memory {
            sequence: 0,
            hash: Hash::zero(),
            order_id_max: 0,
        };
        Self {
            life: 0,
            witness,
            kill_file: false,
            skew_ms: 0,
            paused_until: 0,
            retired: false,
            process: None,
            contradiction: None,
        }
    }
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
    Identity,
    Epoch,
    Opening,
    Still(Option<Box<Truth>>, usize),
    First(usize),
    Folding(usize, bool),
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
    pub trader: Trader,
    pub gate: Gate,
    pub order_id_max: i32,
    /// What was decided and is still to be done, in order.
    pub todo: VecDeque<Todo>,
    pub pending: Option<Pending>,
    pub appends: u64,
    pub reading: Option<Reading>,
    pub readings: u64,
    pub failed_readings: u32,
    /// The second look waits for the reading under way to end.
    pub second_due: bool,
    pub broken: BTreeSet<&'static str>,
    pub compare_due: bool,
    pub outdated: bool,
}

/// One thing to do.
#[derive(Debug)]
pub enum Todo {
    /// What was said, and when it was decided.
    Say(Box<Output>, Ms),
    Read(Pass),
    Gate,
}

/// An append that waits for its acknowledgement and for the witness.
pub struct Pending {
    pub number: u64,
    pub decided: Ms,
    pub record: Record,
    pub hash: Hash,
    pub sequence: u64,
    pub acknowledged: bool,
    pub witnessed: bool,
}

/// A reading of the broker's truth under way.
pub struct Reading {
    pub number: u64,
    pub pass: Pass,
    pub question: Question,
    pub truth: Truth,
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
    Reconcile(Pass),
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
            Self::Truth(..) => 4,
            Self::Session(_) => 5,
            Self::Signal(_) => 6,
            Self::Tick => 7,
            Self::Reconcile(_) => 8,
            Self::Quote(_) => 9,
        }
    }
}

/// Takes over what a notice says about what is broken.
pub fn note(broken: &mut BTreeSet<&'static str>, code: i32) {
    match code {
        1100 | 2110 => drop(broken.insert("the gateway's link")),
        1101 | 1102 => drop(broken.remove("the gateway's link")),
        2103 => drop(broken.insert("a data farm")),
        2104 => drop(broken.remove("a data farm")),
        _ => {}
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
