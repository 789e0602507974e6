//! Two laws that so much depends on that they are tried a hundred thousand times: whatever the broker says, in whatever
//! order and however often, comes to the same books; and nothing that was said ever holds an exit back.

use std::time::Duration;

use engine::gate::{Gate, Moment};
use engine::reconcile::{BrokerStatus, Pass, Truth};
use engine::trader::{Ask, Heard, Input, News, Output, Trader};
use jiff::SignedDuration;
use protocol::decision::{Regime, Signal};
use protocol::ledger::{Entry, Fill, Holding, Record, Side};
use protocol::market::Quote;
use protocol::operator::{Command, Verb};
use protocol::settings::Settings;
use protocol::{Hash, Id, Money, Quantity, Symbol, Timestamp};

use crate::fate::Story;
use crate::others::placed;
use crate::sums::Sums;
use crate::world::{World, number, symbol};

/// Cases of each law; fewer where nothing is optimised.
const CASES: u64 = if cfg!(debug_assertions) { 2_000 } else { 100_000 };
const NAMES: [&str; 3] = ["AAPL", "NVDA", "IXHL"];

/// Random numbers that are the same in every run.
pub struct Dice(u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

/// A trader with its ledger, as light as it gets: one begins anew for every case.
struct Books {
    trader: Trader,
    gate: Gate,
    now: Timestamp,
    said: u64,
    /// The judge's.
    sums: Sums,
}

impl Books {
    fn of(world: &World) -> Self {
        let portfolio = &world.trader.portfolio;
        let mut sums = Sums::default();
        world.records.iter().for_each(|(_, _, record)| sums.take(record));
        Self {
            trader: world.trader.clone(),
            gate: Gate::new(world.trader.limits().clone(), portfolio.order_id_max, portfolio),
            now: world.now,
            said: 0,
            sums,
        }
    }

    fn hear(&mut self, input: Input) {
        for output in self.trader.step(self.now, input) {
            match output {
                Output::Append(draft) if self.trader.is_new(&draft) => {
                    self.store(draft.record(self.trader.portfolio.epoch));
                }
                Output::Cancel(order_id) => self.sums.cancel(order_id),
                _ => {}
            }
        }
    }

    fn store(&mut self, mut record: Record) {
        record.previous_hash = self.trader.portfolio.hash.clone();
        let sequence = self.trader.portfolio.sequence + 1;
        let hash = Hash(format!("{sequence:064x}"));
        self.trader.applied(sequence, &hash, &record, self.now).unwrap();
        self.sums.take(&record);
        if let Entry::Intent(intent) = &record.entry {
            let moment = Moment {
                at: record.at,
                waited: Duration::ZERO,
                killed: self.trader.killed(),
                closed: self.trader.closed(self.now),
                portfolio: &self.trader.portfolio,
                others: self.trader.others(),
            };
            let passed = self.gate.pass(&moment, &record.id, intent);
            assert_eq!(passed, Ok(()), "what is decided well passes the last gate");
        }
    }

    fn name(&mut self, what: &str) -> Id {
        self.said += 1;
        Id::derive(&[what, &self.said.to_string()])
    }

    fn quote(&mut self, symbol: Symbol, cents: u64, tradable: bool) {
        let price = Some(Money::new(i64::try_from(cents).unwrap(), 2));
        let quote = Quote {
            id: self.name("quote"),
            at: self.now,
            symbol,
            bid: price,
            ask: price,
            last: price,
            bid_size: None,
            ask_size: None,
            previous_close: None,
            tradable,
        };
        self.hear(Input::Quote(quote));
    }

    fn ask(&mut self, verb: Verb, symbol: Option<Symbol>) {
        let ask = Ask {
            id: self.name("ask"),
            verb,
            by: "operator".into(),
            command: Command {
                symbol,
                ..Command::default()
            },
        };
        self.hear(Input::Ask(ask));
    }
}

/// What the books must come to, reckoned from the broker's side alone.
fn judge(books: &Books, bought: &Story, sold: &Story, case: u64) {
    let portfolio = &books.trader.portfolio;
    for story in [bought, sold] {
        let order = &portfolio.orders[&story.order.0];
        let ours = (order.state, order.filled, order.filled_notional, order.commission);
        let theirs = (story.state(), story.filled(), story.worth(), story.commission());
        assert_eq!(ours, theirs, "order of case {case}");
    }
    let of = |story: &Story| &portfolio.positions[&story.order.1.symbol];
    if !bought.fills.is_empty() {
        let (shares, cost) = (of(bought).quantity, of(bought).cost);
        assert_eq!((shares, cost), (bought.filled(), bought.worth()), "case {case}");
    }
    let left = number("30") - sold.filled();
    let gained = sold.worth() - sold.filled() * Money::ONE_HUNDRED;
    let ours = (of(sold).quantity, of(sold).cost, of(sold).realized);
    assert_eq!(ours, (left, left * Money::ONE_HUNDRED, gained), "case {case}");
    let cash = number("100000") - bought.worth() + sold.worth() - bought.commission() - sold.commission();
    assert_eq!(portfolio.cash, cash, "cash of case {case}");
    let paid = bought.commission() + sold.commission();
    assert_eq!((portfolio.day.realized, portfolio.day.commission), (gained, paid));
    assert!(portfolio.differences.is_empty(), "case {case}");
}

/// All that the broker says of its orders when it is read, twice: the first reading may have news, the second has none.
fn read(books: &mut Books, bought: &Story, sold: &Story) {
    let mut truth = Truth::default();
    bought.tell(&mut truth);
    sold.tell(&mut truth);
    for (story, held) in [(bought, bought.filled()), (sold, number("30") - sold.filled())] {
        let holding = Holding {
            quantity: held,
            average_cost: Money::ONE_HUNDRED,
        };
        if !held.is_zero() {
            truth.positions.insert(story.order.1.symbol, holding);
        }
    }
    for _ in 0..2 {
        truth.folded = books.trader.portfolio.sequence;
        truth.cash = Some(books.trader.portfolio.cash);
        books.hear(Input::Truth(truth.clone(), Pass::Running));
    }
}

#[test]
fn what_the_broker_says_comes_to_the_same_books_in_any_order_and_number_and_with_a_reading_anywhere() {
    let mut world = World::new(&[("NVDA", "30")]);
    world.quote("AAPL", "100");
    world.bullish("AAPL");
    world.quote("NVDA", "90");
    let [entry, exit] = &world.intents[..] else {
        panic!("an entry and an exit")
    };
    for case in 0..CASES {
        let dice = &mut Dice(case);
        let (bought, sold) = (Story::of(entry, dice), Story::of(exit, dice));
        let mut told: Vec<Input> = Vec::new();
        for story in [&bought, &sold] {
            for news in &story.news {
                told.extend((0..=dice.roll(2)).map(|_| story.heard(news)));
            }
        }
        for last in (1..told.len()).rev() {
            told.swap(last, usize::try_from(dice.roll(last as u64 + 1)).unwrap());
        }
        // All of it without a reading; what overtook its cause counts when it is told again.
        let mut heard = Books::of(&world);
        let in_order = [&bought, &sold]
            .into_iter()
            .flat_map(|story| story.news.iter().map(|news| story.heard(news)));
        told.iter()
            .cloned()
            .chain(in_order)
            .for_each(|input| heard.hear(input));
        judge(&heard, &bought, &sold, case);
        // A part of it, then a reading as after a crash, then the rest of it.
        let rest = told.split_off(usize::try_from(dice.roll(told.len() as u64)).unwrap());
        let mut books = Books::of(&world);
        told.into_iter().for_each(|input| books.hear(input));
        read(&mut books, &bought, &sold);
        judge(&books, &bought, &sold, case);
        rest.into_iter().for_each(|input| books.hear(input));
        judge(&books, &bought, &sold, case);
    }
}

/// Anything that may be said to a trader, but that time goes on.
fn anything(books: &mut Books, dice: &mut Dice) {
    let name: &&str = dice.pick(&NAMES);
    let symbol = symbol(name);
    match dice.roll(12) {
        0..=1 => {
            let verb = *dice.pick(&Verb::ALL);
            let about = (dice.roll(2) == 0).then_some(symbol);
            books.ask(verb, about);
        }
        2..=3 => books.quote(symbol, 8_000 + dice.roll(4_000), dice.roll(8) > 0),
        4..=5 => {
            let up = dice.roll(2) == 0;
            let signal = Signal {
                id: books.name("signal"),
                at: books.now,
                cause: Id::derive(&["bar"]),
                symbol,
                down: if up { 0.1 } else { 0.8 },
                flat: 0.1,
                up: if up { 0.8 } else { 0.1 },
                regime: *dice.pick(&[Regime::Bull, Regime::Bear]),
                price: Money::ONE_HUNDRED,
                model: "many".into(),
                model_hash: Hash::zero(),
            };
            books.hear(Input::Signal(signal));
        }
        6..=8 => of_an_order(books, dice),
        9 => {
            let quantity = Quantity::from(dice.roll(60));
            let holding = Holding {
                quantity,
                average_cost: Money::ONE_HUNDRED,
            };
            let mut truth = Truth {
                folded: books.trader.portfolio.sequence,
                ..Truth::default()
            };
            for position in books.trader.portfolio.open_positions() {
                let average_cost = Money::ONE_HUNDRED;
                truth.positions.insert(
                    position.symbol,
                    Holding {
                        quantity: position.quantity,
                        average_cost,
                    },
                );
            }
            truth.positions.insert(symbol, holding);
            let others = Quantity::from(dice.roll(40).saturating_sub(20));
            truth.open.push(placed(name, Side::Sell, &others.to_string()));
            books.sums.others_sell(symbol, others);
            books.hear(Input::Truth(
                truth,
                *dice.pick(&[Pass::Running, Pass::First, Pass::Second]),
            ));
        }
        10 => {
            let closed = (dice.roll(2) == 0).then(|| "the link is down".to_owned());
            books.hear(Input::Gate(closed));
        }
        _ => books.hear(Input::KillHere(dice.roll(2) == 0)),
    }
}

/// The broker says something of an order that is open. It fills none whose cancellation was asked for.
fn of_an_order(books: &mut Books, dice: &mut Dice) {
    let open: Vec<_> = books.trader.portfolio.open_orders().cloned().collect();
    if open.is_empty() {
        return;
    }
    let order = dice.pick(&open);
    let permanent_id = i64::try_from(dice.roll(3)).unwrap() * 1_000 + i64::from(order.order_id);
    let news = match dice.roll(6) {
        0 => News::Status(BrokerStatus::Working, None, String::new()),
        1 => News::Status(BrokerStatus::Cancelled, Some(order.filled), String::new()),
        2 => News::Error(201, "no".into()),
        3 => News::Error(103, "again?".into()),
        _ if order.cancel_requested() => {
            News::Status(BrokerStatus::Cancelled, Some(order.filled), String::new())
        }
        _ => News::Execution(
            order.symbol,
            Fill {
                execution_id: books.name("execution").to_string(),
                side: order.side,
                quantity: order.rest().min(Quantity::from(dice.roll(60) + 1)),
                price: Money::ONE_HUNDRED,
                commission: None,
                executed_at: books.now,
                permanent_id,
            },
        ),
    };
    let heard = Heard {
        order_ref: order.id.to_string(),
        order_id: order.order_id,
        permanent_id,
        news,
    };
    books.hear(Input::Broker(heard));
}

/// An account with an exit of an earlier incarnation on its way, which may be called absent, and appear all the same; and
/// with so many orders and trades allowed, of so many dollars, as the engine's tests have it at the most.
fn limited(most: u32) -> World {
    let limit = |settings: &mut Settings| {
        let risk = &mut settings.risk;
        risk.orders_per_minute_max = risk.orders_per_minute_max.min(most);
        risk.trades_per_symbol_per_day_max = risk.trades_per_symbol_per_day_max.min(most);
        for dollars in [
            &mut risk.daily_loss_max,
            &mut risk.gross_notional_max,
            &mut risk.notional_per_symbol_max,
            &mut risk.shares_per_symbol_max,
        ] {
            *dollars = (*dollars).min(Money::from(most));
        }
    };
    let mut world = World::with(&[("AAPL", "50"), ("NVDA", "30")], limit);
    world.quote("NVDA", "90");
    let mut world = world.restart();
    NAMES.iter().for_each(|name| world.quote(name, "100"));
    world
}

#[test]
fn nothing_that_was_said_holds_an_exit_back_and_exits_never_make_a_short() {
    let worlds = [0, 1, u32::MAX].map(limited);
    let mut closed = 0u64;
    for case in 0..CASES {
        let dice = &mut Dice(case.wrapping_mul(7_919));
        let mut books = Books::of(dice.pick(&worlds));
        for _ in 0..dice.roll(14) {
            anything(&mut books, dice);
            books.hear(Input::Tick);
            for name in NAMES {
                let symbol = symbol(name);
                let (held, may) = (books.sums.held(symbol), books.sums.may_be_sold(symbol));
                let sells = books.sums.on_sale(symbol, false);
                assert!(held >= Quantity::ZERO, "case {case}: {held} {name}");
                assert!(sells <= may, "case {case}: {sells} of {may} {name}");
            }
            if dice.roll(3) == 0 {
                let seconds = i64::try_from(dice.roll(40)).unwrap();
                books.now += SignedDuration::from_secs(seconds);
            }
        }
        // Only the kill switch, the way to the broker and what others have on sale may hold an exit back.
        books.hear(Input::KillHere(false));
        books.ask(Verb::Release, None);
        books.hear(Input::Gate(None));
        for name in NAMES {
            let symbol = symbol(name);
            let held = books.sums.may_be_sold(symbol);
            books.ask(Verb::Close, Some(symbol));
            let sells = books.sums.on_sale(symbol, true);
            assert!(sells >= held, "case {case}: {sells} of {held} {name} leave");
            closed += u64::from(!held.is_zero());
        }
    }
    assert!(
        closed > CASES / 2,
        "only {closed} exits in {CASES} cases mean little"
    );
}
