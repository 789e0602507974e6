//! What the account can carry: what an order counts before it trades, asked for and placed.

use super::*;
use crate::venue::desk::Desk;

/// Minutes at 100, an account of 100,000 dollars, and a clock that stands before the first trade.
fn flat() -> Venue {
    let row = |minute: i64| row(after(OPEN, 60 * minute), ["100", "100", "100", "100"], "9000");
    replay((0..5).map(row).collect(), 60)
}

fn margins(venue: &Venue, ticket: &Ticket) -> (Money, Money) {
    let next = venue.account().next_order_id(1);
    let preview = venue.preview(1, next, ticket).unwrap();
    (preview.margin_before, preview.margin_after)
}

/// Places an order and says why it was rejected, if it was.
fn objection(venue: &mut Venue, second: i64, ticket: &Ticket) -> Option<String> {
    venue.step(after(OPEN, second), Input::Time);
    let next = venue.account().next_order_id(1);
    let asked = venue.preview(1, next, ticket);
    let outputs = venue.step(after(OPEN, second), place(next, ticket.clone()));
    let rejected = outputs.iter().find_map(|output| match output {
        Output::Record(Record::Accepted { order }) => order.end.as_ref().map(|end| end.reason.clone()),
        _ => None,
    });
    let expected = rejected.clone().map(Refusal::Rejected);
    assert_eq!(asked.err(), expected, "what was asked for and what was placed");
    rejected
}

#[test]
fn an_order_that_nobody_can_value_is_refused() {
    let mut venue = flat();
    let mut refused = |side, kind, quantity| {
        assert!(venue.mark(symbol("SPY")).is_none());
        objection(&mut venue, -10, &ticket(side, kind, quantity))
    };
    let [low, limit, high] = ["0.01", "100", "110"].map(decimal);
    for (side, kind) in [
        (Side::Buy, Kind::Market),
        (Side::Buy, Kind::OnClose { limit: None }),
        (Side::Sell, Kind::Market),
        (Side::Sell, Kind::Limit(low)),
        (Side::Sell, Kind::Stop(limit)),
    ] {
        let reason = refused(side, kind, 1).unwrap();
        assert_eq!(reason, "SPY has no price yet, so the margin needed is unknown");
    }
    assert!(
        refused(Side::Buy, Kind::Stop(high), 40_000)
            .unwrap()
            .contains("insufficient")
    );
    assert_eq!(refused(Side::Buy, Kind::Limit(limit), 10), None);
    assert_eq!(refused(Side::Buy, Kind::Stop(high), 10), None);
    // Once there is a price, that is what a sale below it owes.
    let mut venue = flat();
    venue.step(after(OPEN, 1), Input::Time);
    let reason = objection(&mut venue, 2, &ticket(Side::Sell, Kind::Limit(low), 40_000)).unwrap();
    assert!(reason.contains("insufficient"), "{reason}");
    assert_eq!(
        objection(&mut venue, 3, &ticket(Side::Sell, Kind::Market, 10)),
        None
    );
}

#[test]
fn one_far_order_counts_for_its_own_shares_only() {
    let far = [
        ticket(Side::Buy, Kind::Stop(decimal("3000")), 1),
        ticket(Side::Sell, Kind::Limit(decimal("3000")), 1),
    ];
    for (order, held) in far.into_iter().zip([Side::Buy, Side::Sell]) {
        let mut venue = flat();
        let alone = Ticket {
            quantity: 100.into(),
            ..ticket(held, Kind::Market, 1)
        };
        assert_eq!(objection(&mut venue, 10, &alone), None);
        let near = ticket(
            held,
            Kind::Limit(if held == Side::Buy {
                decimal("90")
            } else {
                decimal("110")
            }),
            200,
        );
        let own = if held == Side::Buy {
            decimal("100")
        } else {
            decimal("110")
        };
        // A quarter of a hundred shares at 100, two hundred more at the worse of own and market, and one at 3000.
        let shares = decimal("2500");
        let with_near = shares + decimal("50") * own;
        assert_eq!(margins(&venue, &near), (shares, with_near));
        assert_eq!(objection(&mut venue, 11, &near), None);
        let with_far = with_near + decimal("750");
        assert_eq!(margins(&venue, &order), (with_near, with_far));
        assert_eq!(objection(&mut venue, 12, &order), None);
        // To leave what is held, however cheaply, takes nothing more.
        let leave = if held == Side::Buy { Side::Sell } else { Side::Buy };
        assert_eq!(
            margins(&venue, &ticket(leave, Kind::Market, 100)),
            (with_far, with_far)
        );
        assert_eq!(venue.valuation().margin, shares);
    }
}

#[test]
fn an_order_that_is_kept_back_is_asked_about_like_a_new_one() {
    let mut venue = flat();
    venue.step(after(OPEN, 1), Input::Time);
    let order = |quantity| ticket(Side::Buy, Kind::Market, quantity);
    let kept_back = Ticket {
        transmit: false,
        ..order(40_000)
    };
    venue.step(after(OPEN, 2), place(1, kept_back));
    let asked = venue.preview(1, 1, &order(40_000));
    // Fewer shares are carried, and what is kept back takes no margin.
    let fewer = venue.preview(1, 1, &order(100)).unwrap();
    assert_eq!(
        (fewer.margin_before, fewer.margin_after),
        (Money::ZERO, decimal("2500"))
    );
    venue.step(after(OPEN, 2), place(1, order(40_000)));
    let reason = venue
        .account()
        .find_completed(1, 1)
        .unwrap()
        .end
        .clone()
        .unwrap()
        .reason;
    assert!(reason.contains("insufficient"), "{reason}");
    assert_eq!(asked.err(), Some(Refusal::Rejected(reason)));
}

#[test]
fn new_terms_of_an_order_that_has_traded_in_part_cost_what_is_still_to_be_charged() {
    let mut venue = flat();
    let limit = |quantity| ticket(Side::Buy, Kind::Limit(decimal("100")), quantity);
    let (client, order_id) = (1, 1);
    let shares = Some(decimal("10"));
    venue.step(
        after(OPEN, 1),
        Input::Desk(Desk::Limit {
            client,
            order_id,
            shares,
        }),
    );
    venue.step(after(OPEN, 2), place(1, limit(20)));
    venue.step(after(OPEN, 70), Input::Time);
    let order = venue.account().find_open(1, 1).unwrap();
    assert_eq!((order.filled, order.commission), (decimal("10"), decimal("0.35")));
    // Up to a hundred shares the least commission is enough, and it has been charged.
    assert_eq!(venue.preview(1, 1, &limit(100)).unwrap().commission, Money::ZERO);
    assert_eq!(
        venue.preview(1, 1, &limit(200)).unwrap().commission,
        decimal("0.35")
    );
    assert_eq!(
        venue.preview(1, 2, &limit(100)).unwrap().commission,
        decimal("0.35")
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What is asked for is what placing it does, whatever works already, and no order makes another one cheaper.
    #[test]
    fn what_if_is_what_placing_does(orders in prop::collection::vec((any::<bool>(), 1i64..3_000, 1i64..40, any::<bool>()), 1..12)) {
        let mut venue = flat();
        venue.step(after(OPEN, 5), Input::Time);
        let mut needed = Money::ZERO;
        for (buys, quantity, away, far) in orders {
            // They rest: limits below and stops above for a buyer, the other way round for a seller.
            let side = if buys { Side::Buy } else { Side::Sell };
            let away = Decimal::from(if buys == far { away } else { -away });
            let price = decimal("100") + away;
            let kind = if far { Kind::Stop(price) } else { Kind::Limit(price) };
            let order = ticket(side, kind, quantity);
            let next = venue.account().next_order_id(1);
            let asked = venue.preview(1, next, &order);
            let rejected = objection(&mut venue, 6, &order).is_some();
            prop_assert_eq!(asked.is_err(), rejected);
            if let Ok(asked) = asked {
                prop_assert_eq!(asked.margin_before, needed);
                prop_assert!(asked.margin_after >= needed && asked.margin_after <= venue.valuation().equity());
                needed = asked.margin_after;
            }
        }
        prop_assert!(venue.account().fills.is_empty());
    }
}
