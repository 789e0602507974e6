//! The whole stage on a real NATS server: bars in, signals out, models dropped in while it runs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use protocol::decision::{Alert, ModelChange, ModelEvent, Signal};
use protocol::market::{Bar, BarSize};
use protocol::operator::{Health, HealthState};
use protocol::settings::Settings;
use protocol::{Price, Quantity, Timestamp, subject};
use runtime::testing::Server;
use runtime::{Bus, CancellationToken, Subscription};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use crate::onnx;

const WAIT: Duration = Duration::from_secs(20);

fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn settings(models: &Path) -> Settings {
    let text = fs::read_to_string(folder().join("services/config.toml")).unwrap();
    let mut settings = runtime::config::parse(&text).unwrap();
    settings.market.bar_size = BarSize::ONE_MINUTE;
    settings.signal.models = models.to_owned();
    settings
}

/// The stage while it runs.
struct Stage {
    server: Server,
    models: tempfile::TempDir,
    stop: CancellationToken,
    task: JoinHandle<anyhow::Result<()>>,
    bus: Bus,
}

impl Stage {
    /// With some bars of history, and without any model.
    async fn start(history: usize) -> Self {
        let server = Server::start().await;
        let bus = server.bus("market-data").await;
        for index in 0..history {
            keep(&bus, &bar(index, true)).await;
        }
        let models = tempfile::tempdir().unwrap();
        let (stop, task) = run(&server, models.path()).await;
        Self {
            server,
            models,
            stop,
            task,
            bus,
        }
    }

    fn copy(&self, name: &str) {
        for ending in ["toml", "onnx"] {
            let source = folder().join("models/momentum").with_extension(ending);
            fs::copy(source, self.models.path().join(name).with_extension(ending)).unwrap();
        }
    }

    async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(WAIT, self.task)
            .await
            .expect("it ends when told")
            .unwrap()
            .unwrap();
    }
}

async fn run(server: &Server, models: &Path) -> (CancellationToken, JoinHandle<anyhow::Result<()>>) {
    let context = server.context("signal", settings(models)).await;
    let stop = context.stop.clone();
    (stop, tokio::spawn(signal::serve(context)))
}

fn bar(index: usize, warm_up: bool) -> Bar {
    let (symbol, size) = ("SPY".parse().unwrap(), BarSize::ONE_MINUTE);
    let start = Timestamp::from_second(1_381_152_600 + 60 * index as i64).unwrap();
    // Up and up, with a step back now and then.
    let close = Price::new(16_000 + 7 * index as i64 - 5 * (index % 3) as i64, 2);
    Bar {
        id: Bar::id_of(symbol, size, start),
        at: size.end_of(start),
        symbol,
        size,
        start,
        open: close - Price::new(4, 2),
        high: close + Price::new(2, 2),
        low: close - Price::new(6, 2),
        close,
        volume: Quantity::from(1_000 + index % 7),
        complete: true,
        warm_up,
        gap: false,
    }
}

async fn keep(bus: &Bus, bar: &Bar) {
    bus.keep(subject::bar(bar.symbol), &bar.id, bar).await.unwrap();
}

/// The next message that is wanted.
async fn wanted<T: DeserializeOwned>(messages: &mut Subscription<T>, want: impl Fn(&T) -> bool) -> T {
    let find = async {
        loop {
            let message = messages.next().await.expect("the bus is open").body;
            if want(&message) {
                return message;
            }
        }
    };
    tokio::time::timeout(WAIT, find)
        .await
        .expect("it is said in time")
}

/// Drops a file in that is no model at all, with a card that is right about its bytes.
async fn refuse_a_bad_one(stage: &Stage, models: &mut Subscription<ModelEvent>) {
    let bad = b"no model".as_slice();
    let card = fs::read_to_string(folder().join("models/momentum.toml")).unwrap();
    let digest = onnx::sha256(&fs::read(folder().join("models/momentum.onnx")).unwrap());
    fs::write(
        stage.models.path().join("bad.toml"),
        card.replace(&digest, &onnx::sha256(bad)),
    )
    .unwrap();
    fs::write(stage.models.path().join("bad.onnx"), bad).unwrap();
    let refused = wanted(models, |event| {
        event.event == ModelChange::Refused && event.text.contains("ONNX file")
    })
    .await;
    assert!(
        refused.text.starts_with("bad.onnx is not an ONNX file")
            && refused.text.ends_with("; model first goes on"),
        "{}",
        refused.text
    );
}

#[tokio::test]
async fn signals_follow_live_bars_and_models_come_and_go_without_a_restart() {
    let stage = Stage::start(40).await;
    let operator = stage.server.bus("operator").await;
    let mut health = operator
        .subscribe::<Health>(subject::filter::HEALTH)
        .await
        .unwrap();
    let mut models = operator
        .subscribe::<ModelEvent>(subject::filter::MODELS)
        .await
        .unwrap();
    let mut signals = operator
        .subscribe::<Signal>(subject::filter::SIGNALS)
        .await
        .unwrap();

    // Without a model: degraded with a sentence, no crash, and it keeps looking.
    let sick = wanted(&mut health, |health| {
        health.state == HealthState::Degraded && health.text.contains("holds no model")
    })
    .await;
    assert!(sick.text.starts_with("no model decides: "), "{}", sick.text);
    stage.copy("first");
    let loaded = wanted(&mut models, |event| event.event == ModelChange::Loaded).await;
    assert_eq!(loaded.text, "model first decides from the next bar on");
    wanted(&mut health, |health| health.state == HealthState::Ready).await;

    // History asks nothing, each live bar once.
    keep(&stage.bus, &bar(40, true)).await;
    keep(&stage.bus, &bar(41, false)).await;
    let mut again = bar(41, false);
    again.volume += Quantity::ONE;
    stage
        .bus
        .publish(subject::bar(again.symbol), &again)
        .await
        .unwrap();
    keep(&stage.bus, &bar(42, false)).await;
    let (first, second) = (
        wanted(&mut signals, |_| true).await,
        wanted(&mut signals, |_| true).await,
    );
    assert_eq!(
        (first.cause, second.cause),
        (bar(41, false).id, bar(42, false).id)
    );
    assert_eq!((first.at, first.model.as_str()), (bar(41, false).at, "first"));
    assert!((first.down + first.flat + first.up - 1.0).abs() < 2e-6);

    // A bad one is refused with its reason, and the old one goes on.
    refuse_a_bad_one(&stage, &mut models).await;
    keep(&stage.bus, &bar(43, false)).await;
    assert_eq!(wanted(&mut signals, |_| true).await.model, "first");

    // A newer good one takes over between two bars.
    stage.copy("second");
    let loaded = wanted(&mut models, |event| event.event == ModelChange::Loaded).await;
    assert_eq!(
        loaded.text,
        "model second decides from the next bar on, instead of first"
    );
    keep(&stage.bus, &bar(44, false)).await;
    assert_eq!(wanted(&mut signals, |_| true).await.model, "second");
    stage.end().await;
}

#[tokio::test]
async fn a_restart_warms_up_from_the_stream_and_repeats_nothing() {
    let stage = Stage::start(0).await;
    let operator = stage.server.bus("operator").await;
    let mut signals = operator
        .subscribe::<Signal>(subject::filter::SIGNALS)
        .await
        .unwrap();
    let mut models = operator
        .subscribe::<ModelEvent>(subject::filter::MODELS)
        .await
        .unwrap();
    stage.copy("only");
    wanted(&mut models, |event| event.event == ModelChange::Loaded).await;
    for index in 0..50 {
        keep(&stage.bus, &bar(index, false)).await;
    }
    let before = wanted(&mut signals, |signal| signal.cause == bar(49, false).id).await;
    stage.stop.cancel();
    tokio::time::timeout(WAIT, stage.task)
        .await
        .expect("it ends when told")
        .unwrap()
        .unwrap();

    let (stop, task) = run(&stage.server, stage.models.path()).await;
    wanted(&mut models, |event| event.event == ModelChange::Loaded).await;
    keep(&stage.bus, &bar(50, false)).await;
    let after = wanted(&mut signals, |_| true).await;
    assert_eq!(
        after.cause,
        bar(50, false).id,
        "no bar from before the restart is decided on again"
    );
    assert!(after.up > 0.0 && before.model_hash == after.model_hash);
    stop.cancel();
    tokio::time::timeout(WAIT, task)
        .await
        .expect("it ends when told")
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_folder_that_is_not_there_is_said_and_waited_for() {
    let server = Server::start().await;
    let operator = server.bus("operator").await;
    let mut alerts = operator
        .subscribe::<Alert>(subject::filter::ALERTS)
        .await
        .unwrap();
    let models = tempfile::tempdir().unwrap();
    let missing = models.path().join("later");
    let (stop, task) = run(&server, &missing).await;
    let alert = wanted(&mut alerts, |alert| alert.service == "signal").await;
    assert!(
        alert.text.contains("can't be read") && alert.text.contains("make it or correct the setting"),
        "{}",
        alert.text
    );
    fs::create_dir(&missing).unwrap();
    for ending in ["toml", "onnx"] {
        fs::copy(
            folder().join("models/momentum").with_extension(ending),
            missing.join("late").with_extension(ending),
        )
        .unwrap();
    }
    wanted(&mut alerts, |alert| {
        alert.text.contains("model late decides from the next bar on")
    })
    .await;
    stop.cancel();
    tokio::time::timeout(WAIT, task)
        .await
        .expect("it ends when told")
        .unwrap()
        .unwrap();
}
