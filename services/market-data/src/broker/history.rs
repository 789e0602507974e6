//! Past bars: those that warm features up, and the five seconds that complete the bar in progress.

use engine::market::Past;
use engine::market::bars::RawBar;
use ibapi::contracts::Contract;
use ibapi::market_data::TradingHours;
use ibapi::market_data::historical::{BarSize, Duration};
use ibapi::{Client, Error};
use jiff::Timestamp;
use protocol::market;

use super::End;
use crate::ticks;

/// The broker's answer for no data at all, which is an answer.
const NO_DATA_CODE: i32 = 162;
/// Most seconds of five-second bars that the broker answers.
const PIECES_SECONDS_MAX: i64 = 3_600;
/// Seconds of five-second bars more than the bar in progress needs: the clock runs on while the question travels.
const PIECES_SECONDS_MORE: i64 = 300;

/// How much history.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Length of the bars.
    pub size: market::BarSize,
    /// How many complete ones.
    pub count: u32,
}

/// Asks for the history of a contract up to now. What the broker refuses is said in the answer.
pub async fn fetch(
    client: &Client,
    contract: &Contract,
    plan: &Plan,
    asked_at: Timestamp,
) -> Result<Past, End> {
    let mut past = Past {
        asked_at,
        bars: Vec::new(),
        pieces: Vec::new(),
        missing: None,
    };
    match complete_bars(client, contract, plan, asked_at).await {
        Ok(bars) => past.bars = bars,
        Err(error) => past.missing = Some(refusal(error)?),
    }
    if plan.size > market::BarSize::FIVE_SECONDS {
        let seconds = (i64::from(plan.size.seconds()) + PIECES_SECONDS_MORE).min(PIECES_SECONDS_MAX);
        match ask(client, contract, BarSize::Sec5, seconds_of(seconds)).await {
            Ok(pieces) => past.pieces = pieces,
            Err(error) => past.missing = Some(refusal(error)?),
        }
    }
    Ok(past)
}

/// At least so many complete bars if there are so many: first what an open market would have, then as far back
/// as the broker answers for this length.
async fn complete_bars(
    client: &Client,
    contract: &Contract,
    plan: &Plan,
    asked_at: Timestamp,
) -> Result<Vec<RawBar>, Error> {
    let (size, far) = request(plan.size);
    let count = plan.count as usize;
    let near = i64::from(plan.size.seconds()) * (i64::from(plan.count) + 2);
    let begin = plan.size.start_of(asked_at);
    let complete = |bars: Vec<RawBar>| {
        bars.into_iter()
            .filter(|bar| bar.start < begin)
            .collect::<Vec<_>>()
    };
    let mut bars = Vec::new();
    if near <= 28_800 {
        bars = complete(ask(client, contract, size, seconds_of(near.max(60))).await?);
    }
    if bars.len() < count {
        bars = complete(ask(client, contract, size, far).await?);
    }
    let more = bars.len().saturating_sub(count);
    Ok(bars.split_off(more))
}

async fn ask(
    client: &Client,
    contract: &Contract,
    size: BarSize,
    duration: Duration,
) -> Result<Vec<RawBar>, Error> {
    let data = client
        .historical_data(contract, size)
        .duration(duration)
        .trading_hours(TradingHours::Extended)
        .fetch()
        .await;
    match data {
        Ok(data) => Ok(data.bars.iter().filter_map(ticks::past_bar).collect()),
        Err(Error::Notice(notice)) if notice.code == NO_DATA_CODE && notice.message.contains("no data") => {
            Ok(Vec::new())
        }
        Err(error) => Err(error),
    }
}

/// A refusal or silence leaves the rest of the link standing; anything else ends it.
fn refusal(error: Error) -> Result<String, End> {
    match error {
        Error::Notice(notice) => Ok(super::notice_text(&notice)),
        Error::Timeout => Ok("no answer in time".to_owned()),
        error => Err(error.into()),
    }
}

fn seconds_of(seconds: i64) -> Duration {
    Duration::seconds(i32::try_from(seconds).unwrap_or(i32::MAX))
}

/// The broker's name of a length, and how far back it answers for it.
fn request(size: market::BarSize) -> (BarSize, Duration) {
    match size.seconds() {
        5 => (BarSize::Sec5, Duration::seconds(3_600)),
        10 => (BarSize::Sec10, Duration::seconds(14_400)),
        15 => (BarSize::Sec15, Duration::seconds(14_400)),
        30 => (BarSize::Sec30, Duration::seconds(28_800)),
        60 => (BarSize::Min, Duration::days(1)),
        120 => (BarSize::Min2, Duration::days(2)),
        300 => (BarSize::Min5, Duration::weeks(1)),
        900 => (BarSize::Min15, Duration::weeks(1)),
        1_800 => (BarSize::Min30, Duration::months(1)),
        3_600 => (BarSize::Hour, Duration::months(1)),
        _ => (BarSize::Day, Duration::years(1)),
    }
}
