//! Turns signals into orders: a shell around [`engine::desk`]. Broker truth first, intent before order, and an end at
//! the first doubt: the next incarnation reads the truth again.
//!
//! [`start`] is the one sequence of every start; [`leader`] is the loop after it and [`ears`] what wakes it;
//! [`broker`] is the rim to the gateway; [`latch`] is the kill switch of this machine and [`sweep`] what
//! it does before there is a bus; [`halted`] is what is left after a
//! contradiction; [`room`] is how full LEDGER is; [`witness`] remembers on disk what the ledger must contain.

mod broker;
mod ears;
mod halted;
mod latch;
mod leader;
mod room;
mod start;
mod sweep;
mod truth;
mod witness;
mod writer;

use std::path::Path;

use protocol::decision::Level;
use protocol::operator::HealthState;
use protocol::settings::Settings;
use runtime::Context;

use latch::Latch;
use sweep::Sweep;

/// What must be heard from the first moment: the kill switch of this machine, and what it does while there is no bus.
#[derive(Debug)]
pub struct Watch {
    latch: Latch,
    sweep: Sweep,
}

/// Begins to watch the kill switch of a state folder.
///
/// # Errors
/// When the signal can't be watched.
pub fn watch(settings: &Settings, state: &Path) -> anyhow::Result<Watch> {
    let latch = Latch::watch(state)?;
    let sweep = Sweep::start(latch.clone(), &settings.broker);
    Ok(Watch { latch, sweep })
}

/// Runs one incarnation: stands by until it may lead, then trades until it must end.
///
/// # Errors
/// [`runtime::code::AGAIN`] at any doubt, so that the supervisor starts the next incarnation.
pub async fn serve(context: Context, watch: Watch) -> anyhow::Result<()> {
    let Watch { latch, sweep } = watch;
    // From here on the one that leads looks at the switch, and needs the client id.
    sweep.end().await;
    let outcome = match start::lead(&context, latch.clone()).await {
        Ok(Some(leader)) => tokio::select! {
            outcome = leader.trade(&context) => outcome,
            never = room::watch(&context.bus) => match never {},
        },
        Ok(None) => Ok(()),
        Err(error) => Err(error),
    };
    let contradiction = match outcome {
        Err(error) => error.downcast::<leader::Contradiction>()?,
        Ok(()) => return Ok(()),
    };
    // A restart would only read the same again; a person must look.
    let text = contradiction.0;
    let bus = &context.bus;
    bus.alert("contradiction", Level::Critical, text.clone()).await;
    context
        .health
        .set(HealthState::Degraded, format!("halted: {text}"));
    halted::answer(&context, &latch, &text).await
}
