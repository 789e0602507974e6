//! Execution's start, as `services/execution/src/start.rs` carries it: connection, lease, ledger, witness. What follows is
//! the engine's own desk, which `desk` carries.

use std::collections::BTreeMap;

use engine::desk::{Desk as Mind, Input as Said, Recall};
use protocol::ledger::{Identity, Mode};

use crate::broker::CLIENT;
use crate::faults::{Point, Variant};
use crate::process::{Desk, Process, Stage};
use crate::world::{Event, Ms, Run, World};

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
        let witness = self.hosts[run.host].witness.clone();
        let mut recall = Recall::new(&witness);
        let mut records = self.ledger.records.iter();
        let folded = records.try_for_each(|one| recall.apply(one.sequence, &one.hash, &one.record));
        let mut portfolio = match folded.and_then(|()| recall.end()) {
            Ok(portfolio) => portfolio,
            Err(text) => {
                self.contradict(run, text);
                return None;
            }
        };
        if self.plan.variant == Variant::Forget {
            portfolio.positions.clear();
            let orders = std::mem::take(&mut portfolio.orders);
            portfolio.past_orders.extend(orders.into_keys());
            portfolio.day.entries.clear();
        }
        let next_order_id = self.broker.venue.account().next_order_id(CLIENT);
        let mut mind = Mind::new(
            self.settings.clone(),
            portfolio,
            witness.order_id_max,
            next_order_id,
        );
        let identity = Identity {
            account: "DU1".into(),
            mode: Mode::Paper,
            gateway: "simulated".into(),
            client_id: CLIENT,
        };
        let deeds = mind.begin(self.wall(run.host), identity, &run.to_string(), "0");
        let now = self.now;
        let desk = Desk {
            mind,
            todo: deeds.into_iter().map(|deed| (deed, now)).collect(),
            pending: None,
            appends: 0,
            reading: None,
            readings: 0,
            looks: BTreeMap::new(),
        };
        let process = self.process(run)?;
        process.desk = Some(Box::new(desk));
        process.stage = Stage::Starting;
        if !self.point(run, Point::LedgerRead) {
            self.pump(run);
        }
        None
    }

    /// It halts for good.
    pub fn contradict(&mut self, run: Run, text: String) {
        self.tell(|| format!("execution {run}: halts for good, {text}"));
        self.hosts[run.host].contradiction = Some(text);
        self.end(run, "contradiction");
    }

    pub fn begin_to_trade(&mut self, run: Run) {
        self.tell(|| format!("execution {run}: trades"));
        self.evidence.leaders.push(run);
        self.set_stage(run, Stage::Trading);
        self.after(0, Event::Tick(run));
        self.after(0, Event::Renew(run));
        if let Some((session, published)) = self.feed.session.clone() {
            self.step(run, Said::Session(session, published));
        }
    }
}
