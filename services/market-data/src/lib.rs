//! market-data: the broker's ticks and bars in; quotes, bars and the session on the bus.
//!
//! A shell around [`engine::market`]: [`broker`] is the rim to the gateway, [`keeper`] the rim to the stream
//! that keeps complete bars. All that can happen is an [`Input`], and one loop reacts.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::market::{self, Market, Output, Plan};
use jiff::SignedDuration;
use protocol::operator::HealthState;
use protocol::settings::Settings;
use protocol::subject;
use tokio::sync::mpsc;

mod broker;
mod keeper;
mod ticks;

use keeper::Keeper;

/// Events of the broker that wait to be handled.
const EVENTS_MAX: usize = 4096;

/// Everything that can happen to this stage.
#[derive(Debug)]
enum Input {
    /// The broker's rim says something.
    Broker(broker::Event),
    /// The wall clock moved on.
    Wake,
    /// The stage must end.
    Stop,
}

/// The stage between its inputs.
struct Stage {
    context: runtime::Context,
    market: Market,
    keeper: Keeper,
    /// Why the gateway is not reached, while it is not.
    down: Option<String>,
    counts: BTreeMap<&'static str, u64>,
}

/// Runs the stage until it is stopped.
///
/// # Errors
/// When the bus is closed.
pub async fn serve(context: runtime::Context) -> anyhow::Result<()> {
    let (sender, mut events) = mpsc::channel(EVENTS_MAX);
    let plan = plan(&context.settings);
    let rim = tokio::spawn(broker::run(
        broker::Rim::new(&context.settings),
        sender,
        context.stop.clone(),
    ));
    let keeper = Keeper::start(&context.bus, &plan.watchlist, &context.stop);
    let stop = context.stop.clone();
    let mut stage = Stage {
        context,
        market: Market::new(plan),
        keeper,
        down: None,
        counts: BTreeMap::new(),
    };
    loop {
        let now = runtime::now();
        let wait = stage.market.next_wake(now).duration_since(now);
        let input = tokio::select! {
            biased;
            () = stop.cancelled() => Input::Stop,
            Some(event) = events.recv() => Input::Broker(event),
            () = tokio::time::sleep(Duration::try_from(wait).unwrap_or_default()) => Input::Wake,
        };
        if matches!(input, Input::Stop) {
            break;
        }
        for output in stage.step(input) {
            stage.perform(output).await?;
        }
        stage.say_health();
    }
    // The rim ends by itself with `stop`; its socket is closed when it has.
    let _ = rim.await;
    stage.keeper.finish().await;
    Ok(())
}

fn plan(settings: &Settings) -> Plan {
    Plan {
        watchlist: settings.market.watchlist.clone(),
        bar_size: settings.market.bar_size,
        quote_interval: SignedDuration::from_millis(settings.market.quote_interval_ms.into()),
        stale_after: SignedDuration::from_secs(settings.market.stale_after_seconds.into()),
    }
}

impl Stage {
    fn step(&mut self, input: Input) -> Vec<Output> {
        let now = runtime::now();
        match input {
            Input::Broker(broker::Event::Market(input)) => {
                if matches!(input, market::Input::Linked) {
                    self.down = None;
                }
                if let market::Input::Unlinked { reason } = &input {
                    self.down = Some(reason.clone());
                }
                self.market.step(now, input)
            }
            Input::Broker(broker::Event::Down(reason)) => {
                self.down = Some(reason.clone());
                self.market.step(now, market::Input::Unlinked { reason })
            }
            Input::Wake => self.market.step(now, market::Input::Wake),
            Input::Stop => Vec::new(),
        }
    }

    async fn perform(&mut self, output: Output) -> anyhow::Result<()> {
        let bus = &self.context.bus;
        match output {
            Output::Quote(quote) => {
                *self.counts.entry("quotes_count").or_default() += 1;
                bus.publish(subject::quote(quote.symbol), &quote).await
            }
            Output::Bar(bar) if bar.complete => {
                *self.counts.entry("bars_count").or_default() += 1;
                if !bar.warm_up {
                    let speed = self.market.speed().max(f64::MIN_POSITIVE);
                    let late = self.market.market_time(runtime::now()).duration_since(bar.at);
                    self.context
                        .health
                        .figure("bar_lag_ms", late.as_secs_f64() * 1000.0 / speed);
                }
                self.keeper.keep(bar).await;
                // A burst of bars leaves one by one, not when the last is worked off.
                tokio::task::yield_now().await;
                Ok(())
            }
            Output::Bar(bar) => bus.publish(subject::bar(bar.symbol), &bar).await,
            Output::Session(session) => bus.publish(subject::filter::SESSION, &session).await,
            Output::Refused { symbol, text } => {
                *self.counts.entry("refused_count").or_default() += 1;
                tracing::debug!(symbol = symbol.as_str(), text, "data refused");
                Ok(())
            }
            Output::Alert { kind, level, text } => {
                bus.alert(kind, level, text).await;
                Ok(())
            }
        }
    }

    fn say_health(&mut self) {
        let health = &self.context.health;
        for (name, count) in &self.counts {
            health.figure(name, *count as f64);
        }
        health.figure("market_speed", self.market.speed());
        health.figure("silent_symbols_count", self.market.silent_count() as f64);
        health.figure("cold_symbols_count", self.market.cold_count() as f64);
        health.figure("bars_unkept_count", self.keeper.waiting() as f64);
        let (cold, unknown) = (self.market.cold_count(), self.market.unknown());
        let (state, text) = if let Some(reason) = &self.down {
            (HealthState::Degraded, reason.clone())
        } else if cold == self.context.settings.market.watchlist.len() {
            (HealthState::Starting, "waiting for the broker's data".to_owned())
        } else if cold > 0 {
            (
                HealthState::Starting,
                "the broker's history is still to come".to_owned(),
            )
        } else if !unknown.is_empty() {
            let names: Vec<&str> = unknown.iter().map(protocol::Symbol::as_str).collect();
            (
                HealthState::Degraded,
                format!(
                    "the broker sends no data of {}: correct market.watchlist",
                    names.join(" ")
                ),
            )
        } else if let Some(doubt) = self.market.doubt() {
            (HealthState::Degraded, doubt.to_owned())
        } else {
            (HealthState::Ready, String::new())
        };
        health.set(state, text);
    }
}
