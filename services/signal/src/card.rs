//! The card of a model: `NAME.toml` beside `NAME.onnx`. It says what goes in, what comes out, and one example
//! of both, so that a file that is not what it says it is never decides anything.

use engine::features::FEATURES;
use engine::signal::CLASSES;
use serde::Deserialize;

/// Largest card, in bytes.
pub const CARD_BYTES_MAX: u64 = 64 * 1024;

/// A card as written.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What it is, for people.
    #[serde(default)]
    pub description: String,
    /// SHA-256 of the ONNX file, in hexadecimal.
    pub sha256: String,
    /// The features it wants, in its own order; each one of [`FEATURES`].
    pub features: Vec<String>,
    /// What it answers, in its own order; always down, flat, up.
    pub classes: Vec<String>,
    /// Shape of its input: one row of features.
    pub input: Vec<usize>,
    /// One example.
    pub golden: Golden,
    /// Thresholds that suit it, for people.
    #[serde(default)]
    pub hint: Option<Hint>,
}

/// An input and the output that belongs to it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Golden {
    /// The features.
    pub input: Vec<f32>,
    /// The answer.
    pub output: Vec<f32>,
}

/// Thresholds that suit a model.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hint {
    /// For `entry.up_min`.
    pub up_min: f64,
    /// For `exits.down_min`.
    pub down_min: f64,
}

impl Card {
    /// Reads a card and checks what can be checked without the model.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence about the card.
    pub fn parse(text: &str) -> Result<Self, String> {
        let card: Self = toml::from_str(text)
            .map_err(|error| format!("can't be read: {}", one_line(&error.to_string())))?;
        if card.features.is_empty() {
            return Err("names no feature".to_owned());
        }
        if let Some(unknown) = card
            .features
            .iter()
            .find(|name| !FEATURES.contains(&name.as_str()))
        {
            return Err(format!(
                "names the feature `{unknown}`, which there is not; there are {}",
                FEATURES.join(", ")
            ));
        }
        if let Some(twice) = card
            .features
            .iter()
            .enumerate()
            .find(|(index, name)| card.features[..*index].contains(name))
        {
            return Err(format!("names the feature `{}` twice", twice.1));
        }
        if card.classes != CLASSES {
            return Err(format!(
                "names the classes {:?}; they must be {CLASSES:?}",
                card.classes
            ));
        }
        let count = card.features.len();
        if card.input != [1, count] {
            return Err(format!(
                "has the input shape {:?}; with {count} features it must be [1, {count}]",
                card.input
            ));
        }
        if card.golden.input.len() != count {
            return Err(format!(
                "has a golden input of {} numbers for {count} features",
                card.golden.input.len()
            ));
        }
        if card.golden.output.len() != CLASSES.len() {
            return Err(format!(
                "has a golden output of {} numbers instead of 3",
                card.golden.output.len()
            ));
        }
        if card
            .golden
            .input
            .iter()
            .chain(&card.golden.output)
            .any(|value| !value.is_finite())
        {
            return Err("has a golden number that is not finite".to_owned());
        }
        Ok(card)
    }

    /// Where each feature of the model lies in the engine's row.
    #[must_use]
    pub fn places(&self) -> Vec<usize> {
        let place = |name: &String| FEATURES.iter().position(|feature| feature == name);
        self.features.iter().filter_map(place).collect()
    }
}

/// The first line of a text, shortened: sentences have one.
pub fn one_line(text: &str) -> String {
    let line = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ");
    line.chars().take(300).collect()
}
