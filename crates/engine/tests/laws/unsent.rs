//! What an operator closed and the last gate stopped: the answer says so, and it is made again as was promised.

use std::collections::VecDeque;
use std::time::Duration;

use engine::desk::{Deed, Desk, Input};
use engine::reconcile::{Pass, Truth};
use engine::trader::Ask;
use jiff::SignedDuration;
use protocol::decision::Alert;
use protocol::ledger::{Entry, Intent, Reason};
use protocol::market::{Phase, Session};
use protocol::operator::{Command, Reply, Verb};
use protocol::{Hash, Id, Timestamp};

use crate::desk::{append, begin, notice, now};
use crate::world::{World, number, symbol};

/// What happens while a record waits for its place in LEDGER.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meanwhile {
    Nothing,
    /// The gateway loses its link.
    Outage,
    /// The gateway's connection is lost.
    Cut,
    /// The file KILL is written.
    Kill,
}

/// A desk that trades with 50 shares of AAPL, carried as execution does.
struct Office {
    desk: Desk,
    now: Timestamp,
    killed: bool,
    meanwhile: Meanwhile,
    sent: Vec<Intent>,
    replies: Vec<Reply>,
    alerts: Vec<Alert>,
}

impl Office {
    fn open() -> Self {
        let world = World::new(&[("AAPL", "50")]);
        let (desk, _) = begin(&world.trader.portfolio, |_| ());
        let mut office = Self {
            desk,
            now: now(),
            killed: false,
            meanwhile: Meanwhile::Nothing,
            sent: Vec::new(),
            replies: Vec::new(),
            alerts: Vec::new(),
        };
        office.desk.hear(notice(2104));
        for _ in 0..2 {
            office.reads(Pass::First);
        }
        office.step(Input::Heard);
        office.reads(Pass::Running);
        let session = Session {
            id: Id::derive(&["session"]),
            at: office.now,
            phase: Phase::Regular,
            next_change: None,
            source: "test".into(),
            speed: 1.0,
            connected: true,
        };
        office.step(Input::Session(session, office.now));
        assert_eq!(office.desk.trader.closed(office.now), None);
        office
    }

    fn step(&mut self, input: Input) {
        let mut deeds = VecDeque::from(self.desk.step(self.now, self.killed, input));
        while let Some(deed) = deeds.pop_front() {
            match deed {
                Deed::Append(epoch, draft) => {
                    let Some((record, memory)) = self.desk.record(epoch, draft) else {
                        continue;
                    };
                    let hash = Hash::of(&serde_json::to_vec(&record).unwrap());
                    let trader = &mut self.desk.trader;
                    trader
                        .applied(memory.sequence + 1, &hash, &record, self.now)
                        .unwrap();
                    if let Entry::Intent(intent) = &record.entry {
                        let follows = self.send(&record.id, record.at, intent);
                        follows.into_iter().rev().for_each(|deed| deeds.push_front(deed));
                    }
                }
                Deed::Reply(reply) => self.replies.push(self.desk.trader.answer(reply)),
                Deed::Alert(alert) => self.alerts.push(alert),
                Deed::End(_) => return,
                _ => {}
            }
        }
    }

    fn send(&mut self, id: &Id, at: Timestamp, intent: &Intent) -> Vec<Deed> {
        match std::mem::replace(&mut self.meanwhile, Meanwhile::Nothing) {
            Meanwhile::Nothing => {}
            Meanwhile::Outage => self.desk.hear(notice(1100)),
            Meanwhile::Cut => self.desk.cut("the connection is lost".into()),
            Meanwhile::Kill => self.killed = true,
        }
        let waited = Duration::from_secs(4);
        match self.desk.pass(self.now, self.killed, waited, id, at, intent) {
            Ok(()) => {
                self.sent.push(intent.clone());
                Vec::new()
            }
            Err(follows) => follows,
        }
    }

    /// The broker is read, and agrees.
    fn reads(&mut self, pass: Pass) {
        let deeds = self.desk.step(self.now, self.killed, Input::Look(pass));
        append(&mut self.desk, &deeds);
        let truth = Truth {
            folded: self.desk.trader.portfolio.sequence,
            ..World::new(&[]).truth(&[("AAPL", number("50"))])
        };
        self.step(Input::Truth(Ok(truth), pass));
    }

    /// The link is back and the broker was read.
    fn is_back(&mut self) {
        self.step(Input::Heard);
        self.desk.hear(notice(1102));
        self.step(Input::Heard);
        self.reads(Pass::Running);
        assert_eq!(self.desk.trader.closed(self.now), None);
    }

    /// Asks while something happens; the answer, if there is one.
    fn ask(&mut self, verb: Verb, meanwhile: Meanwhile) -> Option<Reply> {
        self.ask_as(&format!("{verb} {}", self.now), verb, meanwhile)
    }

    fn ask_as(&mut self, id: &str, verb: Verb, meanwhile: Meanwhile) -> Option<Reply> {
        self.meanwhile = meanwhile;
        let before = self.replies.len();
        let of_symbol = matches!(verb, Verb::Close | Verb::EmergencyExit);
        self.step(Input::Ask(Ask {
            id: Id::derive(&[id]),
            verb,
            by: "operator".into(),
            command: Command {
                symbol: of_symbol.then(|| symbol("AAPL")),
                ..Command::default()
            },
        }));
        self.replies.get(before).cloned()
    }

    fn waits(&mut self, seconds: i64) {
        for _ in 0..seconds {
            self.now += SignedDuration::from_secs(1);
            self.step(Input::Tick);
        }
    }
}

#[test]
fn what_an_outage_stopped_is_said_and_made_again_once_the_way_is_open() {
    for (verb, reason) in [
        (Verb::Close, Reason::Close),
        (Verb::EmergencyExit, Reason::EmergencyExit),
    ] {
        let mut office = Office::open();
        let reply = office.ask(verb, Meanwhile::Outage).unwrap();
        assert!(
            reply.accepted
                && reply.text.contains("stopped at the last gate")
                && reply.text.contains("made again"),
            "{reply:?}"
        );
        assert!(!reply.text.contains("are being closed"), "{reply:?}");
        office.waits(30);
        assert!(office.sent.is_empty(), "the link is down");
        // Once more it is stopped on its way.
        office.meanwhile = Meanwhile::Outage;
        office.is_back();
        office.waits(5);
        assert!(office.sent.is_empty());
        office.is_back();
        office.waits(5);
        let sent: Vec<_> = office
            .sent
            .iter()
            .map(|exit| (exit.reason, exit.quantity))
            .collect();
        assert_eq!(sent, [(reason, number("50"))], "once");
        let stopped = office.alerts.iter().filter(|alert| alert.kind == "order-stopped");
        assert_eq!(stopped.count(), 2);
    }
}

#[test]
fn what_was_stopped_is_not_made_again_after_a_kill_switch_or_cancel_all() {
    for verbs in [&[Verb::CancelAll][..], &[Verb::Kill, Verb::Release]] {
        let mut office = Office::open();
        assert!(office.ask(Verb::Close, Meanwhile::Outage).unwrap().accepted);
        office.waits(1);
        for verb in verbs {
            assert!(office.ask(*verb, Meanwhile::Nothing).unwrap().accepted);
        }
        office.is_back();
        office.waits(30);
        assert!(office.sent.is_empty(), "{verbs:?}");
    }
}

#[test]
fn what_a_kill_switch_stopped_is_answered_no_and_stays() {
    for verb in [Verb::Close, Verb::Flatten] {
        let mut office = Office::open();
        let reply = office.ask(verb, Meanwhile::Kill).unwrap();
        assert!(
            !reply.accepted && reply.text.contains("the kill switch is latched"),
            "{reply:?}"
        );
        office.waits(5);
        office.killed = false;
        assert!(office.ask(Verb::Release, Meanwhile::Nothing).unwrap().accepted);
        office.waits(30);
        assert!(office.sent.is_empty(), "{verb}");
    }
}

#[test]
fn what_was_stopped_of_a_flatten_is_said_and_tried_again() {
    let mut office = Office::open();
    let reply = office.ask(Verb::Flatten, Meanwhile::Outage).unwrap();
    assert!(
        reply.accepted && reply.text.contains("halted") && reply.text.contains("tried again"),
        "{reply:?}"
    );
    office.is_back();
    office.waits(16);
    assert_eq!(office.sent.len(), 1);
    assert_eq!(office.sent[0].reason, Reason::Flatten);
}

#[test]
fn with_its_connection_an_incarnation_promises_nothing_and_asked_again_it_says_what_came_of_it() {
    let mut office = Office::open();
    assert_eq!(office.ask_as("one", Verb::Close, Meanwhile::Cut), None);
    let stopped = office.alerts.last().unwrap();
    assert!(
        stopped.text.contains("ask for it again") && !stopped.text.contains("made again"),
        "{}",
        stopped.text
    );
    let reply = office.ask_as("one", Verb::Close, Meanwhile::Nothing).unwrap();
    assert!(reply.text.contains("never sent"), "{reply:?}");
}
