//! signal: complete bars in, the model's opinion out.
//!
//! A shell around [`engine::signal`]: [`model`] is the checked ONNX model, [`folder`] watches for new ones. All
//! that can happen is an [`Input`], and one loop reacts. Bars of the past warm features up and decide nothing.

use std::time::Instant;

use engine::signal::{Question, Signals, weigh};
use protocol::decision::{Level, ModelChange, ModelEvent, Signal};
use protocol::market::Bar;
use protocol::operator::HealthState;
use protocol::{Hash, Id, subject};
use runtime::{Context, Message, Subscription};
use tokio::sync::mpsc;

pub mod card;
mod folder;
pub mod graph;
pub mod model;

use folder::Found;
use model::{Model, Refused};

/// Messages of MARKET that are read to warm features up: the bars of a long watchlist, running ones included.
const HISTORY_MAX: u64 = 60_000;
/// What came of looks at the folder that waits to be handled.
const FOUND_MAX: usize = 64;
/// Wall time between two alerts about a model that answers wrongly.
const ALERT_SECONDS: u64 = 60;

/// Everything that can happen to this stage.
#[derive(Debug)]
enum Input {
    /// A bar of the present.
    Bar(Box<Bar>),
    /// The folder of models changed.
    Found(Found),
    /// The stage must end.
    Stop,
}

/// Everything that can follow.
#[derive(Debug)]
enum Output {
    /// An opinion.
    Signal(Signal),
    /// What became of a model, with the kind and level of its alert.
    Model(ModelEvent),
    /// The model gave an answer that is none.
    Wrong(String),
}

/// The stage between its inputs.
struct Stage {
    context: Context,
    signals: Signals,
    model: Option<Model>,
    /// Why there is no model, while there is none.
    without: String,
    count: u64,
    wrong_at: Option<Instant>,
}

/// Runs the stage until it is stopped.
///
/// # Errors
/// When the bus is closed.
pub async fn serve(context: Context) -> anyhow::Result<()> {
    let settings = context.settings.signal.clone();
    folder::check_only(&settings.model).map_err(|text| runtime::Exit::error(64, text))?;
    let (sender, mut found) = mpsc::channel(FOUND_MAX);
    let watch = tokio::spawn(folder::watch(
        settings.models,
        settings.model,
        sender,
        context.stop.clone(),
    ));
    // What is said while history is read waits here.
    let mut bars: Subscription<Bar> = context.bus.subscribe(subject::filter::BARS).await?;
    let signals = Signals::new(context.settings.market.bar_size);
    let mut stage = Stage {
        signals,
        model: None,
        without: String::new(),
        count: 0,
        wrong_at: None,
        context,
    };
    let stop = stage.context.stop.clone();
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        result = stage.warm_up() => stage.say_warm_up(result).await,
    }
    stage.say_health();
    loop {
        let input = tokio::select! {
            biased;
            () = stop.cancelled() => Input::Stop,
            // A model is taken up between two bars.
            Some(found) = found.recv() => Input::Found(found),
            Some(Message { body, .. }) = bars.next() => Input::Bar(Box::new(body)),
            else => anyhow::bail!("the bus was closed"),
        };
        if matches!(input, Input::Stop) {
            break;
        }
        for output in stage.step(input) {
            stage.perform(output).await?;
        }
    }
    // It ends by itself with `stop`.
    let _ = watch.await;
    Ok(())
}

impl Stage {
    /// Reads the newest bars of the stream up to its end.
    async fn warm_up(&mut self) -> anyhow::Result<u64> {
        let bus = self.context.bus.clone();
        let head = bus
            .history::<Bar>(subject::stream::MARKET, subject::filter::BARS, u64::MAX >> 1)
            .await?
            .head;
        if head == 0 {
            return Ok(0);
        }
        let from = head.saturating_sub(HISTORY_MAX);
        let mut history = bus
            .history::<Bar>(subject::stream::MARKET, subject::filter::BARS, from)
            .await?;
        let mut count = 0;
        loop {
            let stored = history.next().await?;
            self.signals.observe(&stored.message, false);
            count += 1;
            if stored.sequence >= history.head {
                return Ok(count);
            }
        }
    }

    async fn say_warm_up(&self, result: anyhow::Result<u64>) {
        match result {
            Ok(count) => tracing::info!(bars = count, "warmed up"),
            Err(error) => {
                let text = format!(
                    "bars of the past can't be read ({error:#}): features warm up on live bars, which takes a while"
                );
                self.context.bus.alert("no-history", Level::Warning, text).await;
            }
        }
    }

    fn step(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Bar(bar) => self.bar(&bar),
            Input::Found(Found::Loaded(model)) => vec![self.take(*model)],
            Input::Found(Found::Refused(name, refused)) => vec![self.refuse(name, refused)],
            Input::Found(Found::None(reason)) => {
                let refused = Refused {
                    hash: Hash::zero(),
                    reason,
                };
                vec![self.refuse("none".to_owned(), refused)]
            }
            Input::Stop => Vec::new(),
        }
    }

    fn bar(&mut self, bar: &Bar) -> Vec<Output> {
        let Some(question) = self.signals.observe(bar, true) else {
            return Vec::new();
        };
        let Some(model) = &self.model else {
            return Vec::new();
        };
        let begin = Instant::now();
        let signal = answer(model, &question);
        self.context
            .health
            .figure("answer_us", begin.elapsed().as_secs_f64() * 1e6);
        match signal {
            Ok(signal) => vec![Output::Signal(signal)],
            Err(reason) => vec![Output::Wrong(format!(
                "model {} gives no signal for {}: {reason}; put a better one into the folder",
                model.identity.name, bar.symbol
            ))],
        }
    }

    /// From the next bar on this model decides.
    fn take(&mut self, model: Model) -> Output {
        let text = match &self.model {
            Some(old) => format!(
                "model {} decides from the next bar on, instead of {}",
                model.identity.name, old.identity.name
            ),
            None => format!("model {} decides from the next bar on", model.identity.name),
        };
        let (name, hash) = (model.identity.name.clone(), model.identity.hash.clone());
        self.model = Some(model);
        self.say_health();
        Output::Model(event(ModelChange::Loaded, name, hash, text))
    }

    /// This file never decides; what decided before goes on.
    fn refuse(&mut self, name: String, refused: Refused) -> Output {
        let rest = match &self.model {
            Some(model) => format!("model {} goes on", model.identity.name),
            None => {
                self.without.clone_from(&refused.reason);
                "no model decides, so there are no signals".to_owned()
            }
        };
        self.say_health();
        Output::Model(event(
            ModelChange::Refused,
            name,
            refused.hash,
            format!("{}; {rest}", refused.reason),
        ))
    }

    async fn perform(&mut self, output: Output) -> anyhow::Result<()> {
        let bus = &self.context.bus;
        match output {
            Output::Signal(signal) => {
                self.count += 1;
                self.context.health.figure("signals_count", self.count as f64);
                bus.publish(subject::signal(signal.symbol), &signal).await
            }
            Output::Model(event) => {
                let level = if event.event == ModelChange::Refused {
                    Level::Warning
                } else {
                    Level::Info
                };
                let kind = if event.event == ModelChange::Refused {
                    "model-refused"
                } else {
                    "model-loaded"
                };
                bus.publish(subject::model(event.event), &event).await?;
                bus.alert(kind, level, event.text).await;
                Ok(())
            }
            Output::Wrong(text) => {
                if self
                    .wrong_at
                    .is_none_or(|at| at.elapsed().as_secs() >= ALERT_SECONDS)
                {
                    self.wrong_at = Some(Instant::now());
                    bus.alert("model-wrong", Level::Critical, text).await;
                }
                Ok(())
            }
        }
    }

    fn say_health(&self) {
        match &self.model {
            Some(_) => self.context.health.set(HealthState::Ready, ""),
            None if self.without.is_empty() => self
                .context
                .health
                .set(HealthState::Starting, "looking for a model"),
            None => self.context.health.set(
                HealthState::Degraded,
                format!("no model decides: {}", self.without),
            ),
        }
    }
}

fn answer(model: &Model, question: &Question) -> Result<Signal, String> {
    let answer = model.answer(&question.row)?;
    weigh(question, &model.identity, &answer).map_err(|error| error.to_string())
}

fn event(change: ModelChange, model: String, model_hash: Hash, text: String) -> ModelEvent {
    let at = runtime::now();
    let id = Id::derive(&[
        "model",
        &format!("{change:?}"),
        &model,
        &model_hash.0,
        &at.to_string(),
    ]);
    ModelEvent {
        id,
        at,
        event: change,
        model,
        model_hash,
        text,
    }
}
