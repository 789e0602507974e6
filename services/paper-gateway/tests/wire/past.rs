//! The past: every bar size with every duration, quotes as bars, ticks that were told, how much traded where.

use std::collections::BTreeSet;
use std::path::Path;

use crate::harness::{FINE, gateway};
use wire_client::{Message, Raw, about, numbered};

/// Bar sizes and their seconds.
const SIZES: [(&str, i64); 21] = [
    ("1 secs", 1),
    ("5 secs", 5),
    ("10 secs", 10),
    ("15 secs", 15),
    ("30 secs", 30),
    ("1 min", 60),
    ("2 mins", 120),
    ("3 mins", 180),
    ("5 mins", 300),
    ("10 mins", 600),
    ("15 mins", 900),
    ("20 mins", 1200),
    ("30 mins", 1800),
    ("1 hour", 3600),
    ("2 hours", 7200),
    ("3 hours", 10_800),
    ("4 hours", 14_400),
    ("8 hours", 28_800),
    ("1 day", 86_400),
    ("1 week", 604_800),
    ("1 month", 2_592_000),
];
/// Durations, their seconds, and the shortest bars that are made for their unit.
const DURATIONS: [(&str, i64, i64); 12] = [
    ("60 S", 60, 1),
    ("1800 S", 1800, 1),
    ("14400 S", 14_400, 1),
    ("86400 S", 86_400, 1),
    ("1 D", 86_400, 5),
    ("2 D", 172_800, 5),
    ("20 D", 1_728_000, 5),
    ("1 W", 604_800, 10),
    ("2 M", 5_184_000, 30),
    ("1 Y", 31_536_000, 60),
    ("5 Y", 157_680_000, 60),
    ("6 Y", 189_216_000, 60),
];

fn bars(told: &[Message]) -> Vec<Message> {
    told.iter()
        .filter(|message| message.number == 17)
        .flat_map(|message| message.parts(2))
        .collect()
}

/// Writes a bar for every weekday of the years 2007 to 2013.
fn write_days(folder: &Path) {
    let mut text = String::from("timestamp,open,high,low,close,volume\n");
    let mut date = time::macros::date!(2007 - 01 - 01);
    while date.year() < 2014 {
        if date.weekday().number_from_monday() < 6 {
            let price = 100 + i32::from(date.day());
            text += &format!("{date}T05:00:00Z,{price},{price}.9,{price}.0,{price}.4,120000\n");
        }
        date = date.next_day().unwrap();
    }
    std::fs::write(folder.join("SPY.csv"), text).unwrap();
}

fn check_order(bars: &[Message], what: &str) {
    let dates: Vec<String> = bars.iter().map(|bar| bar.text(1).unwrap()).collect();
    assert!(dates.windows(2).all(|pair| pair[0] < pair[1]), "{what}");
    for bar in bars {
        let [open, high, low, close] = [2, 3, 4, 5].map(|field| bar.double(field).unwrap());
        assert!(
            low <= open.min(close) && high >= open.max(close),
            "{what}: {bar:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bar_size_is_served_or_refused_for_every_duration() {
    let folder = tempfile::tempdir().unwrap();
    write_days(folder.path());
    let market = folder.path().to_str().unwrap();
    let (gateway, _state) = gateway(&["--market", market, "--start", "2013-12-13T20:00:00Z"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let (mut served, mut refused) = (0, 0);
    for (size, bar_seconds) in SIZES {
        for (duration, seconds, shortest) in DURATIONS {
            let request = about(1, "SPY").text(4, size).text(5, duration).int(8, 2);
            let told = client.ask(20, &request).await;
            let too_fine = bar_seconds < shortest || (bar_seconds == 1 && seconds > 2000);
            // Sixteen hours of trading on five days a week.
            let too_many = seconds / 7 * 5 / 24 * 16 / bar_seconds > 120_000;
            let what = format!("{size} {duration}");
            if too_fine || too_many {
                assert_eq!(told[0].code(), Some(162), "{what}");
                refused += 1;
                continue;
            }
            if told[0].code() == Some(162) {
                // A day of the file is told in 120 trades, minutes apart.
                assert!(seconds < 14_400, "{what}");
                continue;
            }
            assert_eq!(
                told.iter().map(|message| message.number).collect::<Vec<_>>(),
                [17, 108],
                "{what}"
            );
            let bars = bars(&told);
            check_order(&bars, &what);
            let is_date = bars[0].text(1).unwrap().len() == 8;
            assert_eq!(is_date, bar_seconds >= 86_400, "{what}");
            served += 1;
        }
    }
    assert!(served > 120 && refused > 30, "{served} served, {refused} refused");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_market_that_never_closes_has_a_bar_for_every_interval() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for (size, bar_seconds) in SIZES {
        let duration = if bar_seconds == 1 { 60 } else { 7200 };
        let request = about(1, "AAPL")
            .text(4, size)
            .text(5, &format!("{duration} S"))
            .int(8, 2);
        let bars = bars(&client.ask(20, &request).await);
        check_order(&bars, size);
        // Part of a bar at either end.
        let (count, whole) = (i64::try_from(bars.len()).unwrap(), duration / bar_seconds);
        assert!(
            (whole..=whole + 2).contains(&count),
            "{size}: {count} bars, not {whole}"
        );
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_minute_is_the_same_whatever_is_asked_for() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL", "--trades-per-second", "100"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let asked = |size: &str, duration: &str| {
        about(1, "AAPL")
            .text(3, "20260105 15:00:00 UTC")
            .text(4, size)
            .text(5, duration)
            .text(7, "TRADES")
    };
    let mut last = Vec::new();
    for duration in ["60 S", "3600 S", "1 W"] {
        let mut minutes = bars(&client.ask(20, &asked("1 min", duration)).await);
        last.extend(minutes.pop());
    }
    assert!(
        last.len() == 3 && last.iter().all(|bar| *bar == last[0]),
        "{last:?}"
    );
    let fives = bars(&client.ask(20, &asked("5 secs", "60 S")).await);
    let volume = |bar: &Message| bar.text(6).unwrap().parse::<i64>().unwrap();
    let highest = |bars: &[Message]| bars.iter().map(|bar| bar.double(3).unwrap()).fold(0.0, f64::max);
    assert_eq!(fives.iter().map(volume).sum::<i64>(), volume(&last[0]));
    assert_eq!(highest(&fives), highest(&last[..1]));
    // Shorter bars need every trade, which is too many in a day.
    assert_eq!(client.codes(20, &asked("5 secs", "1 D")).await, [162]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn bars_of_quotes_lie_around_those_of_trades() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let end = "20260105 15:00:00 UTC";
    let mut closes = Vec::new();
    for what in ["BID", "MIDPOINT", "TRADES", "ASK", "ADJUSTED_LAST"] {
        let end = if what == "ADJUSTED_LAST" { "" } else { end };
        let request = about(1, "AAPL")
            .text(3, end)
            .text(4, "1 min")
            .text(5, "600 S")
            .text(7, what);
        let told = client.ask(20, &request).await;
        let bars = bars(&told);
        assert!(bars.len() >= 10, "{what}: {told:?}");
        let volume = bars[0].text(6).unwrap();
        assert_eq!(
            volume == "-1",
            !matches!(what, "TRADES" | "ADJUSTED_LAST"),
            "{what} {volume}"
        );
        closes.push(bars[0].double(5).unwrap());
    }
    assert!(closes[0] < closes[1] && closes[1] < closes[3], "{closes:?}");
    assert!(closes[0] <= closes[2] && closes[2] <= closes[3], "{closes:?}");
    // All shapes of an end time name the same bars.
    let mut answers = Vec::new();
    for end in [
        end,
        "20260105-15:00:00",
        "20260105 10:00:00 US/Eastern",
        "20260105 10:00:00",
    ] {
        let request = about(1, "AAPL")
            .text(3, end)
            .text(4, "5 mins")
            .text(5, "3600 S")
            .int(6, 1);
        answers.push(bars(&client.ask(20, &request).await));
    }
    assert!(
        answers
            .iter()
            .all(|answer| *answer == answers[0] && answer.len() == 12)
    );
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_on_for_every_size_and_for_quotes() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let mut waiting = BTreeSet::new();
    for (id, (size, _)) in (1..).zip(SIZES).skip(1) {
        let what = ["TRADES", "MIDPOINT", "BID", "ASK"][id % 4];
        let number = i64::try_from(id).unwrap();
        let request = about(number, "AAPL")
            .text(4, size)
            .text(5, "60 S")
            .text(7, what)
            .int(8, 2)
            .int(9, 1);
        let told = client.ask(20, &request).await;
        assert!(
            told.iter().all(|message| message.code().is_none()),
            "{size}: {told:?}"
        );
        waiting.insert(number);
    }
    // What was told of the bar in progress is what history tells of it afterwards.
    let five = client
        .until("update", |message| {
            message.number == 90 && message.int(1) == Some(2)
        })
        .await;
    let bar = five.parts(2).remove(0);
    let request = about(99, "AAPL")
        .text(4, "5 secs")
        .text(5, "60 S")
        .text(7, "BID")
        .int(8, 2);
    let same = bars(&client.ask(20, &request).await);
    assert!(same.contains(&bar), "{bar:?} is not in {same:?}");
    while !waiting.is_empty() {
        let update = client.until("update", |message| message.number == 90).await;
        waiting.remove(&update.int(1).unwrap());
    }
    assert_eq!(client.codes(25, &numbered(2)).await, FINE);
    assert_eq!(client.codes(25, &numbered(2)).await, [366]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_the_past_are_those_that_were_told() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL", "--trades-per-second", "10"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    client.send(97, &about(1, "AAPL").text(3, "AllLast")).await;
    let mut live = Vec::new();
    while live.len() < 30 {
        live.push(
            client
                .until("trade", |message| message.number == 99)
                .await
                .parts(3)
                .remove(0),
        );
    }
    client.send(98, &numbered(1)).await;
    let end = time::OffsetDateTime::now_utc() + time::Duration::seconds(60);
    let format = time::macros::format_description!("[year][month][day]-[hour]:[minute]:[second]");
    let end = end.format(&format).unwrap();
    let request = about(2, "AAPL").text(4, &end).int(5, 1000).text(6, "TRADES");
    let told = client.ask(96, &request).await;
    let answer = told.iter().find(|message| message.number == 98).unwrap();
    assert_eq!(answer.int(3), Some(1), "done");
    let past = answer.parts(2);
    // Two trades of a second may be alike, so all thirty are looked for and not the first of them.
    assert!(
        past.windows(30).any(|ticks| ticks == live),
        "{live:?} are not in {past:?}"
    );
    // Forwards from a start: as many as wanted.
    for what in ["TRADES", "BID_ASK", "MIDPOINT"] {
        let request = about(2, "AAPL")
            .text(3, "20260105-15:00:00")
            .int(5, 25)
            .text(6, what);
        let told = client.ask(96, &request).await;
        let ticks = told[0].parts(2);
        assert_eq!(ticks.len(), 25);
        assert_eq!(ticks[0].int(1), Some(1_767_625_200), "{what}");
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trade_that_was_told_is_past_at_once() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL", "--trades-per-second", "50"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    client.send(97, &about(1, "AAPL").text(3, "AllLast")).await;
    let request = about(2, "AAPL").text(4, "20991231-00:00:00").int(5, 1000);
    for _ in 0..100 {
        let live = client.until("trade", |message| message.number == 99).await;
        client.send(96, &request.clone().text(6, "TRADES")).await;
        let answer = client.until("ticks", |message| message.number == 98).await;
        let past = answer.parts(2);
        assert!(
            past.contains(&live.parts(3)[0]),
            "{live:?} is not the end of {:?}",
            past.last()
        );
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_histogram_adds_up_to_the_volume() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let told = client.ask(88, &about(1, "AAPL").text(4, "10 mins")).await;
    let entries = told[0].parts(2);
    let prices: Vec<f64> = entries.iter().map(|entry| entry.double(1).unwrap()).collect();
    assert!(
        prices.windows(2).all(|pair| pair[0] < pair[1]) && prices.len() > 2,
        "{told:?}"
    );
    let sum: f64 = entries
        .iter()
        .map(|entry| entry.text(2).unwrap().parse::<f64>().unwrap())
        .sum();
    // A trade a second, of 100 to 500 shares.
    assert!((60_000.0..=300_000.0).contains(&sum), "{sum}");
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_histogram_of_too_many_trades_is_refused_like_their_bars() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL", "--trades-per-second", "100"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for (period, codes) in [("10 mins", &FINE[..]), ("1440 mins", &[162])] {
        let asked = about(1, "AAPL").text(4, period);
        assert_eq!(client.codes(88, &asked).await, codes, "{period}");
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_instant_is_one_in_both_formats() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let mut first = async |format| {
        let asked = about(1, "AAPL").text(4, "TRADES").int(5, format);
        client.ask(87, &asked).await[0].text(2).unwrap()
    };
    let format = time::macros::format_description!("[year][month][day]-[hour]:[minute]:[second]");
    let seconds = first(2).await.parse().unwrap();
    let in_utc = time::OffsetDateTime::from_unix_timestamp(seconds).unwrap();
    assert_eq!(first(1).await, in_utc.format(&format).unwrap());
    gateway.stop().await.unwrap();
}
