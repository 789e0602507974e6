//! Execution's start, step by step as `services/execution/src/start.rs` takes it: connection, lease, ledger, witness,
//! epoch, broker truth. Around the engine's own trader; the loop after it is in `desk`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use engine::gate::Gate;
use engine::portfolio::Portfolio;
use engine::reconcile::{self, Pass, Truth};
use engine::trader::{Draft, Input as Step, Output, Trader};
use protocol::Id;
use protocol::ledger::{Entry, Epoch, Identity, Mode};

use crate::broker::CLIENT;
use crate::faults::{Point, Variant};
use crate::process::{Desk, Process, Stage, Todo};
use crate::world::{Event, Ms, Run, World};

/// Readings of the broker's truth at the start, until one has nothing new.
const READINGS_MAX: usize = 5;
/// Time between two tries to connect or to lead.
const RETRY_MS: Ms = 500;
/// Life of a lease.
pub const LEASE_MS: Ms = 6_000;

impl World {
    /// The supervisor starts a process.
    pub fn start(&mut self, host: usize) {
        let place = &mut self.hosts[host];
        if place.process.is_some() || place.retired || place.contradiction.is_some() {
            return;
        }
        place.life += 1;
        let run = Run {
            host,
            life: place.life,
        };
        place.process = Some(Process {
            run,
            stage: Stage::Connecting,
            conn: None,
            inbox: BTreeMap::new(),
            heard: 0,
            desk: None,
        });
        self.go(run);
    }

    /// Goes on with a start.
    pub fn go(&mut self, run: Run) {
        let Some(process) = self.process(run) else { return };
        let next = match process.stage {
            Stage::Connecting => self.try_to_connect(run),
            Stage::Leasing => self.try_to_lease(run),
            Stage::Reading => self.read_ledger(run),
            _ => return self.pump(run),
        };
        if let Some(ms) = next {
            self.after(ms, Event::Go(run));
        }
    }

    fn set_stage(&mut self, run: Run, stage: Stage) {
        if let Some(process) = self.process(run) {
            process.stage = stage;
        }
    }

    fn try_to_connect(&mut self, run: Run) -> Option<Ms> {
        let Some(conn) = self.connect(run) else {
            self.count("stood by or found no gateway");
            return Some(RETRY_MS);
        };
        self.tell(|| format!("execution {run}: connected"));
        let process = self.process(run)?;
        process.conn = Some(conn);
        process.stage = Stage::Leasing;
        if self.point(run, Point::Connected) {
            return None;
        }
        Some(self.delay())
    }

    fn try_to_lease(&mut self, run: Run) -> Option<Ms> {
        if !self.bus {
            self.end(run, "no bus");
            return None;
        }
        let now = self.now;
        if self
            .lease
            .is_some_and(|(holder, until)| holder != run && until > now)
        {
            return Some(RETRY_MS);
        }
        self.lease = Some((run, now + LEASE_MS));
        self.set_stage(run, Stage::Reading);
        if self.point(run, Point::LeaseTaken) {
            return None;
        }
        Some(self.delay())
    }

    fn read_ledger(&mut self, run: Run) -> Option<Ms> {
        if !self.bus {
            self.end(run, "no bus");
            return None;
        }
        let mut portfolio = Portfolio::default();
        let witness = self.hosts[run.host].witness.clone();
        let mut fault = None;
        for stored in &self.ledger.records {
            if let Err(wrong) = portfolio.apply(stored.sequence, &stored.hash, &stored.record) {
                fault = Some(wrong.to_string());
                break;
            }
            if stored.sequence == witness.sequence && stored.hash != witness.hash {
                fault = Some("the witness remembers another record".to_owned());
            }
        }
        if portfolio.sequence < witness.sequence {
            fault.get_or_insert("LEDGER is shorter than what the witness remembers".to_owned());
        }
        if let Some(fault) = fault {
            self.tell(|| format!("execution {run}: halts for good, {fault}"));
            self.hosts[run.host].contradiction = Some(fault);
            self.end(run, "contradiction");
            return None;
        }
        if self.plan.variant == Variant::Forget {
            portfolio.positions.clear();
            portfolio.orders.clear();
            portfolio.day.entries.clear();
        }
        let mut trader = Trader::new(self.settings.clone(), portfolio);
        let next_order_id = self.broker.venue.account().next_order_id(CLIENT);
        trader.raise_order_id(witness.order_id_max + 1);
        trader.raise_order_id(next_order_id);
        let used_max = witness.order_id_max.max(trader.portfolio.order_id_max);
        let desk = Desk {
            gate: Gate::new(trader.limits().clone(), used_max),
            trader,
            order_id_max: witness.order_id_max,
            todo: VecDeque::new(),
            pending: None,
            appends: 0,
            reading: None,
            readings: 0,
            failed_readings: 0,
            second_due: false,
            broken: BTreeSet::new(),
            compare_due: false,
            outdated: false,
        };
        let process = self.process(run)?;
        process.desk = Some(Box::new(desk));
        process.stage = Stage::Identity;
        if !self.point(run, Point::LedgerRead) {
            self.pump(run);
        }
        None
    }

    /// The next step of a start, when nothing is pending. False when it waits for something.
    pub fn start_on(&mut self, run: Run, stage: &Stage) -> bool {
        match stage {
            Stage::Identity => {
                self.set_stage(run, Stage::Epoch);
                self.append_identity(run)
            }
            Stage::Epoch => {
                self.set_stage(run, Stage::Opening);
                self.append_epoch(run)
            }
            Stage::Opening => {
                let opened = self.desk(run).is_some_and(|desk| desk.trader.portfolio.opened);
                if opened && self.plan.variant == Variant::Forget {
                    self.begin_to_trade(run);
                    return true;
                }
                let next = if opened {
                    Stage::First(0)
                } else {
                    Stage::Still(None, 0)
                };
                self.set_stage(run, next);
                self.read_truth(run, Pass::First);
                false
            }
            Stage::Folding(_, true) => {
                self.begin_to_trade(run);
                true
            }
            Stage::Folding(READINGS_MAX, false) => {
                self.count("restless start");
                self.begin_to_trade(run);
                true
            }
            Stage::Folding(number, false) => {
                self.set_stage(run, Stage::First(*number));
                self.read_truth(run, Pass::First);
                false
            }
            _ => false,
        }
    }

    fn append_identity(&mut self, run: Run) -> bool {
        let known = self
            .desk(run)
            .is_some_and(|desk| desk.trader.portfolio.identity.is_some());
        if !known {
            let identity = Identity {
                account: "DU1".into(),
                mode: Mode::Paper,
                gateway: "simulated".into(),
                client_id: CLIENT,
            };
            let draft = self.draft(run, Id::derive(&["identity", "DU1"]), Entry::Identity(identity));
            self.append(run, 0, draft, self.now);
        }
        true
    }

    fn append_epoch(&mut self, run: Run) -> bool {
        let Some(desk) = self.desk(run) else { return false };
        let epoch = desk.trader.portfolio.epoch + 1;
        let id = Id::derive(&["epoch", &epoch.to_string(), &run.to_string()]);
        let entry = Entry::Epoch(Epoch {
            instance: run.to_string(),
            version: "0".into(),
        });
        let draft = self.draft(run, id, entry);
        self.append(run, epoch, draft, self.now);
        true
    }

    fn draft(&self, run: Run, id: Id, entry: Entry) -> Draft {
        Draft {
            id,
            at: self.wall(run.host),
            cause: None,
            entry,
        }
    }

    /// A reading of the start is whole.
    pub fn start_reads(&mut self, run: Run, stage: Stage, truth: Option<Box<Truth>>) {
        let Some(truth) = truth else {
            return self.end(run, "broker truth is not known");
        };
        match stage {
            Stage::Still(Some(before), _) if truth.is_of_the_same_moment(&before) => {
                self.set_stage(run, Stage::Folding(0, false));
                let opening = Entry::Opening(reconcile::opening(&truth));
                let draft = self.draft(run, Id::derive(&["opening"]), opening);
                let Some(epoch) = self.desk(run).map(|desk| desk.trader.portfolio.epoch) else {
                    return;
                };
                self.append(run, epoch, draft, self.now);
            }
            Stage::Still(_, READINGS_MAX) => self.end(run, "the account did not stand still"),
            Stage::Still(_, number) => {
                self.set_stage(run, Stage::Still(Some(truth), number + 1));
                let gap = Ms::from(self.settings.broker.opening_gap_ms);
                self.after(gap, Event::Look(run));
            }
            Stage::First(number) => {
                if self.plan.variant == Variant::Resend {
                    self.resend(run, &truth);
                }
                let (wall, now) = (self.wall(run.host), self.now);
                let Some(desk) = self.desk(run) else { return };
                if let Some(execution) = reconcile::unwritten(&desk.trader.portfolio, &truth) {
                    let text = format!("nobody wrote execution {}", execution.fill.execution_id);
                    self.hosts[run.host].contradiction = Some(text);
                    return self.end(run, "contradiction");
                }
                let outputs = desk.trader.step(wall, Step::Truth(*truth, Pass::First));
                let is_event = |output: &Output| {
                    matches!(
                        output,
                        Output::Append(Draft {
                            entry: Entry::Order(_),
                            ..
                        })
                    )
                };
                let settled = !outputs.iter().any(is_event);
                desk.todo
                    .extend(outputs.into_iter().map(|output| Todo::Say(Box::new(output), now)));
                self.set_stage(run, Stage::Folding(number + 1, settled));
                self.point(run, Point::FirstReading);
            }
            _ => {}
        }
    }

    fn begin_to_trade(&mut self, run: Run) {
        self.tell(|| format!("execution {run}: trades"));
        self.evidence.leaders.push(run);
        self.set_stage(run, Stage::Trading);
        let second = Ms::from(self.settings.broker.second_pass_seconds) * 1000;
        self.after(0, Event::Tick(run));
        self.after(0, Event::Renew(run));
        self.after(0, Event::Reconcile(run));
        self.after(second, Event::SecondLook(run));
        if let Some(session) = self.feed.session.clone() {
            self.step(run, Step::Session(session));
        }
        self.then(run, Todo::Gate);
    }
}
