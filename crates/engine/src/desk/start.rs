//! The start of an incarnation once the ledger is read: its identity and epoch, then the broker's truth, until a reading
//! has nothing new. Nothing is ordered before its end.

use protocol::decision::Level;
use protocol::ledger::{Entry, Epoch, Identity};
use protocol::{Hash, Id, Timestamp};

use super::{AGAIN_MS, Deed, Desk, End, again};
use crate::portfolio::Portfolio;
use crate::reconcile::{self, Pass, Truth};
use crate::trader::{Draft, Input as Step};

/// Readings of the broker's truth at the start, until one has nothing new.
const READINGS_MAX: usize = 5;

/// How far an incarnation is.
#[derive(Debug, Default, PartialEq)]
pub(super) enum Stage {
    /// Nothing was written.
    #[default]
    Reading,
    /// The account is new: its positions are taken over once two readings in a row tell the same.
    Still(Option<Box<Truth>>, usize),
    /// What the ledger missed is folded in, reading by reading.
    Folding(usize),
    /// It trades.
    Trading,
}

impl Desk {
    /// Begins: the identity, once, and the epoch of this incarnation, after which no older one can append anything.
    /// Then the broker is read.
    pub fn begin(&mut self, wall: Timestamp, identity: Identity, instance: &str, version: &str) -> Vec<Deed> {
        let portfolio = &self.trader.portfolio;
        if let Some(text) = other_identity(portfolio, &identity) {
            return vec![Deed::End(End::Contradiction(text))];
        }
        let mut deeds = Vec::new();
        let draft = |id, entry| Draft {
            id,
            at: wall,
            cause: None,
            entry,
        };
        if portfolio.identity.is_none() {
            let id = Id::derive(&["identity", &identity.account]);
            deeds.push(Deed::Append(0, draft(id, Entry::Identity(identity))));
        }
        let epoch = portfolio.epoch + 1;
        let id = Id::derive(&["epoch", &epoch.to_string(), instance]);
        let entry = Entry::Epoch(Epoch {
            instance: instance.to_owned(),
            version: version.to_owned(),
        });
        deeds.push(Deed::Append(epoch, draft(id, entry)));
        self.stage = if portfolio.opened {
            Stage::Folding(0)
        } else {
            Stage::Still(None, 0)
        };
        deeds.extend(self.read(wall, Pass::First));
        deeds
    }

    pub(super) fn start_reads(&mut self, wall: Timestamp, truth: Result<Truth, String>) -> Vec<Deed> {
        if let Some(why) = self.link.ended() {
            return vec![again(why)];
        }
        let truth = match truth {
            Ok(truth) => truth,
            Err(text) => return vec![again(format!("broker truth is not known: {text}"))],
        };
        match std::mem::take(&mut self.stage) {
            // What the gateway remembers of an account is no opening: it does not tell what traded since.
            Stage::Still(..) if !self.link.is_whole() || self.link.missed() => {
                self.stage = Stage::Still(None, 0);
                vec![Deed::Look(Pass::First, AGAIN_MS)]
            }
            Stage::Still(before, readings) => self.still(wall, before, readings, truth),
            Stage::Folding(readings) => self.fold_in(wall, readings + 1, truth),
            stage => {
                self.stage = stage;
                Vec::new()
            }
        }
    }

    /// The account as two readings in a row, some time apart, tell it: a fill between the questions of one reading would
    /// be in the opening positions and counted again as an execution.
    fn still(
        &mut self,
        wall: Timestamp,
        before: Option<Box<Truth>>,
        readings: usize,
        truth: Truth,
    ) -> Vec<Deed> {
        if before.is_some_and(|before| truth.is_of_the_same_moment(&before)) {
            let Some(opening) = opening(wall, &truth) else {
                return vec![again(cash_unknown(&truth))];
            };
            self.stage = Stage::Folding(0);
            let mut deeds = vec![Deed::Append(self.trader.portfolio.epoch, opening)];
            deeds.extend(self.read(wall, Pass::First));
            return deeds;
        }
        if readings >= READINGS_MAX {
            let text = "the account did not stand still long enough to take its positions over";
            return vec![again(text)];
        }
        self.stage = Stage::Still(Some(Box::new(truth)), readings + 1);
        vec![Deed::Look(Pass::First, self.opening_gap_ms)]
    }

    fn fold_in(&mut self, wall: Timestamp, readings: usize, truth: Truth) -> Vec<Deed> {
        if let Some(end) = self.contradiction(&truth) {
            return vec![end];
        }
        // As while it trades: what a reading told in an outage is folded in, and opens nothing.
        let truth = if self.link.missed() {
            truth
        } else {
            self.compared(truth)
        };
        let mut deeds = self.trade(wall, Step::Truth(truth, Pass::First));
        let settled = !deeds.iter().any(is_order_event);
        if !settled && readings < READINGS_MAX {
            self.stage = Stage::Folding(readings);
            deeds.extend(self.read(wall, Pass::First));
            return deeds;
        }
        if !settled {
            let text =
                "the broker's truth still changed after several readings; trading begins with the last";
            deeds.extend(self.alert(wall, "start-restless", Level::Warning, text.to_owned()));
        }
        self.stage = Stage::Trading;
        deeds.extend([
            Deed::Look(Pass::Running, 0),
            Deed::Look(Pass::Second, self.second_pass_ms),
            Deed::Trade,
        ]);
        deeds
    }
}

fn other_identity(portfolio: &Portfolio, ours: &Identity) -> Option<String> {
    let known = portfolio.identity.as_ref()?;
    if (&known.account, known.mode, known.client_id) != (&ours.account, ours.mode, ours.client_id) {
        return Some(format!(
            "this ledger is of account {} ({:?}, client {}) and the gateway's is {} ({:?}, client {}): use another state folder",
            known.account, known.mode, known.client_id, ours.account, ours.mode, ours.client_id
        ));
    }
    // Each gateway keeps out a second client of its own alone: what waits at one would not be known at the other.
    (known.gateway != ours.gateway).then(|| {
        format!(
            "this ledger trades through the gateway `{}` and the settings name `{}`: set broker.gateway to `{}` only if it is the same gateway under another address; otherwise this would trade through a gateway that does not fence the other",
            known.gateway, ours.gateway, known.gateway
        )
    })
}

fn is_order_event(deed: &Deed) -> bool {
    matches!(
        deed,
        Deed::Append(
            _,
            Draft {
                entry: Entry::Order(_),
                ..
            }
        )
    )
}

fn cash_unknown(truth: &Truth) -> String {
    let why = match truth.left_out.as_slice() {
        [] => "it does not tell it".to_owned(),
        sentences => sentences.join("; "),
    };
    format!("no ledger begins before the broker tells the account's cash in US dollars: {why}")
}

fn opening(wall: Timestamp, truth: &Truth) -> Option<Draft> {
    let opening = reconcile::opening(truth)?;
    let text = serde_json::to_string(&opening).expect("an opening is plain data");
    Some(Draft {
        id: Id::derive(&["opening", &Hash::of(text.as_bytes()).0]),
        at: wall,
        cause: None,
        entry: Entry::Opening(opening),
    })
}
