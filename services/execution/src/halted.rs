//! An execution that found a contradiction: it stays up, orders nothing, and answers who asks something of it.

use std::collections::VecDeque;
use std::future::pending;
use std::time::Duration;

use protocol::Id;
use protocol::operator::{Reply, Verb};
use protocol::subject::filter;
use runtime::{Context, Request, now};
use tokio::time::{Instant, sleep_until};

use crate::latch::Latch;

/// Time after which a question is answered. Should another execution lead, its answer comes first, and that one counts.
const ANSWER_MS: u64 = 2_000;
/// Questions that wait for their answer, at most; more are not answered.
const QUESTIONS_MAX: usize = 64;

/// Answers commands until the stage is stopped. Nothing can be recorded in a ledger that is not what was written, and who
/// does not know what works at the broker must not cancel it: all is refused but the kill switch, which is a file.
///
/// # Errors
/// When the bus is closed.
pub async fn answer(context: &Context, latch: &Latch, why: &str) -> anyhow::Result<()> {
    let mut commands = context.bus.requests(filter::COMMANDS).await?;
    let mut web_commands = context.bus.requests(filter::WEB_COMMANDS).await?;
    let mut waiting: VecDeque<(Instant, Request, Reply)> = VecDeque::new();
    loop {
        let due = waiting.front().map(|(due, ..)| *due);
        let ripe = async {
            match due {
                Some(due) => sleep_until(due).await,
                None => pending().await,
            }
        };
        let request = tokio::select! {
            biased;
            () = context.stop.cancelled() => return Ok(()),
            request = commands.next() => request,
            request = web_commands.next() => request,
            () = ripe => {
                if let Some((_, request, reply)) = waiting.pop_front() {
                    request.reply(&reply).await;
                }
                continue;
            }
        };
        let Some(request) = request else {
            anyhow::bail!("the bus is closed");
        };
        let reply = reply(latch, request.last_token(), why);
        if waiting.len() < QUESTIONS_MAX {
            waiting.push_back((Instant::now() + Duration::from_millis(ANSWER_MS), request, reply));
        }
    }
}

fn reply(latch: &Latch, verb: &str, why: &str) -> Reply {
    let accepted = verb.parse() == Ok(Verb::Kill) && latch.set("command.kill");
    let text = if accepted {
        format!(
            "the file KILL is written, which is looked at before any order; execution is halted already ({why}): what works at the broker, cancel there"
        )
    } else {
        format!(
            "execution is halted and neither orders, cancels nor records anything ({why}): cancel and close in the broker's own program, put that right and start it again"
        )
    };
    Reply {
        id: Id::derive(&["command", verb, "halted", &now().to_string()]),
        at: now(),
        verb: verb.to_owned(),
        accepted,
        text,
    }
}
