//! Readings of the broker's whole truth, as `services/execution/src/truth.rs` takes them: beside the loop, one question
//! after the other.

use engine::desk::Input as Said;
use engine::reconcile::{Pass, Truth};

use crate::answers::{self, Question};
use crate::broker::Said as Word;
use crate::evidence::Read;
use crate::faults::{Point, Variant};
use crate::process::{Input, Reading};
use crate::world::{Conn, Event, Ms, Run, World};

/// How long the gateway may take for one answer.
const ANSWER_MS_MAX: Ms = 10_000;

impl World {
    /// A look at the broker was asked for, in a while.
    pub fn look_in(&mut self, run: Run, pass: Pass, ms: Ms) {
        let due = self.now + ms;
        if let Some(desk) = self.desk(run) {
            desk.looks.insert(pass, due);
            self.at(due, Event::Look(run, pass));
        }
    }

    /// The time of a look has come, unless it was put off.
    pub fn on_look(&mut self, run: Run, pass: Pass) {
        let now = self.now;
        let Some(desk) = self.desk(run) else { return };
        if desk.looks.get(&pass).is_some_and(|due| *due <= now) {
            desk.looks.remove(&pass);
            self.hear(run, Input::Look(pass));
        }
    }

    /// Asks the broker for its whole truth.
    pub fn read_truth(&mut self, run: Run, pass: Pass) {
        let forgetful = self.plan.variant == Variant::Forget;
        let began = self.clock(run.host);
        let Some(desk) = self.desk(run) else { return };
        desk.readings += 1;
        let portfolio = &desk.mind.trader.portfolio;
        let truth = Truth {
            folded: portfolio.sequence,
            ..Truth::default()
        };
        if forgetful && pass == Pass::First && portfolio.opened {
            // It asks nobody, and takes it that there is nothing.
            return self.hear(run, Input::Truth(Some(Box::new(truth)), pass));
        }
        desk.reading = Some(Reading {
            number: desk.readings,
            began,
            pass,
            question: Question::Open,
            truth,
            told_open: 0,
        });
        self.question(run);
    }

    fn question(&mut self, run: Run) {
        let Some(conn) = self.process(run).and_then(|process| process.conn) else {
            return;
        };
        let Some(reading) = self.desk(run).and_then(|desk| desk.reading.as_ref()) else {
            return;
        };
        let (number, question) = (reading.number, reading.question);
        let asked = number * 10 + question as u64;
        if self.write(conn, Word::Ask(question)) {
            self.after(ANSWER_MS_MAX, Event::Unanswered(run, asked));
        } else {
            self.read(run, None);
        }
    }

    pub fn on_part(&mut self, run: Run, conn: Conn, question: Question, part: Truth, beat: u64) {
        if self.process(run).is_none_or(|process| process.conn != Some(conn)) {
            return;
        }
        let Some(reading) = self.desk(run).and_then(|desk| desk.reading.as_mut()) else {
            return;
        };
        if reading.question != question {
            return;
        }
        answers::merge(&mut reading.truth, question, part);
        if question == Question::Open {
            reading.told_open = beat;
        }
        match question.next() {
            Some(next) => {
                reading.question = next;
                self.question(run);
            }
            None => {
                let truth = reading.truth.clone();
                self.read(run, Some(Box::new(truth)));
            }
        }
    }

    pub fn on_unanswered(&mut self, run: Run, asked: u64) {
        let reading = self.desk(run).and_then(|desk| desk.reading.as_ref());
        if reading.is_some_and(|reading| reading.number * 10 + reading.question as u64 == asked) {
            self.read(run, None);
        }
    }

    fn read(&mut self, run: Run, truth: Option<Box<Truth>>) {
        let reading = self.desk(run).and_then(|desk| desk.reading.take());
        let Some(reading) = reading else { return };
        if truth.is_some() {
            self.evidence.readings.push(Read {
                run,
                began: reading.began,
                ended: self.beat,
                told_open: reading.told_open,
                compared: None,
            });
        }
        self.hear(run, Input::Truth(truth, reading.pass));
    }

    pub fn on_truth(&mut self, run: Run, truth: Option<Box<Truth>>, pass: Pass) {
        let Some(desk) = self.desk(run) else { return };
        let opened = desk.mind.trader.portfolio.opened;
        let Some(truth) = truth else {
            return self.step(run, Said::Truth(Err("no answer".to_owned()), pass));
        };
        if self.plan.variant == Variant::Resend && opened && pass == Pass::First {
            self.resend(run, &truth);
        }
        let mut readings = self.evidence.readings.iter_mut().rev();
        if let Some(reading) = readings.find(|reading| reading.run == run) {
            reading.compared = Some(self.beat);
        }
        self.step(run, Said::Truth(Ok(*truth), pass));
        match pass {
            Pass::First if opened => drop(self.point(run, Point::FirstReading)),
            Pass::Second => drop(self.point(run, Point::SecondReading)),
            _ => {}
        }
    }
}
