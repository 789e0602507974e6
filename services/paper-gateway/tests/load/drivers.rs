//! Two ways from a trader to the gateway: the real `ibapi` client, and plain frames.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::StreamExt;
use ibapi::orders::{Action, ExecutionSide, OcaType, Order, OrderUpdate, TimeInForce};
use ibapi::prelude::*;
use ibapi::subscriptions::Subscription;
use protocol::units::exact;
use tokio::time::{Instant, interval, timeout};

use crate::trader::{Act, Day, News, STOCKS, Terms, Trade, Trader};
use wire_client::{Body, Fields, Reader, Writer, connect, stock};

/// Time between two acts of a client.
const ACT: Duration = Duration::from_millis(10);
/// Longest wait for anything that must happen.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// Requests for quotes are numbered far from the orders.
const QUOTES: i64 = 1_000_000;

/// A client made of frames, which also leaves and comes back.
pub async fn plain(address: String, mut trader: Trader, day: Arc<Day>) -> Trader {
    let (mut reader, mut writer) = begin(&address, &mut trader, &day).await;
    let mut acts = interval(ACT);
    let mut closing = None;
    loop {
        if is_over(&trader, &day, &mut closing) {
            return trader;
        }
        tokio::select! {
            read = reader.read(|number, body| hear(&mut trader, &day, number, Fields(body))) => read.unwrap(),
            _ = acts.tick() => if closing.is_none() {
                match trader.act(&day, true) {
                    Act::Place(orders) => for (id, terms) in &orders {
                        writer.send(3, &place(*id, terms)).await.unwrap();
                    },
                    Act::Cancel(id) => writer.send(4, &Body::new().int(1, id.into())).await.unwrap(),
                    Act::CancelAll => writer.send(58, &Body::new()).await.unwrap(),
                    Act::Leave => {
                        drop((reader, writer));
                        (reader, writer) = begin(&address, &mut trader, &day).await;
                    }
                    Act::Nothing => {}
                }
            }
        }
    }
}

/// Whether a client is done with the day: it closes, and all orders have ended, or never will.
fn is_over(trader: &Trader, day: &Day, closing: &mut Option<Instant>) -> bool {
    if !day.closing.load(Ordering::Relaxed) {
        return false;
    }
    let since = *closing.get_or_insert_with(Instant::now);
    trader.is_done() || since.elapsed() > DEADLINE
}

/// Connects, learns what became of the orders, and asks for the quotes of all stocks.
async fn begin(address: &str, trader: &mut Trader, day: &Day) -> (Reader, Writer) {
    let deadline = Instant::now() + DEADLINE;
    let client = trader.client;
    let (mut reader, mut writer) = loop {
        let (mut reader, writer) = connect(address, client).await.unwrap();
        // The gateway may not have seen yet that the connection before is gone.
        let mut welcome = false;
        while reader.read(|number, _| welcome |= number == 15).await.is_ok() && !welcome {}
        if welcome {
            break (reader, writer);
        }
        assert!(Instant::now() < deadline, "client {client} is not let in");
        tokio::time::sleep(ACT).await;
    };
    for (number, body) in [
        (8, Body::new().int(1, 1)),
        (5, Body::new()),
        (99, Body::new()),
        (
            7,
            Body::new()
                .int(1, 1)
                .part(2, &Body::new().int(1, client.into()).int(8, 7)),
        ),
    ] {
        writer.send(number, &body).await.unwrap();
    }
    let (mut open, mut ended, mut ends) = (BTreeSet::new(), BTreeMap::new(), 0);
    let mut next_id = 0;
    let learning = async {
        while ends < 3 {
            let each = |number, body: &[u8]| {
                let fields = Fields(body);
                if number == 9 {
                    next_id = fields.int(1) as i32;
                }
                match number {
                    5 => _ = open.insert(fields.int(1) as i32),
                    101 if fields.part(2).int(1) == i64::from(client) => {
                        let status = fields.part(3).text(1).to_owned();
                        ended.insert(fields.part(2).int(2) as i32, status);
                    }
                    // Open orders, completed orders and executions are all told.
                    53 | 102 | 55 => ends += 1,
                    _ => hear(trader, day, number, fields),
                }
            };
            reader.read(each).await.unwrap();
        }
    };
    timeout(DEADLINE, learning).await.expect("all is told in time");
    trader.settle(&open, &ended, next_id);
    for (index, name) in STOCKS.iter().enumerate() {
        let id = QUOTES + index as i64;
        let request = Body::new().int(1, id).part(2, &stock(name));
        writer.send(1, &request).await.unwrap();
    }
    (reader, writer)
}

fn hear(trader: &mut Trader, day: &Day, number: i32, body: Fields<'_>) {
    let order = body.int(1) as i32;
    match number {
        1 if body.int(2) == 4 => {
            let index = (body.int(1) - QUOTES) as usize;
            day.traded(STOCKS[index], body.double(3).unwrap());
        }
        46 => day.at(body.text(3).parse().unwrap()),
        3 => trader.hear(News::Status {
            order,
            status: body.text(2).to_owned(),
        }),
        4 if order > 0 && i64::from(order) < QUOTES => trader.hear(News::Refused {
            order,
            code: body.int(3) as i32,
        }),
        9 => trader.hear(News::NextId(order)),
        11 => {
            let told = body.part(3);
            let shares = told.text(7).parse().unwrap();
            let trade = Trade {
                order: told.int(1) as i32,
                stock: body.part(2).text(2).to_owned(),
                shares: if told.text(6) == "BOT" { shares } else { -shares },
                price: exact(told.double(8).unwrap()).unwrap(),
            };
            let id = told.text(2).to_owned();
            trader.hear(News::Trade { id, trade });
        }
        59 => trader.hear(News::Fee {
            id: body.text(1).to_owned(),
            fee: body.double(2).unwrap(),
        }),
        _ => {}
    }
}

fn place(id: i32, terms: &Terms) -> Body {
    let mut order = Body::new()
        .text(5, if terms.buys { "BUY" } else { "SELL" })
        .text(6, &terms.quantity.to_string())
        .text(8, terms.kind)
        .text(11, terms.tif)
        .text(28, &format!("load-{id}"))
        .int(66, terms.transmit.into());
    if terms.parent != 0 {
        order = order.int(4, terms.parent.into());
    }
    if let Some(limit) = terms.limit {
        order = order.double(9, limit);
    }
    if let Some(stop) = terms.stop {
        order = order.double(10, stop);
    }
    if !terms.group.is_empty() {
        order = order.text(27, &terms.group).int(30, 1);
    }
    Body::new()
        .int(1, id.into())
        .part(2, &stock(terms.stock))
        .part(3, &order)
}

/// The real client.
pub async fn real(address: String, mut trader: Trader, day: Arc<Day>) -> Trader {
    let client = Client::connect(&address, trader.client).await.unwrap();
    let mut updates = client.order_update_stream().await.unwrap();
    let mut acts = interval(ACT);
    let mut closing = None;
    loop {
        if is_over(&trader, &day, &mut closing) {
            return trader;
        }
        tokio::select! {
            news = next(&mut updates) => if let Some(news) = news {
                trader.hear(news);
            },
            _ = acts.tick() => if closing.is_none() {
                match trader.act(&day, false) {
                    Act::Place(orders) => for (id, terms) in &orders {
                        let contract = Contract::stock(terms.stock).build();
                        client.submit_order(*id, &contract, &order(terms)).await.unwrap();
                    },
                    Act::Cancel(id) if id > 0 => drop(client.cancel_order(id, "").await.unwrap()),
                    Act::CancelAll => client.global_cancel().await.unwrap(),
                    Act::Cancel(_) | Act::Leave | Act::Nothing => {}
                }
            }
        }
    }
}

async fn next(updates: &mut Subscription<OrderUpdate>) -> Option<News> {
    let update = match updates.next().await.expect("the stream goes on").unwrap() {
        SubscriptionItem::Data(update) => update,
        SubscriptionItem::Notice(notice) => {
            let (order, code) = (notice.request_id?, notice.code);
            return Some(News::Refused { order, code });
        }
    };
    Some(match update {
        OrderUpdate::OrderStatus(status) => News::Status {
            order: status.order_id,
            status: status.status.to_string(),
        },
        OrderUpdate::ExecutionData(data) => {
            let shares = exact(data.execution.shares).unwrap();
            let trade = Trade {
                order: data.execution.order_id,
                stock: data.contract.symbol.to_string(),
                shares: if data.execution.side == ExecutionSide::Bought {
                    shares
                } else {
                    -shares
                },
                price: exact(data.execution.price).unwrap(),
            };
            News::Trade {
                id: data.execution.execution_id,
                trade,
            }
        }
        OrderUpdate::CommissionReport(report) => News::Fee {
            id: report.execution_id,
            fee: report.commission,
        },
        OrderUpdate::OpenOrder(_) | OrderUpdate::OrderBound(_) => return None,
    })
}

fn order(terms: &Terms) -> Order {
    Order {
        action: if terms.buys { Action::Buy } else { Action::Sell },
        total_quantity: f64::from(terms.quantity),
        order_type: terms.kind.into(),
        limit_price: terms.limit,
        aux_price: terms.stop,
        tif: TimeInForce::from(terms.tif),
        parent_id: terms.parent,
        transmit: terms.transmit,
        oca_group: terms.group.clone(),
        oca_type: if terms.group.is_empty() {
            OcaType::None
        } else {
            OcaType::CancelWithBlock
        },
        ..Order::default()
    }
}
