//! The loop of an execution that leads, as `services/execution/src/desk.rs` has it: one thing after the other, and an
//! end at the first doubt.

use engine::reconcile::Pass;
use engine::trader::{Heard, Input as Step, News, Output};
use protocol::ledger::{Entry, Reason};

use crate::broker::{Said, Told};
use crate::execution::LEASE_MS;
use crate::faults::{Point, Variant};
use crate::process::{Input, Stage, Todo, note};
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

    /// Does what can be done now: what was decided first, then what was heard.
    pub fn pump(&mut self, run: Run) {
        loop {
            let Some(process) = self.process(run) else { return };
            let Some(desk) = process.desk.as_deref_mut() else {
                return;
            };
            if desk.pending.is_some() {
                return;
            }
            if let Some(todo) = desk.todo.pop_front() {
                match todo {
                    Todo::Say(output, decided) => self.perform(run, *output, decided),
                    Todo::Read(pass) => self.read_truth(run, pass),
                    Todo::Gate => self.look_at_gate(run),
                }
                continue;
            }
            let stage = process.stage.clone();
            if stage == Stage::Trading {
                let Some((_, input)) = process.inbox.pop_first() else {
                    return;
                };
                self.take(run, input);
                continue;
            }
            let told = process
                .inbox
                .iter()
                .find(|(_, input)| matches!(input, Input::Truth(..)));
            if let Some(place) = told.map(|(place, _)| *place) {
                if let Some(Input::Truth(truth, _)) = process.inbox.remove(&place) {
                    self.start_reads(run, stage, truth);
                }
            } else if !self.start_on(run, &stage) {
                return;
            }
        }
    }

    fn take(&mut self, run: Run, input: Input) {
        match input {
            Input::Row(heard) => self.on_row(run, heard),
            Input::LinkEnded => self.end(run, "the stream of order events ended"),
            Input::Notice(code) => self.on_notice(run, code),
            Input::Ask(ask) => {
                self.step(run, Step::Ask(ask));
                self.then(run, Todo::Gate);
            }
            Input::Renew => self.renew(run),
            Input::Truth(truth, pass) => self.on_truth(run, truth, pass),
            Input::Session(session) => self.step(run, Step::Session(session)),
            Input::Signal(signal) => self.step(run, Step::Signal(signal)),
            Input::Quote(quote) => self.step(run, Step::Quote(quote)),
            Input::Reconcile(Pass::Second) if self.is_broken(run) => self.look_again(run),
            Input::Reconcile(_) if self.plan.variant == Variant::Forget => {}
            Input::Reconcile(pass) => self.read_truth(run, pass),
            Input::Tick => self.step(run, Step::Tick),
        }
    }

    /// A step of the engine, after a look at the kill switch; what it says is to be done.
    pub fn step(&mut self, run: Run, step: Step) {
        let (wall, now) = (self.wall(run.host), self.now);
        let latched = self.hosts[run.host].kill_file;
        if let Some(desk) = self.desk(run) {
            let mut outputs = Vec::new();
            if desk.trader.killed_here() != latched {
                outputs = desk.trader.step(wall, Step::KillHere(latched));
            }
            outputs.extend(desk.trader.step(wall, step));
            let orders = outputs.iter().any(is_order);
            desk.todo
                .extend(outputs.into_iter().map(|output| Todo::Say(Box::new(output), now)));
            if orders && latched {
                let text = format!("execution {run} decided an order although the file KILL is there");
                self.evidence.discord.push(text);
            }
        }
    }

    /// What follows once all that was said is done.
    pub fn then(&mut self, run: Run, todo: Todo) {
        if let Some(desk) = self.desk(run) {
            desk.todo.push_back(todo);
        }
    }

    fn perform(&mut self, run: Run, output: Output, decided: Ms) {
        match output {
            Output::Append(draft) => {
                let Some(desk) = self.desk(run) else { return };
                if !desk.trader.is_new(&draft) {
                    return;
                }
                let epoch = desk.trader.portfolio.epoch;
                let orders = matches!(draft.entry, Entry::Intent(_));
                if !(orders && self.point(run, Point::Decided)) {
                    self.append(run, epoch, draft, decided);
                }
            }
            Output::Cancel(order_id) => {
                self.count("cancellation asked");
                let conn = self.process(run).and_then(|process| process.conn);
                if !conn.is_some_and(|conn| self.write(conn, Said::Cancel(order_id))) {
                    self.end(run, "the cancellation was not written");
                }
                self.point(run, Point::CancelSent);
            }
            Output::Refuse(refusal) => {
                *self
                    .evidence
                    .said
                    .entry(format!("refusal: {:?}", refusal.check))
                    .or_default() += 1;
            }
            Output::Alert(alert) => {
                self.tell(|| format!("execution {run}: ALERT {}: {}", alert.kind, alert.text));
                *self
                    .evidence
                    .said
                    .entry(format!("alert: {}", alert.kind))
                    .or_default() += 1;
            }
            Output::Reply(reply) => {
                self.tell(|| format!("execution {run}: answers {}: {}", reply.verb, reply.text));
            }
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
            Told::Part(question, part) => self.on_part(run, conn, question, part),
        }
    }

    fn on_row(&mut self, run: Run, heard: Heard) {
        let filled = matches!(heard.news, News::Execution(..));
        self.step(run, Step::Broker(heard));
        if filled {
            self.then(run, Todo::Read(Pass::Running));
        }
    }

    fn on_notice(&mut self, run: Run, code: i32) {
        self.tell(|| format!("execution {run}: hears {code}"));
        if code == 1300 {
            return self.end(run, "the gateway says 1300");
        }
        let Some(desk) = self.desk(run) else { return };
        let was_whole = desk.broken.is_empty();
        note(&mut desk.broken, code);
        let whole = desk.broken.is_empty();
        if was_whole && whole && code != 1101 && code != 1102 {
            return;
        }
        desk.compare_due = true;
        if whole {
            desk.outdated = desk.reading.is_some();
            self.read_truth(run, Pass::Running);
        }
        self.look_at_gate(run);
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

    pub fn on_reconcile(&mut self, run: Run) {
        if self.process(run).is_some() {
            let ms = Ms::from(self.settings.broker.reconcile_seconds) * 1000;
            self.after(ms, Event::Reconcile(run));
            self.hear(run, Input::Reconcile(Pass::Running));
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

    /// Opens or closes the gate by what is broken.
    pub fn look_at_gate(&mut self, run: Run) {
        let Some(desk) = self.desk(run) else { return };
        let reason = desk.broken.first().map(|broken| format!("{broken} is down"));
        let reason = reason.or_else(|| desk.compare_due.then(|| "it is being compared".to_owned()));
        if desk.trader.gate() != reason.as_deref() {
            self.step(run, Step::Gate(reason));
        }
    }
}

/// Whether it is an order that the kill switch stops.
fn is_order(output: &Output) -> bool {
    let Output::Append(draft) = output else {
        return false;
    };
    matches!(&draft.entry, Entry::Intent(intent) if intent.reason != Reason::EmergencyExit)
}
