//! Turns signals into orders: a shell around [`engine::trader`]. Broker truth first, intent before order, and an end at
//! the first doubt: the next incarnation reads the truth again.
//!
//! [`start`] is the one sequence of every start; [`desk`] is the loop after it and [`ears`] what wakes it;
//! [`broker`] is the rim to the gateway; [`latch`] is the kill switch of this machine;
//! [`witness`] remembers on disk what the ledger must contain.

mod broker;
mod desk;
mod ears;
mod latch;
mod notice;
mod start;
mod truth;
mod witness;
mod writer;

use protocol::decision::Level;
use protocol::operator::HealthState;
use runtime::Context;

pub use latch::Latch;

/// Runs one incarnation: stands by until it may lead, then trades until it must end.
///
/// # Errors
/// [`runtime::code::AGAIN`] at any doubt, so that the supervisor starts the next incarnation.
pub async fn serve(context: Context, latch: Latch) -> anyhow::Result<()> {
    match start::lead(&context, latch).await? {
        start::Start::Lead(desk) => desk.trade(&context).await,
        start::Start::Stopped => Ok(()),
        start::Start::Contradiction(text) => {
            // A restart would only read the same again; a person must look.
            context
                .bus
                .alert("contradiction", Level::Critical, text.clone())
                .await;
            context
                .health
                .set(HealthState::Degraded, format!("halted: {text}"));
            context.stop.cancelled().await;
            Ok(())
        }
    }
}
