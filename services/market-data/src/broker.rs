//! The rim to the gateway: one link after the other, each with all subscriptions and the history that joins
//! them to what was known before. Everything received goes on in the order in which it came.

use std::time::Duration;

use engine::link::Broken;
use engine::market::Input;
use engine::market::hours::Hours;
use futures::stream::{BoxStream, FuturesUnordered, SelectAll};
use futures::{FutureExt as _, StreamExt as _};
use ibapi::contracts::{Contract, ContractDetails};
use ibapi::market_data::realtime::{self, TickTypes};
use ibapi::market_data::{MarketDataType, TradingHours};
use ibapi::subscriptions::{NoticeStream, SubscriptionItem};
use ibapi::{Client, Error, Notice, SUBSCRIPTION_LAG_CODE};
use jiff::Timestamp;
use protocol::Symbol;
use protocol::settings::Settings;
use runtime::CancellationToken;
use tokio::sync::mpsc;

use crate::ticks;

mod history;

/// How long a handshake may take.
const CONNECT_SECONDS_MAX: u64 = 10;
/// How long the gateway may take to answer a question.
const ANSWER_SECONDS_MAX: u64 = 20;
/// Wall time before the first try again, doubled with each further one.
const BACKOFF_MS: u64 = 250;
/// Most wall time between two tries.
const BACKOFF_MS_MAX: u64 = 5_000;
/// Wall time between two looks at a gateway that does not say that its own link is up.
const SILENT_MS: u64 = 1_000;
/// Messages of one subscription that the library holds.
const CHANNEL_MAX: usize = 2_048;
/// Questions about contracts that are under way at the same time.
const DETAILS_MAX: usize = 8;
/// Questions about history that are under way at the same time.
const HISTORIES_MAX: usize = 4;
/// Wall time between two looks at the broker's clock.
const CLOCK_MS: u64 = 1_000;
/// The same while the clock runs faster than the wall's.
const CLOCK_FAST_MS: u64 = 100;
/// Wall time between two questions for the trading hours.
const HOURS_SECONDS: u64 = 60;

/// What the rim says.
#[derive(Debug)]
pub enum Event {
    /// Something of the market.
    Market(Input),
    /// There is no link, for this reason; it is being tried again.
    Down(String),
}

/// What the rim needs to know.
#[derive(Debug, Clone)]
pub struct Rim {
    address: String,
    client_id: i32,
    plan: history::Plan,
    watchlist: Vec<Symbol>,
}

impl Rim {
    /// The rim of these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            address: settings.broker.address.clone(),
            client_id: settings.broker.market_data_client_id,
            plan: history::Plan {
                size: settings.market.bar_size,
                count: settings.market.warm_up_bars,
            },
            watchlist: settings.market.watchlist.clone(),
        }
    }
}

/// Why a link ended.
enum End {
    /// The stage must end.
    Stop,
    /// For this reason, in a sentence.
    Lost(String),
    /// The broker has its data again: a new link takes everything up anew.
    Renew,
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// What a subscription brings.
enum Item {
    Tick(TickTypes),
    Bar(realtime::Bar),
}

type Live = SelectAll<BoxStream<'static, (Symbol, Result<SubscriptionItem<Item>, Error>)>>;

/// Keeps a link to the gateway until `stop`.
pub async fn run(rim: Rim, events: mpsc::Sender<Event>, stop: CancellationToken) {
    let mut backoff_ms = BACKOFF_MS;
    while !stop.is_cancelled() {
        let mut linked = false;
        let end = tokio::select! {
            biased;
            () = stop.cancelled() => End::Stop,
            end = link(&rim, &events, &mut linked) => end,
        };
        if linked {
            backoff_ms = BACKOFF_MS;
        }
        match end {
            End::Stop => return,
            End::Renew => continue,
            End::Lost(reason) => {
                let text = format!(
                    "the gateway at {} is not reached as client {} ({reason}): start it or correct broker.address; it is tried again by itself",
                    rim.address, rim.client_id
                );
                if events.send(Event::Down(text)).await.is_err() {
                    return;
                }
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(Duration::from_millis(backoff_ms)) => {}
        }
        backoff_ms = (backoff_ms * 2).min(BACKOFF_MS_MAX);
    }
}

/// One link from its handshake to its end.
async fn link(rim: &Rim, events: &mpsc::Sender<Event>, linked: &mut bool) -> End {
    let connect = Client::builder()
        .address(&rim.address)
        .client_id(rim.client_id)
        .max_reconnect_attempts(0)
        .channel_capacity(CHANNEL_MAX)
        .one_shot_timeout(Duration::from_secs(ANSWER_SECONDS_MAX))
        .connect_with_notice_stream();
    let (client, notices) = match within(CONNECT_SECONDS_MAX, connect).await {
        Ok(linked) => linked,
        Err(end) => return end,
    };
    *linked = true;
    let session = Session {
        rim,
        client: &client,
        events,
    };
    let end = match session.run(notices).await {
        Ok(end) | Err(end) => end,
    };
    client.disconnect().await;
    end
}

/// A link that stands.
struct Session<'a> {
    rim: &'a Rim,
    client: &'a Client,
    events: &'a mpsc::Sender<Event>,
}

impl Session<'_> {
    async fn run(&self, mut notices: NoticeStream) -> Result<End, End> {
        let mut broken = Broken::default();
        self.wait_until_up(&mut notices, &mut broken).await?;
        self.say(Input::Linked).await?;
        let (asked, at) = self.time().await?;
        self.say(Input::ServerTime { asked, at }).await?;
        self.client
            .switch_market_data_type(MarketDataType::Realtime)
            .await?;
        let contracts = self.contracts().await?;
        let live = self.subscribe(&contracts).await?;
        // Asked only now, when everything that follows is heard live.
        let (asked, at) = self.time().await?;
        self.say(Input::ServerTime { asked, at }).await?;
        self.follow(&contracts, live, (notices, broken), at).await
    }

    /// Waits until the gateway has said that its own link to the broker is up, and tells why while it has not.
    async fn wait_until_up(&self, notices: &mut NoticeStream, broken: &mut Broken) -> Result<(), End> {
        while let Some(reason) = broken.why() {
            match tokio::time::timeout(Duration::from_millis(SILENT_MS), notices.next()).await {
                Ok(Some(notice)) => {
                    tracing::info!(notice = notice.to_string(), "the broker says");
                    broken.hear(notice.code, &notice.message);
                }
                Ok(None) => return Err(End::Lost("the link ended".to_owned())),
                Err(_) => {
                    self.say(Input::Unlinked { reason }).await?;
                    // A gateway that is gone does not answer this either.
                    self.time().await?;
                }
            }
        }
        Ok(())
    }

    async fn say(&self, input: Input) -> Result<(), End> {
        self.events
            .send(Event::Market(input))
            .await
            .map_err(|_| End::Stop)
    }

    /// The wall time when the broker was asked for its time, and what it answered.
    async fn time(&self) -> Result<(Timestamp, Timestamp), End> {
        let asked = runtime::now();
        let at = within(ANSWER_SECONDS_MAX, self.client.server_time_millis()).await?;
        let at = ticks::instant(at).ok_or_else(|| End::Lost("its clock is out of range".to_owned()))?;
        Ok((asked, at))
    }

    /// The contracts of the watchlist, in its order, without those that the broker does not know.
    async fn contracts(&self) -> Result<Vec<(Symbol, Contract)>, End> {
        let ask = |symbol: Symbol| async move { (symbol, self.details(symbol).await) };
        let mut answers =
            futures::stream::iter(self.rim.watchlist.iter().copied().map(ask)).buffered(DETAILS_MAX);
        let mut contracts = Vec::new();
        while let Some((symbol, details)) = answers.next().await {
            match details? {
                Ok(details) => {
                    if contracts.is_empty() {
                        self.say_hours(symbol, &details).await?;
                    }
                    contracts.push((symbol, details.contract));
                }
                Err(reason) => self.say(Input::Unknown { symbol, reason }).await?,
            }
        }
        Ok(contracts)
    }

    /// The details of a symbol; the inner error is the broker's refusal.
    async fn details(&self, symbol: Symbol) -> Result<Result<ContractDetails, String>, End> {
        let contract = Contract::stock(symbol.broker_text()).build();
        let ask = tokio::time::timeout(
            Duration::from_secs(ANSWER_SECONDS_MAX),
            self.client.contract_details(&contract),
        );
        match ask.await {
            Ok(Ok(mut all)) if !all.is_empty() => Ok(Ok(all.swap_remove(0))),
            Ok(Ok(_)) => Ok(Err("no such stock".to_owned())),
            Ok(Err(Error::Notice(notice))) => Ok(Err(notice_text(&notice))),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(End::Lost(format!(
                "no contract details of {symbol} within {ANSWER_SECONDS_MAX} s"
            ))),
        }
    }

    async fn say_hours(&self, symbol: Symbol, details: &ContractDetails) -> Result<(), End> {
        match Hours::parse(
            &details.time_zone_id,
            &details.trading_hours,
            &details.liquid_hours,
        ) {
            Ok(hours) => self.say(Input::Hours { symbol, hours }).await,
            Err(error) => {
                tracing::warn!(
                    symbol = symbol.as_str(),
                    error = error.to_string(),
                    "hours not understood"
                );
                Ok(())
            }
        }
    }

    async fn subscribe(&self, contracts: &[(Symbol, Contract)]) -> Result<Live, End> {
        let mut live = SelectAll::new();
        for (symbol, contract) in contracts {
            let symbol = *symbol;
            let bars = self
                .client
                .realtime_bars(contract)
                .trading_hours(TradingHours::Extended)
                .subscribe()
                .await?;
            live.push(bars.map(move |item| (symbol, map(item, Item::Bar))).boxed());
            let ticks = self.client.market_data(contract).subscribe().await?;
            live.push(ticks.map(move |item| (symbol, map(item, Item::Tick))).boxed());
        }
        Ok(live)
    }

    /// Passes on what comes until the link ends. What the market sends goes before the broker's clock, so that
    /// the clock never proves a time whose bars still wait here.
    async fn follow(
        &self,
        contracts: &[(Symbol, Contract)],
        mut live: Live,
        (mut notices, mut broken): (NoticeStream, Broken),
        asked_at: Timestamp,
    ) -> Result<End, End> {
        let fetch = |(symbol, contract): &(Symbol, Contract)| {
            let (symbol, contract) = (*symbol, contract.clone());
            async move {
                (
                    symbol,
                    history::fetch(self.client, &contract, &self.rim.plan, asked_at).await,
                )
            }
        };
        let mut histories = std::pin::pin!(
            futures::stream::iter(contracts.iter().map(fetch)).buffer_unordered(HISTORIES_MAX)
        );
        let mut clock = FuturesUnordered::new();
        clock.push(self.time_after(CLOCK_FAST_MS).boxed());
        let mut hours = tokio::time::interval(Duration::from_secs(HOURS_SECONDS));
        hours.reset();
        let mut before = asked_at;
        loop {
            tokio::select! {
                biased;
                item = live.next(), if !live.is_empty() => {
                    let Some((symbol, item)) = item else { continue };
                    self.take(symbol, item).await?;
                }
                notice = notices.next() => {
                    let Some(notice) = notice else { return Ok(End::Lost("the link ended".to_owned())) };
                    self.note(&notice, &mut broken).await?;
                }
                Some((symbol, past)) = histories.next() => self.say(Input::Past { symbol, past: past? }).await?,
                Some(answer) = clock.next() => {
                    let (asked, at): (Timestamp, Timestamp) = answer?;
                    let passed = at.duration_since(std::mem::replace(&mut before, at));
                    let fast = passed.as_secs_f64() > CLOCK_MS as f64 / 1000.0 * 1.5;
                    clock.push(self.time_after(if fast { CLOCK_FAST_MS } else { CLOCK_MS }).boxed());
                    self.say(Input::ServerTime { asked, at }).await?;
                }
                _ = hours.tick() => {
                    if let Some((symbol, _)) = contracts.first() && let Ok(details) = self.details(*symbol).await? {
                        self.say_hours(*symbol, &details).await?;
                    }
                }
            }
        }
    }

    async fn time_after(&self, ms: u64) -> Result<(Timestamp, Timestamp), End> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        self.time().await
    }

    async fn take(&self, symbol: Symbol, item: Result<SubscriptionItem<Item>, Error>) -> Result<(), End> {
        match item {
            Ok(SubscriptionItem::Data(Item::Tick(tick))) => match ticks::tick(&tick) {
                Some(tick) => self.say(Input::Tick { symbol, tick }).await,
                None => Ok(()),
            },
            Ok(SubscriptionItem::Data(Item::Bar(bar))) => match ticks::live_bar(&bar) {
                Some(bar) => self.say(Input::Bar { symbol, bar }).await,
                None => Ok(()),
            },
            Ok(SubscriptionItem::Notice(notice)) if notice.code == SUBSCRIPTION_LAG_CODE => {
                self.say(Input::Lagged {
                    symbol,
                    reason: notice.message,
                })
                .await
            }
            Ok(SubscriptionItem::Notice(notice)) => {
                tracing::info!(
                    symbol = symbol.as_str(),
                    notice = notice.to_string(),
                    "the broker notes"
                );
                Ok(())
            }
            Err(Error::Notice(notice)) => {
                self.say(Input::Unknown {
                    symbol,
                    reason: notice_text(&notice),
                })
                .await
            }
            // One message that can't be read ends its subscription; only a new link brings it back.
            Err(error) => Err(error.into()),
        }
    }

    async fn note(&self, notice: &Notice, broken: &mut Broken) -> Result<(), End> {
        tracing::info!(notice = notice.to_string(), "the broker says");
        let was_whole = broken.why().is_none();
        if !broken.hear(notice.code, &notice.message) {
            return Ok(());
        }
        if broken.why().is_some() {
            let reason = notice_text(notice);
            return self.say(Input::Unlinked { reason }).await;
        }
        if !was_whole {
            return Err(End::Renew);
        }
        Ok(())
    }
}

fn map<T>(
    item: Result<SubscriptionItem<T>, Error>,
    wrap: impl FnOnce(T) -> Item,
) -> Result<SubscriptionItem<Item>, Error> {
    Ok(match item? {
        SubscriptionItem::Data(data) => SubscriptionItem::Data(wrap(data)),
        SubscriptionItem::Notice(notice) => SubscriptionItem::Notice(notice),
    })
}

fn notice_text(notice: &Notice) -> String {
    format!("the broker says {}: {}", notice.code, notice.message.trim())
}

/// What the future yields, unless it takes too long or fails.
async fn within<T>(seconds: u64, future: impl Future<Output = Result<T, Error>>) -> Result<T, End> {
    match tokio::time::timeout(Duration::from_secs(seconds), future).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(error.into()),
        Err(_) => Err(End::Lost(format!("no answer within {seconds} s"))),
    }
}
