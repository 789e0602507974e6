//! A model: read, checked, tried on its own example, and then ready to answer.

use std::fs;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use engine::features::Row;
use engine::signal::{self, Model as Identity};
use protocol::Hash;
use sha2::{Digest as _, Sha256};
use tract_onnx::prelude::*;

use crate::card::{CARD_BYTES_MAX, Card, one_line};
use crate::graph;

/// Largest ONNX file, in bytes.
pub const FILE_BYTES_MAX: u64 = 32 * 1024 * 1024;
/// How far an answer may be from the card's.
const GOLDEN_TOLERANCE: f32 = 1e-5;
/// How long one answer may take: the best of a few tries, so that a busy machine refuses nothing.
const ANSWER_MS_MAX: u64 = 50;
const TRIES: u32 = 5;
/// Longest name of a model.
const NAME_BYTES_MAX: usize = 48;

/// A model that may decide.
#[derive(Debug, Clone)]
pub struct Model {
    /// Name and hash, as signals bear them.
    pub identity: Identity,
    /// Its card.
    pub card: Card,
    places: Vec<usize>,
    plan: Arc<TypedRunnableModel>,
}

/// Why a file is not a model that may decide.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Hash of the file and card as far as they could be read.
    pub hash: Hash,
    /// One sentence that names the file.
    pub reason: String,
}

impl Model {
    /// Reads `NAME.onnx` and `NAME.toml` of a folder and checks all of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(folder: &Path, name: &str) -> Result<Self, Refused> {
        let mut hash = Hash::zero();
        // The library behind is large and is fed a file from anywhere: a panic of it is a refusal too.
        let loaded = runtime::guarded(AssertUnwindSafe(|| load(folder, name, &mut hash)));
        let reason = match loaded {
            Ok(Ok(model)) => return Ok(model),
            Ok(Err(reason)) => reason,
            Err(_) => format!("{name}.onnx makes the ONNX library panic"),
        };
        Err(Refused { hash, reason })
    }

    /// The three probabilities after a row of features.
    ///
    /// # Errors
    /// When the plan fails or answers something else.
    pub fn answer(&self, row: &Row) -> Result<Vec<f32>, String> {
        let picked: Vec<f32> = self.places.iter().map(|place| row[*place]).collect();
        run(&self.plan, &picked)
    }
}

/// Whether a text may name a model: it becomes a file name and a word in messages.
pub fn check_name(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(legal) {
        let name: String = name.chars().take(60).collect();
        return Err(format!(
            "`{name}` is no name for a model: use 1 to {NAME_BYTES_MAX} lower-case letters, digits, `-` or `_`"
        ));
    }
    Ok(())
}

fn load(folder: &Path, name: &str, hash: &mut Hash) -> Result<Model, String> {
    check_name(name)?;
    let bytes = read(folder, &format!("{name}.onnx"), FILE_BYTES_MAX)?;
    *hash = Hash::of(&bytes);
    let text = read(folder, &format!("{name}.toml"), CARD_BYTES_MAX)
        .map_err(|reason| format!("{reason} (a model needs a card, see models/README.md)"))?;
    *hash = Hash::of(&[bytes.as_slice(), text.as_slice()].concat());
    let text = String::from_utf8(text).map_err(|_| format!("{name}.toml is not UTF-8 text"))?;
    let card = Card::parse(&text).map_err(|reason| format!("{name}.toml {reason}"))?;
    let digest = hexadecimal(&Sha256::digest(&bytes));
    if !digest.eq_ignore_ascii_case(&card.sha256) {
        return Err(format!(
            "{name}.onnx has the SHA-256 {digest} and its card says {}: one of the two is not the other's, or half copied",
            card.sha256
        ));
    }
    let proto = onnx()
        .proto_model_for_read(&mut bytes.as_slice())
        .map_err(|error| {
            format!(
                "{name}.onnx is not an ONNX file ({})",
                one_line(&error.to_string())
            )
        })?;
    graph::check(&proto).map_err(|reason| format!("{name}.onnx {reason}"))?;
    let plan = plan(&proto, card.features.len())
        .map_err(|error| format!("{name}.onnx can't be run ({})", one_line(&format!("{error:#}"))))?;
    check_answers(&plan, &card).map_err(|reason| format!("{name}.onnx {reason}"))?;
    let identity = Identity {
        name: name.to_owned(),
        hash: hash.clone(),
    };
    Ok(Model {
        identity,
        places: card.places(),
        card,
        plan,
    })
}

fn read(folder: &Path, file: &str, bytes_max: u64) -> Result<Vec<u8>, String> {
    let path = folder.join(file);
    let about = fs::symlink_metadata(&path).map_err(|error| format!("{file} can't be read ({error})"))?;
    if !about.file_type().is_file() {
        return Err(format!("{file} is a link or no file, which is not followed"));
    }
    if about.len() > bytes_max {
        return Err(format!(
            "{file} has {} bytes, at most {bytes_max} are allowed",
            about.len()
        ));
    }
    fs::read(&path).map_err(|error| format!("{file} can't be read ({error})"))
}

fn plan(proto: &tract_onnx::pb::ModelProto, features: usize) -> TractResult<Arc<TypedRunnableModel>> {
    let mut model = onnx().with_ignore_value_info(true).model_for_proto_model(proto)?;
    model.set_input_fact(0, f32::fact([1, features]).into())?;
    // Classifiers put a label before the probabilities: the last output is what counts.
    let last = model
        .output_outlets()?
        .last()
        .copied()
        .context("it has no output")?;
    model.select_output_outlets(&[last])?;
    model.into_optimized()?.into_runnable()
}

fn run(plan: &Arc<TypedRunnableModel>, row: &[f32]) -> Result<Vec<f32>, String> {
    let fail = |error: TractError| one_line(&format!("{error:#}"));
    let input = Tensor::from_shape(&[1, row.len()], row).map_err(fail)?;
    let output = plan.run(tvec!(input.into())).map_err(fail)?;
    let output = output.first().ok_or("it answers nothing")?;
    let view = output.to_plain_array_view::<f32>().map_err(fail)?;
    Ok(view.iter().copied().collect())
}

fn check_answers(plan: &Arc<TypedRunnableModel>, card: &Card) -> Result<(), String> {
    let answer = run(plan, &card.golden.input)
        .map_err(|reason| format!("can't answer its golden input ({reason})"))?;
    if answer.len() != card.golden.output.len() {
        return Err(format!("answers {} numbers instead of 3", answer.len()));
    }
    if answer.iter().any(|value| !value.is_finite()) {
        return Err("answers its golden input with a number that is not finite".to_owned());
    }
    let apart = answer
        .iter()
        .zip(&card.golden.output)
        .map(|(is, should)| (is - should).abs())
        .fold(0.0, f32::max);
    if apart > GOLDEN_TOLERANCE {
        return Err(format!(
            "answers its golden input with {answer:?}, the card says {:?}",
            card.golden.output
        ));
    }
    // A few rows from the whole range of features, the edges included.
    for value in [0.0, 8.0, -8.0, 0.5, -0.5] {
        let row: Vec<f32> = (0..card.features.len())
            .map(|place| if place % 2 == 0 { value } else { -value / 2.0 })
            .collect();
        let answer = run(plan, &row).map_err(|reason| format!("can't answer ({reason})"))?;
        signal::shares(&answer).map_err(|error| format!("gives an answer that is none: {error}"))?;
    }
    let tries = (0..TRIES).map(|_| {
        let begin = Instant::now();
        run(plan, &card.golden.input).map(|_| begin.elapsed())
    });
    let best = tries.filter_map(Result::ok).min().unwrap_or(Duration::MAX);
    if best > Duration::from_millis(ANSWER_MS_MAX) {
        return Err(format!(
            "takes {} ms for one answer, at most {ANSWER_MS_MAX} are allowed",
            best.as_millis()
        ));
    }
    Ok(())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
