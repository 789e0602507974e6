//! What goes out, as `services/execution/src/writer.rs` has it: records to LEDGER and the witness side by side, and the
//! one place that writes an order.

use std::time::Duration;

use engine::desk::Memory;
use engine::reconcile::Truth;
use engine::trader::Draft;
use protocol::Hash;
use protocol::ledger::{Entry, Intent, OrderChange};

use crate::broker::Said as Word;
use crate::desk::notice;
use crate::evidence::Sent;
use crate::faults::{Point, Variant};
use crate::ledger::{Append, Outcome};
use crate::process::{Input, Pending};
use crate::world::{Event, Ms, Run, World};

/// How long an append may go without an answer.
const APPEND_MS_MAX: Ms = 5_000;

impl World {
    /// Appends to LEDGER and writes the witness, side by side.
    pub fn append(&mut self, run: Run, epoch: u64, draft: Draft, decided: Ms) {
        let Some(desk) = self.desk(run) else { return };
        let Some((record, memory)) = desk.mind.record(epoch, draft) else {
            return;
        };
        let after = memory.sequence;
        let bytes = serde_json::to_vec(&record).unwrap();
        desk.appends += 1;
        let number = desk.appends;
        desk.pending = Some(Pending {
            number,
            decided,
            hash: Hash::of(&bytes),
            sequence: after + 1,
            record: record.clone(),
            memory: memory.clone(),
            acknowledged: false,
            witnessed: false,
        });
        let point = Point::append_sent(&record.entry);
        let (to_ledger, to_disk) = (self.delay(), self.delay());
        self.after(
            to_ledger,
            Event::Append(Append {
                run,
                number,
                after,
                record,
                bytes,
            }),
        );
        self.after(to_disk, Event::Witnessed(run, number, memory));
        self.after(APPEND_MS_MAX, Event::Silence(run, number));
        self.point(run, point);
    }

    /// An append arrives at the server.
    pub fn on_append(&mut self, append: Append) {
        let lost = if self.bus {
            self.mishap(200)
        } else {
            self.chance.one_in(3)
        };
        if lost {
            return self.count("append lost");
        }
        if !self.bus {
            return self.buffered.push(append);
        }
        let guarded = self.plan.variant != Variant::NoGuard;
        let outcome = self.ledger.append(&append, self.beat, guarded);
        let (run, number) = (append.run, append.number);
        let alive = self.process(run).is_some();
        match outcome {
            Outcome::Stored => {
                let head = self.ledger.records.last().map_or(0, |stored| stored.sequence);
                self.tell(|| format!("ledger: {head} {} by {run}", what(&append)));
                if !alive {
                    self.count("append stored after its writer's end");
                }
            }
            Outcome::Refused => self.count("append refused"),
        }
        if outcome == Outcome::Stored && self.point(run, Point::append_stored(&append.record.entry)) {
            return;
        }
        if self.mishap(150) {
            self.count("acknowledgement lost");
            return;
        }
        let slow = self.mishap(150);
        let ms = if slow {
            self.chance.between(3_000, 7_000)
        } else {
            self.delay()
        };
        self.after(ms, Event::Answer(run, number, outcome));
    }

    pub fn on_answer(&mut self, run: Run, number: u64, outcome: Outcome) {
        let beat = self.beat;
        let Some(pending) = self.desk(run).and_then(|desk| desk.pending.as_mut()) else {
            return;
        };
        if pending.number != number {
            return;
        }
        if outcome == Outcome::Refused {
            return self.end(run, "another incarnation wrote");
        }
        pending.acknowledged = true;
        let place = usize::try_from(pending.sequence - 1).unwrap();
        if let Some(stored) = self.ledger.records.get_mut(place) {
            stored.acknowledged = Some(beat);
        }
        if !self.point(run, Point::Acknowledged) {
            self.appended(run);
        }
    }

    pub fn on_witnessed(&mut self, run: Run, number: u64, memory: Memory) {
        let Some(pending) = self.desk(run).and_then(|desk| desk.pending.as_mut()) else {
            return;
        };
        if pending.number == number {
            pending.witnessed = true;
            self.hosts[run.host].witness = memory;
            if !self.point(run, Point::Witnessed) {
                self.appended(run);
            }
        }
    }

    /// No answer came: it may be stored, now or later or never.
    pub fn on_silence(&mut self, run: Run, number: u64) {
        let trusting = self.plan.variant == Variant::TakeSilenceForYes;
        let Some(pending) = self.desk(run).and_then(|desk| desk.pending.as_mut()) else {
            return;
        };
        if pending.number != number || pending.acknowledged {
            return;
        }
        self.count("append of unknown outcome");
        if !trusting {
            return self.end(run, "LEDGER did not answer");
        }
        if let Some(pending) = self.desk(run).and_then(|desk| desk.pending.as_mut()) {
            pending.acknowledged = true;
        }
        self.appended(run);
    }

    /// Goes on once both the ledger and the witness have it.
    fn appended(&mut self, run: Run) {
        let wall = self.wall(run.host);
        let Some(desk) = self.desk(run) else { return };
        let Some(pending) = desk
            .pending
            .take_if(|pending| pending.acknowledged && pending.witnessed)
        else {
            return;
        };
        let applied = desk
            .mind
            .trader
            .applied(pending.sequence, &pending.hash, &pending.record, wall);
        if applied.is_err() {
            return self.end(run, "the record does not follow");
        }
        if self.point(run, Point::append_done(&pending.record.entry)) {
            return;
        }
        if let Entry::Intent(intent) = pending.record.entry.clone() {
            self.send(run, &pending, intent);
        }
        self.pump(run);
    }

    /// Writes an order to the broker: the one place that does, after a last look at how things are at this moment.
    fn send(&mut self, run: Run, pending: &Pending, intent: Intent) {
        let (wall, now) = (self.wall(run.host), self.now);
        let latched = self.hosts[run.host].kill_file;
        self.listen(run);
        let Some(desk) = self.desk(run) else { return };
        let id = pending.record.id.clone();
        let waited = Duration::from_millis(now - pending.decided);
        if let Err(follows) = desk
            .mind
            .pass(wall, latched, waited, &id, pending.record.at, &intent)
        {
            for deed in follows.into_iter().rev() {
                desk.todo.push_front((deed, now));
            }
            return self.count("order stopped at the last gate");
        }
        if self.point(run, Point::GatePassed) {
            return;
        }
        let Some(conn) = self.process(run).and_then(|process| process.conn) else {
            return;
        };
        if self.write(conn, Word::Place(id.clone(), intent.clone())) {
            self.count("order sent");
            self.evidence.sent.push(Sent {
                beat: self.beat,
                run,
                clock: self.clock(run.host),
                id,
                reason: intent.reason,
                latched: self.hosts[run.host].kill_file,
            });
            self.point(run, Point::OrderSent);
        } else {
            self.end(run, "the order was not written");
        }
    }

    /// Hears all that the gateway told until now.
    fn listen(&mut self, run: Run) {
        let Some(process) = self.process(run) else { return };
        let Some(desk) = process.desk.as_deref_mut() else {
            return;
        };
        process.inbox.retain(|_, input| {
            let Input::Notice(code) = input else {
                return true;
            };
            desk.mind.hear(notice(*code));
            false
        });
        let conn = process.conn;
        if !conn.is_some_and(|conn| self.broker.links[conn].at_process)
            && let Some(desk) = self.desk(run)
        {
            desk.mind.cut("the connection to the gateway is lost".to_owned());
        }
    }

    /// What nobody may do: writes again what a reading does not show. A negative control.
    pub fn resend(&mut self, run: Run, truth: &Truth) {
        let Some(conn) = self.process(run).and_then(|process| process.conn) else {
            return;
        };
        let Some(desk) = self.desk(run) else { return };
        let shown = |id: &str| {
            truth
                .open
                .iter()
                .chain(&truth.completed)
                .any(|order| order.order_ref == id)
                || truth.executions.iter().any(|execution| execution.order_ref == id)
        };
        let mut lost = Vec::new();
        for order in desk
            .mind
            .trader
            .portfolio
            .open_orders()
            .filter(|order| !shown(order.id.as_str()))
        {
            lost.push(order.id.clone());
        }
        for id in lost {
            let stored = self.ledger.records.iter().find(|stored| stored.record.id == id);
            if let Some(Entry::Intent(mut intent)) = stored.map(|stored| stored.record.entry.clone()) {
                intent.order_id += 1_000;
                self.write(conn, Word::Place(id, intent));
            }
        }
    }
}

/// An append in words.
fn what(append: &Append) -> String {
    match &append.record.entry {
        Entry::Intent(intent) => format!(
            "intent {}: {:?} {} {} ({:?})",
            append.record.id, intent.side, intent.quantity, intent.symbol, intent.reason
        ),
        Entry::Order(event) => match &event.change {
            OrderChange::Fill(fill) => format!("fill {} of {}", fill.execution_id, event.order),
            change => format!("{} of {}", protocol::subject::kind(change), event.order),
        },
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}
