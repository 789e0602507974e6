//! Forgets the state of a paper market. Refused while it runs, for a live account, and while positions are
//! open.

use std::path::Path;

use anyhow::Context as _;
use protocol::ledger::{Entry, Mode, Record};
use protocol::operator::{Answer, HealthState, Query};
use protocol::subject::{self, stream};
use runtime::{Exit, code};

use crate::arguments::RunAll;
use crate::member::Say;
use crate::plan::Plan;
use crate::stack::Stack;
use crate::state;

/// Records looked at for the account's identity; it is among the first.
const RECORDS_MAX: u64 = 1_000;

/// Forgets a state folder after asking its own LEDGER whether that is safe.
///
/// # Errors
/// [`code::AGAIN`] while it runs, [`code::CONTRADICTION`] for a live account or open positions.
pub async fn reset(root: &Path, folder: &Path, say: Say) -> anyhow::Result<()> {
    if !folder.join("config.toml").is_file() {
        say(&format!(
            "nothing to forget: {} is no state folder",
            folder.display()
        ));
        return Ok(());
    }
    if state::is_held(folder) {
        let text = format!("a pipeline runs on {}: `./just stop` first", folder.display());
        return Err(Exit::error(code::AGAIN, text));
    }
    if folder.join("nats").is_dir() {
        refuse_what_matters(root, folder, say.clone()).await?;
    }
    std::fs::remove_dir_all(folder).with_context(|| format!("remove {}", folder.display()))?;
    say(&format!("forgot {}", folder.display()));
    Ok(())
}

/// Starts the server and persistence for a moment: what is open is what the fold of LEDGER says, nothing
/// else.
async fn refuse_what_matters(root: &Path, folder: &Path, say: Say) -> anyhow::Result<()> {
    let arguments = RunAll {
        config: Some(folder.join("config.toml")),
        state: Some(folder.to_owned()),
        nats_port: Some(0),
        dashboard_port: Some(0),
        ..RunAll::default()
    };
    let plan = Plan::as_it_was(root, &arguments)?;
    say("looking for open positions");
    let mut stack = Stack::prepare(plan, say)?;
    let outcome = look(&mut stack).await;
    stack.stop().await;
    outcome
}

async fn look(stack: &mut Stack) -> anyhow::Result<()> {
    stack.start_server().await?;
    stack.start_stage("persistence").await?;
    let health = stack.wait_until_settled("persistence").await;
    anyhow::ensure!(
        health.is_some_and(|health| health.state == HealthState::Ready),
        "persistence can't read LEDGER"
    );
    let bus = stack.bus().context("the server is started")?;
    let folder = stack.plan.state.display();
    let mut records = bus
        .history::<Record>(stream::LEDGER, "account.identity.>", 1)
        .await?;
    for _ in 0..records.head.min(RECORDS_MAX).min(1) {
        if let Entry::Identity(identity) = records.next().await?.message.entry
            && identity.mode == Mode::Live
        {
            let text = format!(
                "{folder} is the state of the live account {}: it is not forgotten by a command",
                identity.account
            );
            return Err(Exit::error(code::CONTRADICTION, text));
        }
    }
    let answer: Answer<serde_json::Value> = bus
        .request(&subject::query("positions"), &Query::default())
        .await?;
    match answer {
        Answer::Page { items, .. } => {
            let open: Vec<_> = items
                .iter()
                .filter(|item| is_open(item))
                .filter_map(|item| item["symbol"].as_str())
                .collect();
            if open.is_empty() {
                return Ok(());
            }
            let text = format!(
                "{folder} has {} open positions ({}): start it, flatten, stop it, then reset",
                open.len(),
                open.join(" ")
            );
            Err(Exit::error(code::CONTRADICTION, text))
        }
        Answer::Error { error } => Err(anyhow::anyhow!("positions are not known: {}", error.message)),
    }
}

fn is_open(position: &serde_json::Value) -> bool {
    let quantity = position["quantity"].as_str().unwrap_or_default();
    quantity
        .parse::<protocol::Quantity>()
        .map_or(true, |quantity| !quantity.is_zero())
}
