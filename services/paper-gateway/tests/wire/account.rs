//! The account by every name that a client may ask for, and stocks by every name that they have.

use std::collections::BTreeSet;

use crate::harness::{FINE, gateway};
use wire_client::{Body, Message, Raw, about, numbered};

/// What IB's own clients call all tags, and what else nautilus_trader asks for.
const TAGS: [&str; 31] = [
    "AccountType",
    "NetLiquidation",
    "TotalCashValue",
    "SettledCash",
    "AccruedCash",
    "BuyingPower",
    "EquityWithLoanValue",
    "PreviousEquityWithLoanValue",
    "PreviousDayEquityWithLoanValue",
    "GrossPositionValue",
    "ReqTEquity",
    "ReqTMargin",
    "RegTEquity",
    "RegTMargin",
    "SMA",
    "InitMarginReq",
    "MaintMarginReq",
    "AvailableFunds",
    "ExcessLiquidity",
    "Cushion",
    "FullInitMarginReq",
    "FullMaintMarginReq",
    "FullAvailableFunds",
    "FullExcessLiquidity",
    "LookAheadNextChange",
    "LookAheadInitMarginReq",
    "LookAheadMaintMarginReq",
    "LookAheadAvailableFunds",
    "LookAheadExcessLiquidity",
    "HighestSeverity",
    "DayTradesRemaining",
];

#[tokio::test(flavor = "multi_thread")]
async fn every_tag_of_the_account_has_a_value() {
    let (gateway, _state) = gateway(&[]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let told = client
        .ask(62, &numbered(1).text(2, "All").text(3, &TAGS.join(",")))
        .await;
    let rows: Vec<_> = told.iter().filter(|message| message.number == 63).collect();
    let tags: BTreeSet<String> = rows.iter().map(|row| row.text(3).unwrap()).collect();
    assert_eq!(tags, TAGS.map(str::to_owned).into());
    assert!(
        rows.iter()
            .all(|row| row.text(2).unwrap() == "DU1000001" && !row.text(4).unwrap().is_empty())
    );
    assert_eq!(told.last().unwrap().number, 64);
    // The ledger alone, and the same values for a single account.
    let told = client
        .ask(62, &numbered(2).text(2, "All").text(3, "$LEDGER:USD"))
        .await;
    assert!(
        told.iter()
            .any(|row| row.number == 63 && row.text(3).as_deref() == Some("CashBalance"))
    );
    let all = client.ask(76, &numbered(3).text(2, "DU1000001")).await;
    let ledger = client.ask(76, &numbered(4).text(2, "DU1000001").int(4, 1)).await;
    assert!(
        ledger.len() > 5 && all.len() > 2 * ledger.len(),
        "{} {}",
        all.len(),
        ledger.len()
    );
    gateway.stop().await.unwrap();
}

/// The keys of the account's values that are told of a request.
fn keys(told: &[Message], id: i64) -> BTreeSet<String> {
    let rows = told
        .iter()
        .filter(|message| message.number == 73 && message.int(1) == Some(id));
    rows.map(|row| row.text(4).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_wants_the_ledger_alone_is_told_no_more_after_a_trade() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let mut wanted = Vec::new();
    for (id, ledger) in [(3, 0), (4, 1)] {
        let told = client.ask(76, &numbered(id).int(4, ledger)).await;
        wanted.push(keys(&told, id));
    }
    assert!(wanted[0].len() > 2 * wanted[1].len() && wanted[1].contains("NetLiquidation"));
    client.buy(1, "AAPL", 1, None).await;
    let mut told = client
        .all_until("the fee", |message| message.line() == "fee")
        .await;
    told.extend(client.told().await);
    assert_eq!([keys(&told, 3), keys(&told, 4)], wanted[..]);
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_each_trade_is_told_to_is_limited() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    for number in [74, 76] {
        for id in 1..=10 {
            assert_eq!(client.codes(number, &numbered(id)).await, FINE);
        }
        assert_eq!(client.codes(number, &numbered(11)).await, [322]);
        assert_eq!(
            client.codes(number, &numbered(10)).await,
            FINE,
            "it is asked again"
        );
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_ends_its_own_kind_of_request_alone() {
    let (gateway, _state) = gateway(&["--symbols", "AAPL"]).await;
    let summary = |id| numbered(id).text(2, "All").text(3, "NetLiquidation");
    let ticks = about(1, "AAPL").text(3, "AllLast");
    // Requests of the number 1 that go on, what they are told of a trade, and what cancels them.
    let kinds = [
        (97, ticks, 99, 98),
        (74, numbered(1), 71, 75),
        (76, numbered(1), 73, 77),
        (62, summary(1), 0, 63),
    ];
    for (client_id, (number, body, told, own)) in (1..).zip(kinds) {
        let mut client = Raw::connect(gateway.address(), client_id).await;
        client.ask(number, &body).await;
        for cancel in [63, 75, 77, 90, 98, 106]
            .into_iter()
            .filter(|cancel| *cancel != own)
        {
            client.ask(cancel, &numbered(1)).await;
        }
        if number == 62 {
            // A client may have two summaries at a time.
            client.ask(62, &summary(2)).await;
            assert_eq!(client.codes(62, &summary(3)).await, [322]);
            client.ask(own, &numbered(1)).await;
            assert_eq!(client.codes(62, &summary(3)).await, FINE);
            continue;
        }
        client.buy(1, "AAPL", 1, None).await;
        let goes_on = |message: &Message| message.number == told;
        client.until("what goes on", goes_on).await;
    }
    gateway.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_is_found_by_all_of_its_names() {
    let (gateway, _state) = gateway(&[]).await;
    let mut client = Raw::connect(gateway.address(), 1).await;
    let details = client.ask(9, &about(1, "AAPL")).await.remove(0);
    let con_id = details.parts(2)[0].int(1).unwrap();
    let ids = details.parts(3)[0].parts(17);
    let isin = ids
        .iter()
        .find(|id| id.text(1).as_deref() == Some("ISIN"))
        .unwrap()
        .text(2)
        .unwrap();
    let by_local_symbol = Body::default()
        .int(1, 0)
        .text(3, "STK")
        .text(8, "SMART")
        .text(9, "NASDAQ")
        .text(10, "USD")
        .text(11, "AAPL");
    for contract in [
        Body::default().int(1, con_id),
        by_local_symbol,
        Body::default().text(3, "STK").text(13, "ISIN").text(14, &isin),
        Body::default().text(2, "AAPL").text(3, "STK"),
        // A number that was kept from another market: the name says what is meant.
        Body::default().int(1, 265_598).text(2, "AAPL").text(3, "STK"),
        Body::default().int(1, con_id).text(2, "AAPL"),
    ] {
        let told = client.ask(9, &numbered(1).part(2, &contract)).await;
        assert_eq!(told[0].number, 10, "{told:?}");
        assert_eq!(told[0].parts(2)[0].int(1), Some(con_id));
        assert_eq!(told[1].number, 52);
    }
    let unknown = Body::default()
        .text(3, "STK")
        .text(13, "ISIN")
        .text(14, "US0000000000");
    // Neither a number without a name, nor one that is another stock's.
    let number = Body::default().int(1, 265_598).text(3, "STK");
    let other = Body::default().int(1, con_id).text(2, "NVDA").text(3, "STK");
    for contract in [unknown, number, other] {
        assert_eq!(client.codes(9, &numbered(1).part(2, &contract)).await, [200]);
    }
    gateway.stop().await.unwrap();
}
