//! The loop of an execution that leads, as `services/execution/src/leader.rs` carries the engine's own desk: one thing after
//! the other, and an end at the first doubt.

use engine::desk::{Deed, End, Input as Said, Notice};
use engine::reconcile::Pass;
use engine::trader::News;
use protocol::ledger::{Entry, Reason};

use crate::broker::{Said as Word, Told};
use crate::execution::LEASE_MS;
use crate::faults::{Point, Variant};
use crate::process::{Input, Stage};
use crate::world::{Conn, Event, Ms, Run, World};

const TICK_MS: Ms = 250;
const RENEW_MS: Ms = 2_000;

impl World {
    /// Something wakes a process.
    pub fn hear(&mut self, run: Run, input: Input) {
        let Some(process) = self.process(run) else { return };
        process.heard += 1;
        let place = (input.urgency(), process.heard);
        process.inbox.insert(place, input);
        self.pump(run);
    }

    /// Does what can be done now: what was decided first, then what the gateway told, then what was heard.
    pub fn pump(&mut self, run: Run) {
        loop {
            let Some(process) = self.process(run) else { return };
            let Some(desk) = process.desk.as_deref_mut() else {
                return;
            };
            if desk.pending.is_some() {
                return;
            }
            if let Some((deed, decided)) = desk.todo.pop_front() {
                self.perform(run, deed, decided);
                continue;
            }
            let trades = process.stage == Stage::Trading;
            if trades && desk.mind.has_heard() {
                self.step(run, Said::Heard);
                continue;
            }
            let mut inbox = process.inbox.iter();
            let of_start =
                |input: &Input| matches!(input, Input::Truth(..) | Input::Look(_) | Input::Notice(_));
            let Some(place) = inbox.find(|(_, input)| trades || of_start(input)) else {
                return;
            };
            let place = *place.0;
            if let Some(input) = process.inbox.remove(&place) {
                self.take(run, input);
            }
        }
    }

    fn take(&mut self, run: Run, input: Input) {
        match input {
            Input::Row(heard) => self.step(run, Said::Order(heard)),
            Input::LinkEnded => self.end(run, "the stream of order events ended"),
            Input::Notice(code) => {
                self.tell(|| format!("execution {run}: hears {code}"));
                if let Some(desk) = self.desk(run) {
                    desk.mind.hear(notice(code));
                }
            }
            Input::Ask(ask) => self.step(run, Said::Ask(ask)),
            Input::Renew => self.renew(run),
            Input::Truth(truth, pass) => self.on_truth(run, truth, pass),
            Input::Session(session) => {
                let wall = self.wall(run.host);
                self.step(run, Said::Session(session, wall));
            }
            Input::Signal(signal) => self.step(run, Said::Signal(signal)),
            Input::Quote(quote) => self.step(run, Said::Quote(quote)),
            Input::Look(Pass::Running | Pass::Second) if self.plan.variant == Variant::Forget => {}
            Input::Look(pass) => self.step(run, Said::Look(pass)),
            Input::Tick => self.step(run, Said::Tick),
        }
    }

    /// A step of the engine; what it says is to be done.
    pub fn step(&mut self, run: Run, said: Said) {
        let (wall, now) = (self.wall(run.host), self.now);
        let latched = self.hosts[run.host].kill_file;
        let Some(desk) = self.desk(run) else { return };
        let deeds = desk.mind.step(wall, latched, said);
        let orders = deeds.iter().any(is_order);
        desk.todo.extend(deeds.into_iter().map(|deed| (deed, now)));
        if orders && latched {
            let text = format!("execution {run} decided an order although the file KILL is there");
            self.evidence.discord.push(text);
        }
    }

    fn perform(&mut self, run: Run, deed: Deed, decided: Ms) {
        match deed {
            Deed::Append(epoch, draft) => {
                let Some(desk) = self.desk(run) else { return };
                if !desk.mind.trader.is_new(&draft) {
                    return;
                }
                let orders = matches!(draft.entry, Entry::Intent(_));
                if !(orders && self.point(run, Point::Decided)) {
                    self.append(run, epoch, draft, decided);
                }
            }
            Deed::Cancel(order_id) => {
                self.count("cancellation asked");
                let conn = self.process(run).and_then(|process| process.conn);
                if !conn.is_some_and(|conn| self.write(conn, Word::Cancel(order_id))) {
                    self.end(run, "the cancellation was not written");
                }
                self.point(run, Point::CancelSent);
            }
            Deed::Refuse(refusal) => {
                let said = format!("refusal: {:?}", refusal.check);
                *self.evidence.said.entry(said).or_default() += 1;
            }
            Deed::Alert(alert) => {
                self.tell(|| format!("execution {run}: ALERT {}: {}", alert.kind, alert.text));
                let said = format!("alert: {}", alert.kind);
                *self.evidence.said.entry(said).or_default() += 1;
            }
            Deed::Reply(reply) => {
                let Some(desk) = self.desk(run) else { return };
                let promised = reply.text.clone();
                let reply = desk.mind.trader.answer(reply);
                if reply.text != promised {
                    self.count("answer told of a stop at the last gate");
                }
                self.tell(|| format!("execution {run}: answers {}: {}", reply.verb, reply.text));
            }
            Deed::Read(pass) => self.read_truth(run, pass),
            Deed::Look(pass, ms) => self.look_in(run, pass, ms),
            Deed::Trade => self.begin_to_trade(run),
            Deed::End(End::Again(text)) => self.end(run, &text),
            Deed::End(End::Contradiction(text)) => self.contradict(run, text),
        }
    }

    pub fn on_told(&mut self, conn: Conn, told: Told) {
        let link = &self.broker.links[conn];
        let run = link.run;
        if !link.at_process || link.frozen {
            return;
        }
        match told {
            Told::Heard(heard) => {
                let point = match &heard.news {
                    News::Execution(..) => Point::FillHeard,
                    News::Commission(..) => Point::CommissionHeard,
                    _ => Point::StatusHeard,
                };
                if !self.point(run, point) {
                    self.hear(run, Input::Row(heard));
                }
            }
            Told::Notice(code) => self.hear(run, Input::Notice(code)),
            Told::Part(question, part, beat) => self.on_part(run, conn, question, part, beat),
        }
    }

    pub fn on_tick(&mut self, run: Run) {
        if self.process(run).is_some() {
            self.after(TICK_MS, Event::Tick(run));
            self.hear(run, Input::Tick);
        }
    }

    pub fn on_renew(&mut self, run: Run) {
        if self.process(run).is_some() {
            self.after(RENEW_MS, Event::Renew(run));
            self.hear(run, Input::Renew);
        }
    }

    fn renew(&mut self, run: Run) {
        let held = self
            .lease
            .is_some_and(|(holder, until)| holder == run && until > self.now);
        if held && self.bus {
            self.lease = Some((run, self.now + LEASE_MS));
        } else {
            self.count("lease lost");
            self.end(run, "the lease is lost");
        }
    }
}

/// A notice in the engine's words.
pub fn notice(code: i32) -> Notice {
    Notice {
        code,
        text: String::new(),
        order_id: 0,
    }
}

/// Whether it is an order that the kill switch stops.
fn is_order(deed: &Deed) -> bool {
    let Deed::Append(_, draft) = deed else {
        return false;
    };
    matches!(&draft.entry, Entry::Intent(intent) if intent.reason != Reason::EmergencyExit)
}
