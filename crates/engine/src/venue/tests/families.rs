//! Orders that depend on each other: brackets, and groups of which one cancels the others.

use super::*;
use crate::venue::desk::Desk;
use crate::venue::order::{Group, GroupEffect, Lifetime, Order};

/// A quiet minute at 100, then one that goes from there to `target` and stays.
fn rows(target: &str) -> Vec<Row> {
    let to = decimal(target);
    let (low, high) = (to.min(decimal("100")), to.max(decimal("100")));
    let texts = |values: [Decimal; 4]| values.map(|value| value.to_string());
    let away = texts([decimal("100"), high, low, to]);
    let flat = ["100", "100.02", "99.98", "100"];
    vec![
        row(after(OPEN, 0), flat, "10000"),
        row(after(OPEN, 60), away.each_ref().map(String::as_str), "10000"),
    ]
}

/// A parent that buys, a limit above and a stop below, as clients send them: the last one lets all go.
fn bracket(quantity: i64) -> [Ticket; 3] {
    let child = |kind| Ticket {
        parent: Some(1),
        ..ticket(Side::Sell, kind, quantity)
    };
    [
        Ticket {
            transmit: false,
            ..ticket(Side::Buy, Kind::Limit(decimal("100.5")), quantity)
        },
        Ticket {
            transmit: false,
            ..child(Kind::Limit(decimal("101")))
        },
        child(Kind::Stop(decimal("99"))),
    ]
}

fn open_status(venue: &Venue, order_id: i32) -> Option<Status> {
    venue.account().find_open(1, order_id).map(|order| order.status)
}

fn end_status(venue: &Venue, order_id: i32) -> Option<Status> {
    venue
        .account()
        .find_completed(1, order_id)
        .map(|order| order.status)
}

#[test]
fn a_bracket_is_held_until_its_last_member_and_leaves_its_position_once() {
    for (target, leaves, stays) in [("101.5", 2, 3), ("98.5", 3, 2)] {
        let mut venue = replay(rows(target), 60);
        let [parent, profit, loss] = bracket(10);
        venue.step(after(OPEN, 30), place(1, parent));
        venue.step(after(OPEN, 31), place(2, profit));
        let kept = venue.step(after(OPEN, 40), Input::Time);
        assert!(fills(&kept).is_empty(), "nothing is at the exchange yet");
        for order_id in [1, 2] {
            assert_eq!(open_status(&venue, order_id), Some(Status::Untransmitted));
        }
        let released = venue.step(after(OPEN, 41), place(3, loss));
        assert_eq!(fills(&released).len(), 1, "the parent trades, the children wait");
        assert_eq!(end_status(&venue, 1), Some(Status::Filled));
        assert_eq!(open_status(&venue, 2), Some(Status::Working));
        assert_eq!(open_status(&venue, 3), Some(Status::Held), "a stop sleeps");
        let moved = fills(&venue.step(after(OPEN, 120), Input::Time));
        assert_eq!(moved.iter().map(|fill| fill.1).sum::<Quantity>(), decimal("10"));
        assert_eq!(end_status(&venue, leaves), Some(Status::Filled), "to {target}");
        assert_eq!(end_status(&venue, stays), Some(Status::Cancelled));
        assert!(venue.account().shares(symbol("SPY")).is_zero());
        assert!(venue.account().open.is_empty());
    }
}

#[test]
fn children_sleep_while_the_parent_does_and_end_with_it() {
    let mut venue = replay(rows("101.5"), 60);
    let [parent, profit, loss] = bracket(10);
    let far = Ticket {
        kind: Kind::Limit(decimal("90")),
        ..parent
    };
    for (order_id, ticket) in [(1, far), (2, profit), (3, loss)] {
        venue.step(after(OPEN, 30), place(order_id, ticket));
    }
    // The market passes the children's prices, but there is nothing to sell.
    let moved = venue.step(after(OPEN, 110), Input::Time);
    assert!(fills(&moved).is_empty());
    assert_eq!(open_status(&venue, 2), Some(Status::Held));
    let cancel = Input::Cancel {
        client: 1,
        order_id: 1,
    };
    venue.step(after(OPEN, 111), cancel);
    for order_id in [1, 2, 3] {
        assert_eq!(end_status(&venue, order_id), Some(Status::Cancelled));
    }
}

#[test]
fn a_family_that_was_kept_back_is_let_go_by_new_terms_of_a_member() {
    let mut venue = replay(rows("101.5"), 60);
    let [parent, profit, _] = bracket(10);
    venue.step(after(OPEN, 30), place(1, parent.clone()));
    venue.step(after(OPEN, 31), place(2, profit));
    let goes = Ticket {
        transmit: true,
        ..parent
    };
    let released = venue.step(after(OPEN, 32), place(1, goes));
    assert_eq!(fills(&released).len(), 1);
    assert_eq!(open_status(&venue, 2), Some(Status::Working));
}

#[test]
fn a_parent_that_is_rejected_takes_its_children_along() {
    let mut venue = replay(rows("101.5"), 60);
    for (order_id, ticket) in (1..).zip(bracket(1_000_000)) {
        venue.step(after(OPEN, 30), place(order_id, ticket));
    }
    assert_eq!(end_status(&venue, 1), Some(Status::Rejected));
    assert_eq!(end_status(&venue, 2), Some(Status::Cancelled));
    assert_eq!(end_status(&venue, 3), Some(Status::Cancelled));
}

#[test]
fn a_child_needs_a_parent() {
    let mut venue = replay(rows("101.5"), 60);
    let [_, _, loss] = bracket(10);
    let outputs = venue.step(after(OPEN, 30), place(3, loss));
    assert!(
        matches!(
            &outputs[..],
            [
                ..,
                Output::Refused {
                    why: Refusal::NoParent,
                    ..
                }
            ]
        ),
        "{outputs:?}"
    );
}

#[test]
fn a_partial_exit_shrinks_the_other_exit() {
    let mut rows = rows("101.02");
    rows.push(row(
        after(OPEN, 120),
        ["101.02", "101.06", "101", "101.05"],
        "10000",
    ));
    let mut venue = replay(rows, 60);
    let [mut parent, profit, loss] = bracket(3_000);
    parent.kind = Kind::Market;
    let shares = |venue: &Venue| venue.account().shares(symbol("SPY"));
    for (order_id, ticket) in [(1, parent), (2, profit), (3, loss)] {
        venue.step(after(OPEN, 1), place(order_id, ticket));
    }
    let (mut parts, mut filled) = (0, false);
    for second in 2..180 {
        let traded = fills(&venue.step(after(OPEN, second), Input::Time));
        filled |= end_status(&venue, 1) == Some(Status::Filled);
        if !filled {
            assert_eq!(open_status(&venue, 3), Some(Status::Held));
            continue;
        }
        let sells = venue.account().open.values();
        for order in sells.filter(|order| order.ticket.side == Side::Sell) {
            assert_eq!(order.remaining(), shares(&venue), "at {second} s");
        }
        parts += usize::from(second >= 60) * traded.len();
    }
    assert!(parts > 1, "the exit traded in parts");
    assert!(shares(&venue).is_zero());
}

#[test]
fn a_parent_that_ends_in_parts_takes_its_children_along_and_leaves_its_part() {
    let mut venue = replay(rows("101.02"), 60);
    let [mut parent, profit, loss] = bracket(3_000);
    parent.kind = Kind::Market;
    for (order_id, ticket) in [(1, parent), (2, profit), (3, loss)] {
        venue.step(after(OPEN, 1), place(order_id, ticket));
    }
    let part = venue.account().shares(symbol("SPY"));
    assert!(part > Quantity::ZERO && part < 3_000.into(), "{part}");
    for child in [2, 3] {
        assert_eq!(open_status(&venue, child), Some(Status::Held));
    }
    let (client, order_id) = (1, 1);
    venue.step(after(OPEN, 1), Input::Cancel { client, order_id });
    for order in [1, 2, 3] {
        assert_eq!(end_status(&venue, order), Some(Status::Cancelled));
    }
    assert_eq!(venue.account().shares(symbol("SPY")), part);
}

#[test]
fn one_of_a_group_cancels_the_others() {
    for effect in [GroupEffect::CancelWithBlock, GroupEffect::ReduceWithBlock] {
        let mut venue = replay(rows("99.5"), 60);
        let member = |limit: &str| Ticket {
            group: Some(Group {
                name: "exit".into(),
                effect,
            }),
            ..ticket(Side::Buy, Kind::Limit(decimal(limit)), 3_000)
        };
        for (order_id, limit) in [(1, "99.51"), (2, "99.2"), (3, "90")] {
            venue.step(after(OPEN, 30), place(order_id, member(limit)));
        }
        let mut now = 30;
        while venue.account().fills.is_empty() {
            now += 1;
            venue.step(after(OPEN, now), Input::Time);
        }
        let left = venue.account().find_open(1, 1).expect("a first part only");
        assert!(left.remaining() > Decimal::ZERO);
        match effect {
            GroupEffect::CancelWithBlock => {
                assert_eq!(end_status(&venue, 2), Some(Status::Cancelled));
                assert_eq!(end_status(&venue, 3), Some(Status::Cancelled));
            }
            _ => {
                let last = venue.account().find_open(1, 3).unwrap();
                assert!(last.ticket.quantity < decimal("3000"));
            }
        }
        venue.step(after(OPEN, 7 * 3600), Input::Time);
        let bought = venue.account().shares(symbol("SPY"));
        assert!(bought <= decimal("3000"), "{bought}");
    }
}

#[test]
fn a_group_shrinks_by_the_same_part_however_unequal_its_orders_and_however_small_its_trades() {
    let mut venue = replay(rows("99.5"), 60);
    let member = |limit: &str, quantity| Ticket {
        group: Some(Group {
            name: "exit".into(),
            effect: GroupEffect::ReduceWithoutBlock,
        }),
        ..ticket(Side::Buy, Kind::Limit(decimal(limit)), quantity)
    };
    let left = |venue: &Venue, order_id| {
        let order = venue.account().find_open(1, order_id);
        order.map_or(Quantity::ZERO, Order::remaining)
    };
    let others = [(2, 11), (3, 3_500), (4, 3_000)];
    for (order_id, quantity) in [(1, 3_000)].into_iter().chain(others) {
        let limit = if order_id == 1 { "100.5" } else { "90" };
        venue.step(after(OPEN, -1), place(order_id, member(limit, quantity)));
    }
    // The first of them trades seven shares more each second.
    let few = |second: i64| {
        Input::Desk(Desk::Limit {
            client: 1,
            order_id: 1,
            shares: Some((7 * second).into()),
        })
    };
    venue.step(after(OPEN, -1), few(1));
    let mut parts = 0;
    for second in 1..120 {
        parts += fills(&venue.step(after(OPEN, second), few(second + 1))).len();
        for (order_id, quantity) in others {
            let part = (Decimal::from(quantity) * left(&venue, 1) / decimal("3000")).floor();
            assert_eq!(left(&venue, order_id), part, "{order_id} after {parts} trades");
        }
    }
    assert!(parts > 20, "{parts}");
}

#[test]
fn a_group_that_has_traded_takes_nothing_more() {
    let mut venue = replay(rows("101.5"), 60);
    let member = Ticket {
        group: Some(Group {
            name: "one".into(),
            effect: GroupEffect::CancelWithBlock,
        }),
        ..ticket(Side::Buy, Kind::Market, 10)
    };
    venue.step(after(OPEN, 30), place(1, member.clone()));
    assert_eq!(end_status(&venue, 1), Some(Status::Filled));
    venue.step(after(OPEN, 31), place(2, member));
    assert_eq!(end_status(&venue, 2), Some(Status::Rejected));
}

#[test]
fn the_child_of_a_parent_that_trades_at_once_is_checked_like_any_order() {
    let mut venue = replay(rows("101.5"), 60);
    let parent = Ticket {
        transmit: false,
        ..ticket(Side::Buy, Kind::Market, 10)
    };
    let child = Ticket {
        parent: Some(1),
        ..ticket(Side::Sell, Kind::Market, 1_000_000)
    };
    venue.step(after(OPEN, 30), place(1, parent));
    venue.step(after(OPEN, 31), place(2, child));
    venue.step(after(OPEN, 50), Input::Time);
    assert_eq!(end_status(&venue, 1), Some(Status::Filled));
    assert_eq!(end_status(&venue, 2), Some(Status::Rejected));
    let symbol = ticket(Side::Buy, Kind::Market, 1).symbol;
    assert_eq!(venue.account().shares(symbol), Quantity::from(10));
}

#[test]
fn an_immediate_order_of_a_family_does_not_wait_for_the_next_session() {
    let evening = "2013-10-07T20:10:00Z";
    let mut rows = rows("100.5");
    for start in [after(evening, 0), after(OPEN, 86_400)] {
        rows.push(row(start, ["100", "100.02", "99.98", "100"], "10000"));
    }
    let mut venue = replay(rows, 60);
    let at_once = |ticket: Ticket| Ticket {
        lifetime: Lifetime::ImmediateOrCancel,
        ..ticket
    };
    let kept = |ticket: Ticket| Ticket {
        transmit: false,
        ..ticket
    };
    let child = |parent: i32| Ticket {
        parent: Some(parent),
        ..ticket(Side::Sell, Kind::Limit(decimal("90")), 10)
    };
    // A parent that its child lets go when its session is over, and a child of a parent that trades in the evening.
    let buy = ticket(Side::Buy, Kind::Market, 10);
    let late = Ticket {
        outside_regular: true,
        ..buy.clone()
    };
    for (order_id, ticket) in [
        (1, kept(at_once(buy))),
        (2, child(1)),
        (3, kept(late)),
        (4, at_once(child(3))),
    ] {
        venue.step(after(evening, 10), place(order_id, ticket));
    }
    let ends = [1, 2, 3, 4].map(|order_id| end_status(&venue, order_id));
    let [cancelled, filled] = [Status::Cancelled, Status::Filled].map(Some);
    assert_eq!(ends, [cancelled, cancelled, filled, cancelled]);
    assert!(fills(&venue.step(after(OPEN, 86_460), Input::Time)).is_empty());
}

#[test]
fn a_family_of_two_stocks_is_let_go_as_a_whole() {
    let nvda = symbol("NVDA");
    let file = |rows| Rows { rows, seconds: 60 };
    let files = BTreeMap::from([(symbol("SPY"), file(rows("101"))), (nvda, file(rows("101")))]);
    let start = after(OPEN, 0);
    let mut account = Account::default();
    account.apply(&Venue::opening(100_000.into(), start));
    let mut venue = Venue::new(Market::Replay(Replay::new(files, 7, start)), account, start);
    let parent = Ticket {
        symbol: nvda,
        lifetime: Lifetime::ImmediateOrCancel,
        transmit: false,
        ..ticket(Side::Buy, Kind::Market, 10)
    };
    let child = Ticket {
        parent: Some(1),
        ..ticket(Side::Buy, Kind::Market, 10)
    };
    venue.step(after(OPEN, 30), place(1, parent));
    assert_eq!(fills(&venue.step(after(OPEN, 30), place(2, child))).len(), 2);
}

#[test]
fn a_family_has_three_generations_at_most() {
    let mut venue = replay(rows("100"), 60);
    let kept = |parent| Ticket {
        parent,
        transmit: false,
        ..ticket(Side::Buy, Kind::Limit(decimal("100.5")), 1)
    };
    let mut refusal = |order_id, parent| {
        let outputs = venue.step(after(OPEN, 30), place(order_id, kept(parent)));
        outputs.into_iter().find_map(|output| match output {
            Output::Refused { why, .. } => Some(why),
            _ => None,
        })
    };
    assert_eq!(refusal(1, None), None);
    assert_eq!(refusal(2, Some(1)), None);
    assert_eq!(refusal(3, Some(2)), None);
    assert_eq!(refusal(4, Some(3)), Some(Refusal::TooDeep));
    assert_eq!(refusal(5, Some(2)), None, "a sister is no deeper");
}
