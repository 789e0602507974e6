//! How a command is taken: each id once, recorded with who asked and why, and answered.

use protocol::ledger::{CommandRecord, Entry};
use protocol::operator::{Reply, Verb};
use protocol::{Id, Timestamp};

use super::decide::number_intents;
use super::{Ask, Draft, Output, Trader, Unclear};

fn sets_state(output: &Output) -> bool {
    let Output::Append(draft) = output else {
        return false;
    };
    matches!(
        draft.entry,
        Entry::State(_) | Entry::Kill(_) | Entry::Adjusted(_) | Entry::Settled(_)
    )
}

/// What follows from a command that can't be understood: nothing but a record of it, and the answer.
pub(super) fn refuse(wall: Timestamp, unclear: Unclear) -> Vec<Output> {
    let Unclear { id, verb, by, text } = unclear;
    let record = CommandRecord {
        verb: verb.clone(),
        by,
        symbol: None,
        order: None,
        choice: None,
        note: String::new(),
        accepted: false,
        text: text.clone(),
    };
    let draft = Draft {
        id: id.clone(),
        at: wall,
        cause: None,
        entry: Entry::Command(record),
    };
    let reply = Reply {
        id,
        at: wall,
        verb,
        accepted: false,
        text,
    };
    vec![Output::Append(draft), Output::Reply(reply)]
}

fn reply(wall: Timestamp, ask: &Ask, accepted: bool, text: String) -> Output {
    Output::Reply(Reply {
        id: ask.id.clone(),
        at: wall,
        verb: ask.verb.to_string(),
        accepted,
        text,
    })
}

impl Trader {
    pub(super) fn on_ask(&mut self, wall: Timestamp, ask: &Ask) -> Vec<Output> {
        if let Some(known) = self.portfolio.commands.iter().find(|known| known.id == ask.id) {
            let (first, command) = (&known.record, &ask.command);
            let same = first.verb == ask.verb.as_str()
                && first.symbol == command.symbol
                && first.order == command.order
                && first.choice == command.choice;
            // What is to stop everything does so, whatever its id was used for.
            if ask.verb == Verb::Kill && !(same && self.portfolio.killed) {
                return self.kill_anew(wall, ask);
            }
            let (accepted, text) = if same {
                let text = format!(
                    "answered at {} already, and nothing more is done: {}{}",
                    known.at,
                    first.text,
                    self.came_to_nothing(&ask.id)
                );
                (first.accepted, text)
            } else {
                let text = format!(
                    "the id {} is of another command, `{}` at {}: give this one an id of its own",
                    ask.id, first.verb, known.at
                );
                (false, text)
            };
            return vec![reply(wall, ask, accepted, text)];
        }
        if self.portfolio.past_commands.contains(&ask.id) {
            if ask.verb == Verb::Kill {
                return self.kill_anew(wall, ask);
            }
            let text = format!(
                "the id {} is of an earlier command, whose answer is not kept any more: nothing is done; give a new command an id of its own",
                ask.id
            );
            return vec![reply(wall, ask, false, text)];
        }
        let outcome = self.carry_out(wall, ask);
        let mut outputs = outcome.outputs;
        number_intents(&mut outputs);
        let reply = reply(wall, ask, outcome.accepted, outcome.text.clone());
        let record = CommandRecord {
            verb: ask.verb.to_string(),
            by: ask.by.clone(),
            symbol: ask.command.symbol,
            order: ask.command.order.clone(),
            choice: ask.command.choice,
            note: ask.command.note.clone(),
            accepted: outcome.accepted,
            text: outcome.text,
        };
        let record = Output::Append(Draft {
            id: ask.id.clone(),
            at: wall,
            cause: None,
            entry: Entry::Command(record),
        });
        // After the state that it sets and before the orders that follow from it: a restart in between goes on with it.
        let place = outputs.iter().take_while(|output| sets_state(output)).count();
        outputs.insert(place, record);
        outputs.push(reply);
        outputs
    }

    /// What to say of a command whose latest order ended and traded nothing.
    fn came_to_nothing(&self, command: &Id) -> String {
        let orders = self.portfolio.orders.values();
        let of_command = orders.filter(|order| order.cause.as_ref() == Some(command));
        let latest = of_command.max_by_key(|order| order.order_id);
        latest
            .filter(|order| order.state.is_terminal() && order.filled.is_zero())
            .map(|order| format!("; order {} of {} is over: {}", order.id, order.symbol, order.text))
            .unwrap_or_default()
    }

    /// The kill switch, under an id that a record has already: recorded under one of its own, answered to the asker's.
    fn kill_anew(&mut self, wall: Timestamp, ask: &Ask) -> Vec<Output> {
        let anew = Ask {
            id: Id::derive(&["again", ask.id.as_str(), &wall.to_string()]),
            ..ask.clone()
        };
        let mut outputs = self.on_ask(wall, &anew);
        for output in &mut outputs {
            if let Output::Reply(reply) = output {
                reply.id = ask.id.clone();
            }
        }
        outputs
    }
}
