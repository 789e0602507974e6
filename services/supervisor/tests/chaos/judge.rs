//! The judges: what the broker did, what LEDGER holds, what the database answers and what a browser was told must be one
//! story. They reckon for themselves and take nobody's word.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use protocol::operator::{Answer, Query, StateMark};
use protocol::{Hash, Money, subject};
use serde_json::Value;

use crate::books::{Books, CENT, decimal, root_of, text};
use crate::keeper::Ends;
use crate::tally::Asked;
use crate::watch::{self, Ledger, Told};
use crate::world::{Outcome, World};

/// The ordering client.
const OURS: i64 = 11;
/// Exit codes that doubt and outages explain: a clean end, no server, doubt.
const EXPLAINED: [i32; 3] = [0, 69, 75];
/// Items in a page of an answer.
const PAGE: u32 = 1_000;

/// All that there is to look at, of about one moment.
pub struct Evidence {
    pub facts: Vec<Value>,
    pub ledger: Ledger,
    pub seen: Ledger,
    pub told: Told,
    pub stories: BTreeMap<String, Story>,
    positions: BTreeMap<String, Money>,
    trades: Vec<String>,
    mark: u64,
    working: usize,
}

/// An order as LEDGER tells it.
#[derive(Debug, Clone, Default)]
pub struct Story {
    pub symbol: String,
    side: String,
    quantity: Money,
    cause: String,
    /// Shares by execution, without revisions.
    fills: BTreeMap<String, Money>,
    pub events: BTreeSet<String>,
}

impl Story {
    fn filled(&self) -> Money {
        self.fills.values().copied().sum()
    }

    /// Nothing more can become of it.
    pub fn is_over(&self) -> bool {
        self.events.contains("cancelled")
            || self.events.contains("rejected")
            || self.filled() >= self.quantity
    }
}

/// Looks at everything; nothing when somebody does not answer.
pub async fn gather(world: &World) -> Option<Evidence> {
    let ledger = watch::read(&world.bus, 1).await.ok()?;
    let (rows, mark) = ask(world, "positions", None).await?;
    let mut positions = BTreeMap::new();
    for row in rows {
        let shares = decimal(&row["quantity"]).normalize();
        if !shares.is_zero() {
            positions.insert(text(&row["symbol"]), shares);
        }
    }
    let (mut trades, mut after) = (Vec::new(), Some(String::new()));
    while let Some(from) = after.take() {
        let query = Query {
            from: Some(protocol::Timestamp::UNIX_EPOCH),
            limit: Some(PAGE),
            after: Some(from).filter(|from| !from.is_empty()),
            ..Query::default()
        };
        match world
            .bus
            .request::<_, Answer<Value>>(&subject::query("trades"), &query)
            .await
            .ok()?
        {
            Answer::Page { items, next, .. } => {
                trades.extend(items.iter().map(root_of));
                after = next;
            }
            Answer::Error { .. } => return None,
        }
    }
    trades.sort();
    trades.dedup();
    let open = world.control(&serde_json::json!({"ask": "orders"})).await?;
    let ours = |order: &&Value| order["client"] == OURS;
    Some(Evidence {
        facts: world.facts(),
        seen: world.follower.seen(),
        told: world.page.told(),
        stories: stories(&ledger),
        ledger,
        positions,
        trades,
        mark: mark?.sequence,
        working: open["orders"].as_array()?.iter().filter(ours).count(),
    })
}

async fn ask(world: &World, name: &str, after: Option<String>) -> Option<(Vec<Value>, Option<StateMark>)> {
    let query = Query {
        limit: Some(PAGE),
        after,
        ..Query::default()
    };
    match world.bus.request(&subject::query(name), &query).await.ok()? {
        Answer::Page { items, state, .. } => Some((items, state)),
        Answer::Error { .. } => None,
    }
}

fn stories(ledger: &Ledger) -> BTreeMap<String, Story> {
    let mut stories: BTreeMap<String, Story> = BTreeMap::new();
    for stored in ledger.values() {
        let record = &stored.record;
        if record["kind"] == "intent" {
            let story = stories.entry(text(&record["id"])).or_default();
            story.symbol = text(&record["symbol"]);
            story.side = text(&record["side"]);
            story.quantity = decimal(&record["quantity"]);
            story.cause = text(&record["cause"]);
            story.events.insert("intent".to_owned());
        } else if record["kind"] == "order" {
            let story = stories.entry(text(&record["order"])).or_default();
            story.events.insert(text(&record["event"]));
            if record["event"] == "fill" {
                story.fills.insert(root_of(record), decimal(&record["quantity"]));
            }
        }
    }
    stories
}

fn books_of(ledger: &Ledger) -> Books {
    let mut books = Books::default();
    ledger.values().for_each(|stored| books.record(&stored.record));
    books
}

/// Orders of one decision that the broker has more than once, whichever client they came from.
pub fn duplicates(facts: &[Value]) -> Vec<String> {
    let mut count = BTreeMap::<_, u32>::new();
    for fact in facts.iter().filter(|fact| fact["record"] == "accepted") {
        let id = text(&fact["order"]["ticket"]["reference"]);
        if !id.is_empty() {
            *count.entry(id).or_default() += 1;
        }
    }
    let twice = count.into_iter().filter(|(_, count)| *count > 1);
    twice
        .map(|(id, count)| format!("the broker has order {id} {count} times"))
        .collect()
}

impl Evidence {
    /// What must be so a moment after all faults are over; none of it is wrong while something is under way.
    pub fn unsettled(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut must = |right: bool, text: String| {
            if !right {
                found.push(text);
            }
        };
        let end = self.ledger.keys().last().copied().unwrap_or_default();
        let (broker, ledger) = (Books::of_broker(&self.facts), books_of(&self.ledger));
        let page = &self.told.books;
        must(
            self.mark == end,
            format!("the database is at record {}, LEDGER ends at {end}", self.mark),
        );
        must(
            self.told.sequence == end,
            format!(
                "the browser is at record {}, LEDGER ends at {end}",
                self.told.sequence
            ),
        );
        let held = broker.positions();
        must(
            ledger.positions() == held,
            format!("LEDGER holds {:?}, the broker {held:?}", ledger.positions()),
        );
        must(
            self.positions == held,
            format!("the database holds {:?}, the broker {held:?}", self.positions),
        );
        must(
            page.positions() == held,
            format!("the browser holds {:?}, the broker {held:?}", page.positions()),
        );
        must(
            ledger.executions() == broker.executions(),
            format!(
                "trades of LEDGER and broker differ: {:?}",
                apart(&ledger.executions(), &broker.executions())
            ),
        );
        must(
            self.trades == ledger.executions(),
            format!(
                "trades of database and LEDGER differ: {:?}",
                apart(&self.trades, &ledger.executions())
            ),
        );
        for (who, cash) in [("LEDGER", ledger.cash()), ("the browser", page.cash())] {
            let right = (cash - broker.cash()).abs() <= CENT;
            must(right, format!("{who} has ${cash}, the broker ${}", broker.cash()));
        }
        must(
            self.working == 0,
            format!("{} orders still work at the broker", self.working),
        );
        let open = self.stories.iter().filter(|(_, story)| {
            story.events.contains("intent") && !story.is_over() && !story.events.contains("absent")
        });
        for (id, story) in open.take(5) {
            must(false, format!("order {id} has no end: {story:?}"));
        }
        found
    }

    /// What must never be, at any time.
    pub fn wrong(&self, asked: &[Asked], ends: &Ends) -> Vec<String> {
        let mut found = duplicates(&self.facts);
        found.extend(self.told.wrong.iter().cloned());
        self.chain(&mut found);
        self.kept(&mut found);
        self.orders(&mut found);
        self.attributed(&mut found);
        self.never_short(&mut found);
        self.history(asked, &mut found);
        for ((name, code), count) in ends.lock().expect("nobody panics while holding it").iter() {
            if !EXPLAINED.contains(code) {
                found.push(format!("{name} ended with exit code {code}, {count} times"));
            }
        }
        found
    }

    /// LEDGER is one chain without a hole, and each record is of the epoch that leads.
    fn chain(&self, found: &mut Vec<String>) {
        let (mut hash, mut epoch, mut next) = (Hash::zero(), 0, 1);
        for (sequence, stored) in &self.ledger {
            let record = &stored.record;
            if record["kind"] == "epoch" {
                epoch += 1;
            }
            let follows = record["previous_hash"].as_str() == Some(hash.0.as_str());
            if *sequence != next || !follows || record["epoch"].as_u64() != Some(epoch) {
                found.push(format!(
                    "record {sequence} of LEDGER is not what comes next: {record}"
                ));
            }
            (hash, next) = (stored.hash.clone(), sequence + 1);
        }
    }

    /// What was once seen by anybody is still there, and the same.
    fn kept(&self, found: &mut Vec<String>) {
        for (sequence, seen) in &self.seen {
            if self.ledger.get(sequence) != Some(seen) {
                found.push(format!(
                    "record {sequence} was seen and is lost or changed: {:?}",
                    seen.record
                ));
            }
        }
        for (sequence, hash) in &self.told.hashes {
            if self.ledger.get(sequence).map(|stored| &stored.hash) != Some(hash) {
                found.push(format!(
                    "a browser was told another record {sequence} than LEDGER has"
                ));
            }
        }
    }

    /// Every order at the broker was decided and written down, once, as it was sent; what is absent never was there.
    fn orders(&self, found: &mut Vec<String>) {
        let mut causes = BTreeSet::new();
        let decided = |story: &&Story| story.events.contains("intent");
        for story in self.stories.values().filter(decided) {
            if !causes.insert((&story.cause, &story.symbol)) {
                found.push(format!("two orders follow from {}", story.cause));
            }
        }
        for fact in self
            .facts
            .iter()
            .filter(|fact| fact["record"] == "accepted" && fact["order"]["client"] == OURS)
        {
            let ticket = &fact["order"]["ticket"];
            let id = text(&ticket["reference"]);
            let Some(story) = self.stories.get(&id).filter(decided) else {
                found.push(format!("the broker has order {id}, which LEDGER never decided"));
                continue;
            };
            let same = story.symbol == text(&ticket["symbol"])
                && story.side == text(&ticket["side"])
                && story.quantity == decimal(&ticket["quantity"]);
            if !same {
                found.push(format!(
                    "the broker has order {id} as {ticket}, LEDGER as {story:?}"
                ));
            }
            if story.events.contains("absent") && !story.events.contains("late") && story.fills.is_empty() {
                found.push(format!("order {id} was called absent and is at the broker"));
            }
        }
    }

    /// Every fill belongs to the order that the broker filled.
    fn attributed(&self, found: &mut Vec<String>) {
        for fill in self
            .facts
            .iter()
            .filter(|fact| fact["record"] == "filled")
            .map(|fact| &fact["fill"])
        {
            let id = text(&fill["reference"]);
            let end = format!(".{:08x}.01", fill["number"].as_u64().unwrap_or_default());
            let owner = self
                .stories
                .iter()
                .find(|(_, story)| story.fills.keys().any(|root| root.ends_with(&end)));
            match owner {
                Some((owner, _)) if fill["client"] == OURS && *owner != id => {
                    found.push(format!("a fill of order {id} counts for {owner}"));
                }
                None => found.push(format!("a fill of the broker is not in LEDGER: {fill}")),
                _ => {}
            }
        }
    }

    /// Nobody here sells short: more sold than held is an order that nobody wanted.
    fn never_short(&self, found: &mut Vec<String>) {
        let mut held = BTreeMap::<String, Money>::new();
        for fill in self
            .facts
            .iter()
            .filter(|fact| fact["record"] == "filled")
            .map(|fact| &fact["fill"])
        {
            let shares = held.entry(text(&fill["symbol"])).or_default();
            let sold = fill["side"] == "sell";
            *shares += if sold {
                -decimal(&fill["quantity"])
            } else {
                decimal(&fill["quantity"])
            };
            if shares.is_sign_negative() && !shares.is_zero() {
                found.push(format!("more was sold than was held: {fill}"));
            }
        }
    }

    /// A command that was answered yes is recorded once as that, one that was answered no never as carried out, and one
    /// without an answer at most once.
    fn history(&self, asked: &[Asked], found: &mut Vec<String>) {
        let mut recorded = BTreeMap::<String, Vec<bool>>::new();
        for record in self.ledger.values().map(|stored| &stored.record) {
            if record["kind"] == "command" {
                let accepted = record["accepted"].as_bool().unwrap_or_default();
                recorded.entry(text(&record["id"])).or_default().push(accepted);
            }
        }
        for Asked { id, verb, outcome } in asked {
            let told = recorded.remove(id.as_str()).unwrap_or_default();
            let right = match outcome {
                Outcome::Ok => told == [true],
                Outcome::Failed => !told.contains(&true),
                Outcome::Unknown => told.len() <= 1,
            };
            if !right {
                found.push(format!(
                    "{verb} {id} was {outcome:?} for its asker, and LEDGER has {told:?}"
                ));
            }
        }
    }
}

/// What only one of two lists has.
fn apart<'a>(one: &'a [String], other: &'a [String]) -> Vec<&'a String> {
    let (one, other): (BTreeSet<_>, BTreeSet<_>) = (one.iter().collect(), other.iter().collect());
    one.symmetric_difference(&other).take(8).copied().collect()
}
