//! What a browser sees: a snapshot of everything, then every event, and the same state as the bridge's.

use engine::portfolio::Portfolio;
use protocol::decision::{Alert, Level, Regime, Signal};
use protocol::feed::Frame;
use protocol::ledger::{Mode, TradingState};
use protocol::market::{Bar, BarSize, Phase, Quote, Session};
use protocol::operator::{Answer, HealthState};
use protocol::subject::{self, filter};
use protocol::{Hash, Id};

use crate::scene::{Browser, Scene, at, symbol};

fn bar(minute: i64, complete: bool) -> Bar {
    let (symbol, size, start) = (symbol("SPY"), BarSize::ONE_MINUTE, at(minute * 60));
    let price = "66.40".parse().unwrap();
    Bar {
        id: Bar::id_of(symbol, size, start),
        at: size.end_of(start),
        symbol,
        size,
        start,
        open: price,
        high: price,
        low: price,
        close: price,
        volume: 100.into(),
        complete,
        warm_up: false,
        gap: false,
    }
}

fn quote(n: i64) -> Quote {
    Quote {
        id: Id::derive(&["quote", &n.to_string()]),
        at: at(n),
        symbol: symbol("SPY"),
        bid: Some("66.39".parse().unwrap()),
        ask: Some("66.41".parse().unwrap()),
        last: Some(n.into()),
        bid_size: None,
        ask_size: None,
        previous_close: None,
        tradable: true,
    }
}

fn signal(n: i64) -> Signal {
    Signal {
        id: Id::derive(&["signal", &n.to_string()]),
        at: at(n),
        cause: Bar::id_of(symbol("SPY"), BarSize::ONE_MINUTE, at(0)),
        symbol: symbol("SPY"),
        down: 0.25,
        flat: 0.25,
        up: 0.5,
        regime: Regime::Bull,
        price: n.into(),
        model: "mlp".into(),
        model_hash: Hash::zero(),
    }
}

fn session() -> Session {
    Session {
        id: Id::derive(&["session"]),
        at: at(0),
        phase: Phase::Regular,
        next_change: None,
        source: "broker hours of SPY".into(),
        speed: 1.0,
        connected: true,
    }
}

async fn publish_past(scene: &mut Scene) {
    scene.open(Mode::Paper).await;
    for n in 0..400 {
        let bar = bar(n, true);
        scene
            .bus
            .keep(subject::bar(bar.symbol), &bar.id, &bar)
            .await
            .unwrap();
    }
    scene
        .bus
        .keep(filter::SESSION, &session().id, &session())
        .await
        .unwrap();
    scene
        .bus
        .keep(subject::signal(symbol("SPY")), &signal(1).id, &signal(1))
        .await
        .unwrap();
    let alert = Alert {
        id: Id::derive(&["alert"]),
        at: at(0),
        cause: None,
        service: "execution".into(),
        kind: "old".into(),
        level: Level::Info,
        symbol: None,
        text: "said before the bridge was there".into(),
    };
    scene
        .bus
        .keep(subject::alert("execution", "old"), &alert.id, &alert)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_snapshot_then_events_then_the_same_state() {
    let mut scene = Scene::start().await;
    publish_past(&mut scene).await;
    let running = scene.run().await;
    let (mut browser, snapshot) = Browser::sign_in(running.address).await;
    assert_eq!(snapshot.portfolio.sequence, 3);
    assert_eq!((snapshot.mode, snapshot.watchlist.len()), (Mode::Paper, 2));
    assert_eq!(
        snapshot.bars.len(),
        scene.limits.bars,
        "the newest complete bars, known though the bridge is new"
    );
    assert_eq!(snapshot.bars.last(), Some(&bar(399, true)));
    assert_eq!(snapshot.session, Some(session()));
    assert_eq!(snapshot.signals, [signal(1)]);
    assert_eq!(snapshot.alerts[0].kind, "old");

    let mut portfolio: Portfolio = snapshot.portfolio;
    scene.state(TradingState::Halted, "lunch").await;
    let (sequence, hash, record) = browser
        .find(|frame| match frame {
            Frame::Record {
                sequence,
                hash,
                record,
            } => Some((sequence, hash, record)),
            _ => None,
        })
        .await;
    portfolio.apply(sequence, &hash, &record).unwrap();
    assert_eq!(portfolio.state, TradingState::Halted);
    let mark = browser
        .find(|frame| match frame {
            Frame::Mark { state, .. } if state.sequence == 4 => Some(state),
            _ => None,
        })
        .await;
    assert_eq!(mark, portfolio.mark(), "the page's fold and the bridge's agree");

    events(&scene, &mut browser).await;
    let (_, late) = Browser::sign_in(running.address).await;
    assert_eq!(
        (late.portfolio.mark(), late.quotes, late.signals),
        (portfolio.mark(), vec![quote(1)], vec![signal(2)])
    );
    assert_eq!(late.bars.last(), Some(&bar(400, true)));
    assert_eq!(
        late.equity.last().map(|point| point.at),
        Some(at(401 * 60)),
        "the new bar made a point"
    );
    running.end().await;
}

/// One event of each kind, each seen before the next is said.
async fn events(scene: &Scene, browser: &mut Browser) {
    let spy = symbol("SPY");
    let mut seen =
        async |wanted: Frame<Portfolio>| browser.find(|frame| (frame == wanted).then_some(())).await;
    scene.bus.publish(subject::quote(spy), &quote(1)).await.unwrap();
    seen(Frame::Quote(quote(1))).await;
    for complete in [false, true] {
        scene
            .bus
            .publish(subject::bar(spy), &bar(400, complete))
            .await
            .unwrap();
        seen(Frame::Bar(bar(400, complete))).await;
    }
    scene.bus.publish(subject::signal(spy), &signal(2)).await.unwrap();
    seen(Frame::Signal(signal(2))).await;
    let ready =
        |frame| matches!(frame, Frame::Health(health) if health.state == HealthState::Ready).then_some(());
    browser.find(ready).await;
}

#[tokio::test]
async fn the_curve_comes_from_persistence_whenever_it_answers() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (mut browser, snapshot) = Browser::sign_in(running.address).await;
    assert!(snapshot.equity.is_empty());
    let point = protocol::feed::EquityPoint {
        at: at(0),
        equity: 7.into(),
        cash: 7.into(),
    };
    let mut requests = scene.bus.requests(&subject::query("equity")).await.unwrap();
    let items = vec![point.clone()];
    let answer = tokio::spawn(async move {
        let request = requests.next().await.unwrap();
        request
            .reply(&Answer::Page {
                items,
                next: None,
                state: None,
            })
            .await;
    });
    let again = browser
        .find(|frame| match frame {
            Frame::Snapshot(snapshot) => Some(snapshot),
            _ => None,
        })
        .await;
    assert_eq!(again.equity, [point]);
    answer.await.unwrap();
    running.end().await;
}

#[tokio::test]
async fn a_forged_record_is_never_shown() {
    let mut scene = Scene::start().await;
    scene.open(Mode::Paper).await;
    let running = scene.run().await;
    let (mut browser, snapshot) = Browser::sign_in(running.address).await;
    let mut forged = serde_json::to_value(&snapshot.portfolio).unwrap();
    forged["kind"] = "state".into();
    scene.bus.publish("account.state.4", &forged).await.unwrap();
    let text = browser
        .find(|frame| match frame {
            Frame::Record { .. } => panic!("shown"),
            Frame::Alert(alert) => Some(alert.text),
            _ => None,
        })
        .await;
    assert!(text.contains("record 4"), "{text}");
    let (_, late) = Browser::sign_in(running.address).await;
    assert_eq!(late.portfolio.sequence, 3);
    running.end().await;
}
