//! What people do: commands, and the file KILL.

use engine::trader::Ask;
use protocol::Id;
use protocol::ledger::Choice;
use protocol::operator::{Command, Verb};

use crate::faults::Trouble;
use crate::world::{Event, World, symbol};

impl World {
    /// People do something.
    pub fn operate(&mut self) {
        if !self.plan.crashes.is_empty() {
            self.after(3_000, Event::Operator);
            return self.ask(Verb::CancelAll, Command::default());
        }
        if !self.troubled() {
            return self.settle_all();
        }
        let ms = self.chance.between(4_000, 20_000);
        self.after(ms, Event::Operator);
        if self.chance.one_in(12) {
            self.count("kill file");
            let host = usize::try_from(self.chance.between(0, self.hosts.len() as u64 - 1)).unwrap();
            self.hosts[host].kill_file = true;
            return self.heal_after(Trouble::KillFile(host), 6_000);
        }
        let verb = *self.chance.pick(&Verb::ALL);
        self.count("command");
        let one = matches!(verb, Verb::Close | Verb::EmergencyExit)
            || (verb == Verb::Halt && self.chance.one_in(2));
        let of = usize::try_from(self.chance.between(0, 3)).unwrap();
        let symbol = one.then(|| symbol(of));
        let command = match verb {
            Verb::Settle => self.what_to_settle(),
            _ => Command {
                symbol,
                ..Command::default()
            },
        };
        self.ask(verb, command);
        let follow: &[Verb] = match verb {
            Verb::Kill => &[Verb::Release],
            Verb::Halt | Verb::Reduce => &[Verb::Resume],
            Verb::Flatten => self.after_flatten(),
            _ => &[],
        };
        let mut ms = 0;
        for verb in follow {
            ms += self.chance.between(500, 9_000);
            let ask = self.asking(
                *verb,
                Command {
                    symbol,
                    ..Command::default()
                },
            );
            self.after(ms, Event::Command(ask));
        }
    }

    /// A flatten is left to its end, or called off on the way.
    fn after_flatten(&mut self) -> &'static [Verb] {
        let ways: [&[Verb]; 3] = [
            &[Verb::Resume],
            &[Verb::CancelAll, Verb::Resume],
            &[Verb::Kill, Verb::Release, Verb::Resume],
        ];
        let way = *self.chance.pick(&ways);
        if way.len() > 1 {
            self.count("flatten called off");
        }
        way
    }

    /// Somebody looks at the page again and again, and takes the broker's figures over.
    fn settle_all(&mut self) {
        self.after(5_000, Event::Operator);
        let shown = self.folds[0].portfolio.differences.clone();
        for difference in shown {
            let command = Command {
                symbol: difference.symbol,
                ..Command::default()
            };
            self.ask(Verb::Settle, command);
            // Each command has an id of its own.
            self.beat += 1;
        }
    }

    /// An order in doubt, or else a difference that the page shows, and what is made of it.
    fn what_to_settle(&mut self) -> Command {
        let order = self.chance.one_in(2).then(|| self.doubtful_order()).flatten();
        if order.is_some() {
            return Command {
                order,
                ..Command::default()
            };
        }
        let choices = [
            None,
            Some(Choice::Accept),
            Some(Choice::Keep),
            Some(Choice::Ignore),
        ];
        let choice = *self.chance.pick(&choices);
        let shown = &self.folds[0].portfolio.differences;
        let symbols: Vec<_> = shown.iter().map(|difference| difference.symbol).collect();
        let symbol = if symbols.is_empty() {
            None
        } else {
            *self.chance.pick(&symbols)
        };
        Command {
            symbol,
            choice,
            ..Command::default()
        }
    }

    /// An order in doubt that the broker does not have: a person looks there first.
    fn doubtful_order(&self) -> Option<Id> {
        let portfolio = &self.folds[0].portfolio;
        let mut doubtful = portfolio
            .orders
            .values()
            .filter(|order| order.kinds.contains("absent"));
        doubtful
            .find(|order| {
                !self.broker.is_known_to_broker(&order.id) && !self.evidence.late.contains(&order.id)
            })
            .map(|order| order.id.clone())
    }

    fn asking(&mut self, verb: Verb, command: Command) -> Ask {
        let id = Id::derive(&["ask", &self.beat.to_string(), verb.as_str()]);
        Ask {
            id,
            verb,
            by: "operator".into(),
            command,
        }
    }

    pub fn ask(&mut self, verb: Verb, command: Command) {
        let ask = self.asking(verb, command);
        self.command(ask);
    }

    /// A command goes to whoever leads; it may be asked twice.
    pub fn command(&mut self, ask: Ask) {
        self.tell(|| format!("operator: {} {:?}", ask.verb, ask.command));
        for host in 0..self.hosts.len() {
            if !self.bus || !self.hosts[host].listens() {
                continue;
            }
            let run = self.run_of(host);
            for _ in 0..1 + u64::from(self.mishap(6)) {
                let ms = self.delay();
                self.after(ms, Event::Hear(run, crate::process::Input::Ask(ask.clone())));
            }
        }
    }
}
