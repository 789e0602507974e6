//! Those who only read LEDGER: persistence, bridge and a browser, each the engine's one fold at its own pace, told again
//! what they know, and begun anew from what they keep.

use engine::portfolio::Portfolio;

use crate::world::{Event, World};

/// Records that a reader gets at once, at the most.
const PULL_MAX: u64 = 20;
/// Folds tell their digest at every so many records, so that they tell it at the same ones.
const MARK_EVERY: u64 = 16;

pub struct Fold {
    pub name: &'static str,
    pub portfolio: Portfolio,
    /// What persistence has on disk.
    saved: Option<String>,
}

impl Fold {
    pub fn all() -> Vec<Self> {
        let fold = |name| Self {
            name,
            portfolio: Portfolio::default(),
            saved: None,
        };
        ["persistence", "bridge", "browser"].map(fold).into()
    }
}

impl World {
    /// A reader takes some records in.
    pub fn pull(&mut self, number: usize) {
        let ms = self.chance.between(50, 1_500);
        self.after(ms, Event::Pull(number));
        if !self.bus {
            return;
        }
        if self.mishap(40) {
            self.begin_again(number);
        }
        let again = if self.mishap(4) {
            self.chance.between(0, 5)
        } else {
            0
        };
        let from = self.folds[number].portfolio.sequence.saturating_sub(again);
        let many = self.chance.between(1, PULL_MAX);
        let first = usize::try_from(from).unwrap();
        for stored in self
            .ledger
            .records
            .iter()
            .skip(first)
            .take(usize::try_from(many).unwrap())
        {
            let fold = &mut self.folds[number];
            if let Err(fault) = fold
                .portfolio
                .apply(stored.sequence, &stored.hash, &stored.record)
            {
                self.evidence
                    .discord
                    .push(format!("{} halts: {fault}", fold.name));
                return;
            }
            if fold.portfolio.sequence.is_multiple_of(MARK_EVERY)
                && stored.sequence == fold.portfolio.sequence
            {
                let digest = fold.portfolio.digest();
                let first = self
                    .evidence
                    .marks
                    .entry(stored.sequence)
                    .or_insert_with(|| digest.clone());
                if *first != digest {
                    self.evidence
                        .discord
                        .push(format!("{} differs at {}", fold.name, stored.sequence));
                }
            }
        }
        if number == 0 && self.chance.one_in(6) {
            let fold = &mut self.folds[0];
            fold.saved = Some(serde_json::to_string(&fold.portfolio).unwrap());
        }
    }

    /// A reader ends and begins again: persistence from its file, the bridge from nothing, a browser from the bridge.
    fn begin_again(&mut self, number: usize) {
        self.count("reader restarted");
        self.folds[number].portfolio = match number {
            0 => self.folds[0]
                .saved
                .as_deref()
                .map_or_else(Portfolio::default, |text| {
                    serde_json::from_str(text).expect("what was saved can be read")
                }),
            1 => Portfolio::default(),
            _ => self.folds[1].portfolio.clone(),
        };
    }
}
