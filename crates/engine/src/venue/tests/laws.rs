//! Random orders of all kinds, families and groups, from ten clients, over both markets: what always holds.

use std::collections::VecDeque;

use super::*;
use crate::venue::depth::levels;
use crate::venue::market::Tick;
use crate::venue::order::{Group, GroupEffect, Lifetime, Order, Trail};

/// Clients that trade at random.
const CLIENTS: i32 = 10;

/// What a client does next, as numbers that a test can make up and shrink.
#[derive(Debug, Clone)]
struct Deed {
    what: u8,
    client: i32,
    kind: u8,
    buys: bool,
    quantity: i64,
    /// Steps of the price between the market and the order.
    away: i64,
    life: u8,
    link: u8,
    transmit: bool,
    /// Seconds until it happens.
    wait: i64,
}

fn deed() -> impl Strategy<Value = Deed> {
    let what = (0u8..12, 0..CLIENTS, 0u8..11, any::<bool>());
    // Now and then more than the book holds, and far through the market.
    let quantity = prop_oneof![8 => 1i64..400, 1 => 5_000i64..30_000];
    let away = prop_oneof![8 => -12i64..12, 1 => -900i64..900];
    let terms = (quantity, away, 0u8..7, 0u8..9, 0u8..5, 0i64..40);
    (what, terms).prop_map(|((what, client, kind, buys), terms)| {
        let (quantity, away, life, link, transmit, wait) = terms;
        Deed {
            what,
            client,
            kind,
            buys,
            quantity,
            away,
            life,
            link,
            transmit: transmit > 0,
            wait,
        }
    })
}

impl Deed {
    fn kind(&self, mark: Price, step: Price) -> Kind {
        let price = mark + step * Decimal::from(self.away);
        let beyond = price + step * Decimal::from(self.away % 5);
        let distance = step * Decimal::from(self.away.abs() + 1);
        let trail = |by, limit_offset| Kind::Trail {
            by,
            start: None,
            limit_offset,
        };
        match self.kind {
            0 | 1 => Kind::Market,
            2 => Kind::Limit(price),
            3 => Kind::Stop(price),
            4 => Kind::StopLimit {
                stop: price,
                limit: beyond,
            },
            5 => trail(Trail::Amount(distance), None),
            6 => trail(Trail::Percent(Decimal::new(self.quantity, 3)), Some(step)),
            7 => Kind::Touch { price, limit: None },
            8 => Kind::Touch {
                price,
                limit: Some(beyond),
            },
            9 => Kind::OnClose { limit: None },
            _ => Kind::OnClose { limit: Some(price) },
        }
    }

    fn ticket(&self, venue: &Venue) -> Ticket {
        let spy = symbol("SPY");
        let (mark, step) = (venue.mark(spy).unwrap(), venue.market().price_step(spy).unwrap());
        let side = if self.buys { Side::Buy } else { Side::Sell };
        let lifetime = match self.life {
            0..=2 => Lifetime::Day,
            3 => Lifetime::GoodTillCancelled,
            4 => Lifetime::GoodTillDate(
                Timestamp::from_second(venue.now().as_second() + 9 * self.wait).unwrap(),
            ),
            5 => Lifetime::ImmediateOrCancel,
            _ => Lifetime::FillOrKill,
        };
        let group = |effect| {
            Some(Group {
                name: format!("group {}", self.quantity % 3),
                effect,
            })
        };
        Ticket {
            lifetime,
            outside_regular: self.wait % 2 == 0,
            parent: (self.link == 1 || self.link == 2)
                .then(|| self.own(venue))
                .flatten()
                .map(|order| order.order_id),
            group: match self.link {
                3 => group(GroupEffect::CancelWithBlock),
                4 => group(GroupEffect::ReduceWithBlock),
                5 => group(GroupEffect::ReduceWithoutBlock),
                _ => None,
            },
            transmit: self.transmit,
            ..Ticket::new(spy, side, self.kind(mark, step), self.quantity.into())
        }
    }

    /// One of the client's own open orders.
    fn own<'a>(&self, venue: &'a Venue) -> Option<&'a Order> {
        let mine: Vec<&Order> = venue
            .account()
            .open
            .values()
            .filter(|order| order.client == self.client)
            .collect();
        mine.get(self.quantity as usize % mine.len().max(1)).copied()
    }

    fn input(&self, venue: &Venue) -> Input {
        let (client, ticket) = (self.client, Box::new(self.ticket(venue)));
        match (self.what, self.own(venue)) {
            (0, Some(order)) => Input::Cancel {
                client,
                order_id: order.order_id,
            },
            (1 | 2, Some(order)) => Input::Place {
                client,
                order_id: order.order_id,
                ticket: Box::new(Ticket {
                    side: order.ticket.side,
                    ..*ticket
                }),
            },
            (3, _) if self.quantity < 20 => Input::CancelAll,
            _ => Input::Place {
                client,
                order_id: venue.account().next_order_id(client),
                ticket,
            },
        }
    }
}

/// Watches what an exchange puts out and knows what it must not.
struct Judge {
    account: Account,
    shown: Option<(Price, Price)>,
    limited: bool,
    /// The last two trades with their quotes, the newest first.
    ticks: VecDeque<Tick>,
    step: Price,
    fills: usize,
}

impl Judge {
    fn watch(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Tick(tick) => {
                    let (low, high) = self
                        .shown
                        .filter(|_| !tick.opens_row)
                        .unwrap_or((tick.price, tick.price));
                    self.shown = Some((low.min(tick.price), high.max(tick.price)));
                    self.ticks.push_front(tick);
                    self.ticks.truncate(2);
                }
                Output::Record(record) => {
                    if let Record::Filled { fill } = &record {
                        self.judge(fill.perm_id, fill.price, fill.quantity);
                    }
                    // What is kept on disk is what is folded.
                    let text = serde_json::to_string(&record).unwrap();
                    self.account.apply(&serde_json::from_str(&text).unwrap());
                }
                _ => {}
            }
        }
    }

    fn judge(&mut self, perm_id: i64, price: Price, quantity: Quantity) {
        self.fills += 1;
        let order = &self.account.open[&perm_id];
        assert!(
            quantity > Decimal::ZERO && quantity <= order.remaining(),
            "{order:?}"
        );
        let good = order.limit().is_none_or(|limit| match order.ticket.side {
            Side::Buy => price <= limit,
            Side::Sell => price >= limit,
        });
        assert!(good, "{price} is worse than asked for: {order:?}");
        assert!(!order.awaits_trigger(), "it sleeps: {order:?}");
        let at_close = order.awaits_close() && order.status == Status::Held;
        assert!(order.status == Status::Working || at_close, "{order:?}");
        if let Some(parent) = order.parent_perm_id {
            let parent = &self.account.completed[&parent];
            assert_eq!(parent.status, Status::Filled, "before its parent: {order:?}");
        }
        if let Some((low, high)) = self.shown.filter(|_| self.limited) {
            assert!(
                price >= low && price <= high,
                "{price} was not shown: {low} to {high}"
            );
        }
        let worst = |tick: &Tick, side| levels(tick, self.step, side).last().unwrap().price;
        let lowest = self.ticks.iter().map(|tick| worst(tick, Side::Sell)).min();
        let highest = self.ticks.iter().map(|tick| worst(tick, Side::Buy)).max();
        assert!(
            Some(price) >= lowest && Some(price) <= highest,
            "{price} is in no book: {lowest:?} to {highest:?}, {order:?}"
        );
    }

    /// What holds whenever the exchange stands still.
    fn rest(&self, venue: &Venue) {
        assert_eq!(
            &self.account,
            venue.account(),
            "the account is the fold of its records"
        );
        for order in self.account.open.values() {
            assert!(order.remaining() > Decimal::ZERO && order.end.is_none());
            let working = order.status == Status::Working;
            let parent = order
                .parent_perm_id
                .and_then(|parent| self.account.open.get(&parent));
            assert!(
                !working || parent.is_none(),
                "a child works before its parent has traded"
            );
            assert!(!working || !order.awaits_trigger());
            // What has to trade at once waits for nothing but what lets it trade at all, never for a session.
            let waits = order.awaits_trigger() || order.awaits_close() || parent.is_some();
            let rests = working || order.status == Status::Held && !waits;
            assert!(!rests || !order.ticket.lifetime.is_immediate(), "{order:?}");
        }
        let (mut cash, mut shares, mut fees) = (self.account.deposited, Quantity::ZERO, Money::ZERO);
        for fill in &self.account.fills {
            cash -= fill.side.sign() * fill.quantity * fill.price + fill.commission;
            shares += fill.side.sign() * fill.quantity;
            fees += fill.commission;
        }
        let told = (
            self.account.cash,
            self.account.shares(symbol("SPY")),
            self.account.commissions_total,
        );
        assert_eq!((cash, shares, fees), told);
        let now = venue.valuation();
        let positions = self.account.positions.iter();
        let of_each = positions.map(|(symbol, held)| held.daily(venue.price_held(*symbol, held)));
        assert_eq!(
            of_each.sum::<Money>(),
            now.daily,
            "gains of a day are those of its stocks"
        );
        let gains = self.account.realized_total + now.unrealized;
        assert_eq!(now.equity(), self.account.deposited + gains);
    }

    /// What holds when every session that orders could live for is over.
    fn end(&self) {
        for order in self.account.open.values() {
            // What waits for a parent waits for a close after that has traded.
            let outlives = order.ticket.lifetime == Lifetime::GoodTillCancelled
                || order.awaits_close()
                    && (order.parent_perm_id.is_some() || order.status == Status::Untransmitted);
            assert!(outlives, "its life is over: {order:?}");
        }
        let mut filled = BTreeMap::new();
        for order in self.account.completed.values() {
            let Some(end) = order.end.as_ref().filter(|_| order.status == Status::Filled) else {
                continue;
            };
            let Some(group) = &order.ticket.group else {
                continue;
            };
            let day = crate::venue::calendar::local(end.at).date();
            let before = filled.insert((order.client, group.name.clone(), day), order);
            assert!(
                before.is_none(),
                "two of a group have traded: {before:?} {order:?}"
            );
        }
    }
}

fn run(mut venue: Venue, deeds: Vec<Deed>, last: Timestamp) -> usize {
    let mut judge = Judge {
        account: venue.account().clone(),
        shown: None,
        limited: matches!(venue.market(), Market::Replay(_)),
        ticks: VecDeque::new(),
        step: venue.market().price_step(symbol("SPY")).unwrap(),
        fills: 0,
    };
    let soon = Timestamp::from_second(venue.now().as_second() + 5).unwrap();
    judge.watch(venue.step(soon, Input::Time));
    for deed in deeds {
        let at = Timestamp::from_second(venue.now().as_second() + deed.wait).unwrap();
        judge.watch(venue.step(at, Input::Time));
        let input = deed.input(&venue);
        judge.watch(venue.step(at, input));
        judge.rest(&venue);
    }
    // A day of made-up trades is left out; what time alone ends, ends.
    venue.skip_to(last);
    judge.watch(venue.step(last, Input::Time));
    judge.rest(&venue);
    judge.end();
    judge.fills
}

/// Half an hour before a close, some trades after it, and the next day until its close.
fn two_days() -> Vec<Row> {
    let of = |start: &'static str, count: usize| {
        let rows = minutes(60).into_iter().take(count).enumerate();
        rows.map(move |(minute, row)| Row {
            start: after(start, 60 * minute as i64),
            volume: (1_500 + 37 * minute as i64).into(),
            ..row
        })
    };
    of("2013-10-07T19:30:00Z", 42)
        .chain(of("2013-10-08T13:30:00Z", 60))
        .chain(of("2013-10-08T19:58:00Z", 2))
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn random_orders_keep_the_laws_in_a_replay(deeds in prop::collection::vec(deed(), 20..120)) {
        let venue = replay(two_days(), 60);
        run(venue, deeds, after("2013-10-09T01:00:00Z", 0));
    }

    #[test]
    fn random_orders_keep_the_laws_around_the_clock(seed in 0u64..1000, deeds in prop::collection::vec(deed(), 20..120)) {
        let start: Timestamp = "2026-11-23T20:40:00Z".parse().unwrap();
        let market = Market::Synthetic(Synthetic::new(&[symbol("SPY")], seed, 1, start));
        let mut account = Account::default();
        account.apply(&Venue::opening(10_000_000.into(), start));
        let last = Timestamp::from_second(start.as_second() + 25 * 3600).unwrap();
        run(Venue::new(market, account, start), deeds, last);
    }
}
