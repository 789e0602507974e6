//! Readings of the broker's whole truth, as `services/execution/src/{ears,truth}.rs` take them: one at a time beside the
//! loop, one question after the other.

use engine::reconcile::{Pass, Truth};
use engine::trader::Input as Step;

use crate::answers::{self, Question};
use crate::broker::Said;
use crate::faults::Point;
use crate::process::{Input, Reading, Todo};
use crate::world::{Conn, Event, Ms, Run, World};

/// How long the gateway may take for one answer.
const ANSWER_MS_MAX: Ms = 10_000;
/// Time between a reading that contradicts the ledger and the one that confirms it.
const ANOTHER_LOOK_MS: Ms = 1_000;
/// Readings of the broker's truth that may fail in a row.
const FAILED_READINGS_MAX: u32 = 3;

impl World {
    pub fn is_broken(&mut self, run: Run) -> bool {
        self.desk(run).is_some_and(|desk| !desk.broken.is_empty())
    }

    pub fn look_again(&mut self, run: Run) {
        self.after(1_000, Event::SecondLook(run));
    }

    /// Asks the broker for its whole truth, one reading at a time.
    pub fn read_truth(&mut self, run: Run, pass: Pass) {
        let began = self.wall(run.host);
        let Some(desk) = self.desk(run) else { return };
        if desk.reading.is_some() {
            if pass == Pass::Second {
                self.look_again(run);
            }
            return;
        }
        desk.readings += 1;
        let folded = desk.trader.portfolio.sequence;
        desk.reading = Some(Reading {
            number: desk.readings,
            pass,
            question: Question::Open,
            truth: Truth {
                began,
                folded,
                ..Truth::default()
            },
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
        if self.write(conn, Said::Ask(question)) {
            self.after(ANSWER_MS_MAX, Event::Unanswered(run, asked));
        } else {
            self.read(run, None);
        }
    }

    pub fn on_part(&mut self, run: Run, conn: Conn, question: Question, part: Truth) {
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

    /// The second look at what is in doubt is due; it waits for the reading under way.
    pub fn second_look(&mut self, run: Run) {
        match self.desk(run) {
            Some(desk) if desk.reading.is_some() => desk.second_due = true,
            _ => self.hear(run, Input::Reconcile(Pass::Second)),
        }
    }

    fn read(&mut self, run: Run, truth: Option<Box<Truth>>) {
        let Some(desk) = self.desk(run) else { return };
        let (reading, due) = (desk.reading.take(), std::mem::take(&mut desk.second_due));
        let Some(reading) = reading else { return };
        if truth.is_none() && reading.pass == Pass::Second {
            self.look_again(run);
        }
        self.hear(run, Input::Truth(truth, reading.pass));
        if due {
            self.hear(run, Input::Reconcile(Pass::Second));
        }
    }

    pub fn on_truth(&mut self, run: Run, truth: Option<Box<Truth>>, pass: Pass) {
        let broken = self.is_broken(run);
        let Some(desk) = self.desk(run) else { return };
        let Some(truth) = truth else {
            desk.failed_readings += 1;
            if desk.failed_readings >= FAILED_READINGS_MAX {
                self.end(run, "the broker's truth can't be read");
            }
            return;
        };
        if std::mem::take(&mut desk.outdated) {
            return self.read_truth(run, pass);
        }
        if pass == Pass::Second && broken {
            return self.look_again(run);
        }
        desk.failed_readings = 0;
        desk.compare_due &= broken;
        self.step(run, Step::Truth(*truth, pass));
        if self
            .desk(run)
            .is_some_and(|desk| desk.trader.wants_another_look())
        {
            self.after(ANOTHER_LOOK_MS, Event::Hear(run, Input::Reconcile(Pass::Running)));
        }
        self.then(run, Todo::Gate);
        if pass == Pass::Second {
            self.point(run, Point::SecondReading);
        }
    }
}
