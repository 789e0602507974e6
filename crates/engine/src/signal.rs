//! From a complete bar to a signal: features and regime before the model, a checked opinion after it.
//!
//! The model itself runs elsewhere: [`Signals::observe`] hands out the question, [`weigh`] makes a signal of
//! the answer. One question at most for each bar and symbol, none for bars of the past.

use std::collections::BTreeMap;

use protocol::decision::{Regime, Signal};
use protocol::market::{Bar, BarSize};
use protocol::{Hash, Id, Symbol, Timestamp};

use crate::features::{Features, Row};
use crate::regime::Regimes;

/// What a model answers, in this order.
pub const CLASSES: [&str; 3] = ["down", "flat", "up"];
/// How far the answer's sum may be from one.
const SUM_TOLERANCE: f64 = 1e-3;

/// A question to a model.
#[derive(Debug, Clone, PartialEq)]
pub struct Question {
    /// The bar it is about.
    pub bar: Bar,
    /// The features after it.
    pub row: Row,
    /// The regime after it.
    pub regime: Regime,
}

/// Which model answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// Its name.
    pub name: String,
    /// Hash of its file and card.
    pub hash: Hash,
}

/// Why an answer makes no signal.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum AnswerError {
    /// Not three numbers.
    #[error("it has {0} numbers instead of 3")]
    Count(usize),
    /// A number that is no share.
    #[error("`{0}` is {1}, which is no probability")]
    Share(&'static str, f32),
    /// The shares don't add up.
    #[error("its probabilities add up to {0} instead of 1")]
    Sum(f64),
}

/// Features and regimes of all symbols.
#[derive(Debug, Clone)]
pub struct Signals {
    size: BarSize,
    watches: BTreeMap<Symbol, Watch>,
}

#[derive(Debug, Clone, Default)]
struct Watch {
    features: Features,
    regimes: Regimes,
    /// Start of the newest bar taken in.
    newest: Option<Timestamp>,
}

impl Signals {
    /// Nothing is known yet. Bars of another size are ignored.
    #[must_use]
    pub fn new(size: BarSize) -> Self {
        Self {
            size,
            watches: BTreeMap::new(),
        }
    }

    /// Takes in a bar. Tells the question that follows from it: when it is complete, new, of the present and
    /// not of history, and enough came before it.
    pub fn observe(&mut self, bar: &Bar, live: bool) -> Option<Question> {
        if !bar.complete || bar.size != self.size {
            return None;
        }
        let watch = self.watches.entry(bar.symbol).or_default();
        if watch.newest.is_some_and(|newest| bar.start <= newest) {
            return None;
        }
        watch.newest = Some(bar.start);
        let row = watch.features.take(bar);
        let regime = watch.regimes.take(bar);
        let row = row.filter(|_| live && !bar.warm_up)?;
        Some(Question {
            bar: bar.clone(),
            row,
            regime,
        })
    }

    /// Start of the newest bar of a symbol.
    #[must_use]
    pub fn newest(&self, symbol: Symbol) -> Option<Timestamp> {
        self.watches.get(&symbol)?.newest
    }
}

/// The three probabilities of an answer, made to add up exactly as floats can.
///
/// # Errors
/// An answer that is not three probabilities.
pub fn shares(answer: &[f32]) -> Result<[f64; 3], AnswerError> {
    let &[down, flat, up] = answer else {
        return Err(AnswerError::Count(answer.len()));
    };
    for (name, share) in CLASSES.into_iter().zip([down, flat, up]) {
        if !(-1e-6..=1.0 + 1e-4).contains(&share) {
            return Err(AnswerError::Share(name, share));
        }
    }
    let sum = f64::from(down) + f64::from(flat) + f64::from(up);
    if (sum - 1.0).abs() > SUM_TOLERANCE {
        return Err(AnswerError::Sum(sum));
    }
    // Six digits say all that a model knows, and a person can read them.
    let share = |value: f32| (f64::from(value).max(0.0) / sum * 1e6).round() / 1e6;
    let (down, up) = (share(down), share(up));
    let flat = ((1.0 - down - up).max(0.0) * 1e6).round() / 1e6;
    Ok([down, flat, up])
}

/// The signal that an answer makes.
///
/// # Errors
/// An answer that is not three probabilities.
pub fn weigh(question: &Question, model: &Model, answer: &[f32]) -> Result<Signal, AnswerError> {
    let [down, flat, up] = shares(answer)?;
    let bar = &question.bar;
    Ok(Signal {
        id: Id::derive(&["signal", bar.id.as_str(), &model.hash.0]),
        at: bar.at,
        cause: bar.id.clone(),
        symbol: bar.symbol,
        down,
        flat,
        up,
        regime: question.regime,
        price: bar.close,
        model: model.name.clone(),
        model_hash: model.hash.clone(),
    })
}
