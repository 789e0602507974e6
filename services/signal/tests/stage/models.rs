//! Every model of the project loads and answers as its card says; every bad one is refused with its sentence.

use std::fs;
use std::path::Path;

use engine::features::{COUNT, FEATURES, Row};
use signal::model::Model;

use crate::onnx::{self, Attribute, File, Node, Tensor};

/// A model that answers the softmax of its bias whatever it is asked, and its card.
struct Drop {
    folder: tempfile::TempDir,
    file: File,
    card: String,
}

const BIAS: [f32; 3] = [0.0, 1.0, 0.5];

fn golden_output() -> [f32; 3] {
    let powers = BIAS.map(f32::exp);
    powers.map(|power| power / powers.iter().sum::<f32>())
}

impl Drop {
    fn new() -> Self {
        let weights = Tensor::floats("weight", &[COUNT as i64, 3], &[0.0; COUNT * 3]);
        let file = File {
            nodes: vec![
                Node::new("Gemm", &["features", "weight", "bias"], &["scores"]),
                Node::new("Softmax", &["scores"], &["probabilities"]),
            ],
            tensors: vec![weights, Tensor::floats("bias", &[3], &BIAS)],
            input: vec![1, COUNT as i64],
            ..File::default()
        };
        let card = format!(
            "sha256 = \"SHA\"\ninput = [1, {COUNT}]\nclasses = [\"down\", \"flat\", \"up\"]\nfeatures = {FEATURES:?}\n\
             [golden]\ninput = {:?}\noutput = {:?}\n",
            [0.25; COUNT],
            golden_output()
        );
        Self {
            folder: tempfile::tempdir().unwrap(),
            file,
            card,
        }
    }

    /// Writes both files and loads them: the reason when they are refused.
    fn load(&self) -> Result<Model, String> {
        self.load_bytes(&self.file.bytes())
    }

    fn load_bytes(&self, bytes: &[u8]) -> Result<Model, String> {
        fs::write(self.folder.path().join("mine.onnx"), bytes).unwrap();
        fs::write(
            self.folder.path().join("mine.toml"),
            self.card.replace("SHA", &onnx::sha256(bytes)),
        )
        .unwrap();
        Model::load(self.folder.path(), "mine").map_err(|refused| refused.reason)
    }

    fn refusal(&self) -> String {
        self.load().expect_err("it is refused")
    }

    fn with_node(mut self, node: Node) -> Self {
        self.file.nodes.insert(0, node);
        self
    }

    fn with_card(mut self, from: &str, to: &str) -> Self {
        assert!(self.card.contains(from), "{from}");
        self.card = self.card.replace(from, to);
        self
    }
}

#[test]
fn every_model_of_the_project_loads_and_answers_as_its_card_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let mut count = 0;
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|ending| ending == "onnx") {
            let name = path.file_stem().unwrap().to_str().unwrap();
            let model = Model::load(&folder, name).unwrap_or_else(|refused| panic!("{}", refused.reason));
            assert_eq!(model.identity.name, name);
            count += 1;
        }
    }
    assert!(count >= 1, "there is a model to begin with");
}

#[test]
fn the_momentum_model_believes_in_what_moves() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../models");
    let model = Model::load(&folder, "momentum").unwrap();
    let row = |direction: f32| -> Row {
        std::array::from_fn(|place| match FEATURES[place] {
            "volatility_ratio" | "range_ratio" | "volume_ratio" => 0.0,
            "body" | "close_location" | "return_1" => 0.5 * direction,
            _ => 1.6 * direction,
        })
    };
    let (rising, falling) = (
        model.answer(&row(1.0)).unwrap(),
        model.answer(&row(-1.0)).unwrap(),
    );
    assert!(rising[2] >= 0.5 && falling[0] >= 0.5, "{rising:?} {falling:?}");
    let still = model.answer(&[0.0; COUNT]).unwrap();
    assert!(still[0] < 0.5 && still[2] < 0.5, "{still:?}");
}

#[test]
fn a_model_of_some_features_in_its_own_order_loads() {
    let mut drop = Drop::new();
    drop.file.input = vec![1, 2];
    drop.file.tensors[0] = Tensor::floats("weight", &[2, 3], &[0.0; 6]);
    drop.card = drop
        .card
        .replace(&format!("{FEATURES:?}"), "[\"rsi_14\", \"return_1\"]");
    drop.card = drop
        .card
        .replace(&format!("[1, {COUNT}]"), "[1, 2]")
        .replace(&format!("{:?}", [0.25; COUNT]), "[0.5, 0.5]");
    let model = drop.load().unwrap();
    assert_eq!(model.answer(&[1.0; COUNT]).unwrap().len(), 3);
}

#[test]
fn bad_cards_are_refused_with_their_sentence() {
    for (from, to, sentence) in [
        (
            "\"return_1\"",
            "\"moon_phase\"",
            "mine.toml names the feature `moon_phase`, which there is not; there are return_1",
        ),
        (
            "\"return_3\"",
            "\"return_1\"",
            "mine.toml names the feature `return_1` twice",
        ),
        (
            "\"down\", ",
            "\"crash\", ",
            "mine.toml names the classes [\"crash\", \"flat\", \"up\"]; they must be",
        ),
        (
            "input = [1, 17]",
            "input = [1, 16]",
            "mine.toml has the input shape [1, 16]; with 17 features it must be [1, 17]",
        ),
        (
            "input = [0.25, ",
            "input = [",
            "mine.toml has a golden input of 16 numbers for 17 features",
        ),
        (
            "input = [0.25, ",
            "input = [nan, ",
            "mine.toml has a golden number that is not finite",
        ),
        (
            "[golden]",
            "[gilded]",
            "mine.toml can't be read: TOML parse error",
        ),
        (
            "output = [",
            "output = [0.0, ",
            "mine.toml has a golden output of 4 numbers instead of 3",
        ),
    ] {
        let reason = Drop::new().with_card(from, to).refusal();
        assert!(reason.starts_with(sentence), "{reason}");
    }
    let reason = Drop::new().with_card("SHA", "00ff").refusal();
    assert!(
        reason.contains("and its card says 00ff: one of the two is not the other's, or half copied"),
        "{reason}"
    );
}

#[test]
fn bad_operators_are_refused_with_their_sentence() {
    let node = |kind: &str| Node::new(kind, &["features"], &["other"]);
    let inner = Attribute::graph(
        "then_branch",
        &File {
            nodes: vec![node("Identity")],
            ..File::default()
        },
    );
    let many = (0..600).fold(Drop::new(), |drop, _| drop.with_node(node("Identity")));
    let mut functions = Drop::new();
    functions.file.functions = 1;
    let not_allowed = |kind: &str| format!("mine.onnx uses the operator `{kind}`, which is not allowed");
    for kind in [
        "If",
        "Loop",
        "Scan",
        "RandomNormal",
        "TreeEnsembleClassifier",
        "ConstantOfShape",
        "",
    ] {
        assert_eq!(Drop::new().with_node(node(kind)).refusal(), not_allowed(kind));
    }
    for (drop, sentence) in [
        (
            Drop::new().with_node(node("If").with(inner.clone())),
            not_allowed("If"),
        ),
        (
            Drop::new().with_node(node("Identity").with(inner)),
            not_allowed("Identity"),
        ),
        (
            many,
            "mine.onnx has 602 nodes, from 1 to 512 are allowed".to_owned(),
        ),
        (
            functions,
            "mine.onnx defines functions of its own, which are not allowed".to_owned(),
        ),
    ] {
        assert_eq!(drop.refusal(), sentence);
    }
    let reason = Drop::new().with_node(node("Relu").of("ai.onnx.ml")).refusal();
    assert_eq!(
        reason,
        "mine.onnx uses `Relu` of `ai.onnx.ml`, only operators of ai.onnx are allowed"
    );
}

#[test]
fn bad_weights_are_refused_with_their_sentence() {
    let contradict = "mine.onnx has the weights `bias` whose size and content contradict each other";
    let not_finite = "mine.onnx has a weight in `bias` that is not finite";
    for (tensor, sentence) in [
        (
            Tensor::floats("bias", &[3], &BIAS).external(),
            "mine.onnx keeps the weights `bias` in another file, which is not allowed",
        ),
        (Tensor::floats("bias", &[3], &[0.0, f32::NAN, 0.0]), not_finite),
        (
            Tensor::floats("bias", &[3], &[0.0, f32::INFINITY, 0.0]),
            not_finite,
        ),
        (Tensor::floats("bias", &[4], &BIAS), contradict),
        (Tensor::floats("bias", &[i64::MAX, 4], &BIAS), contradict),
        (
            Tensor::floats("bias", &[-3], &BIAS),
            "mine.onnx has the weights `bias` with a negative size",
        ),
    ] {
        let mut drop = Drop::new();
        drop.file.tensors[1] = tensor;
        assert_eq!(drop.refusal(), sentence);
    }
}

#[test]
fn models_that_answer_something_else_are_refused_with_their_sentence() {
    let mut narrow = Drop::new();
    narrow.file.tensors[0] = Tensor::floats("weight", &[9, 3], &[0.0; 27]);
    narrow.file.input = vec![1, 9];
    let mut two = Drop::new();
    two.file.tensors[0] = Tensor::floats("weight", &[COUNT as i64, 2], &[0.0; COUNT * 2]);
    two.file.tensors[1] = Tensor::floats("bias", &[2], &[0.0; 2]);
    let mut raw = Drop::new();
    raw.file.nodes[1] = Node::new("Identity", &["scores"], &["probabilities"]);
    raw.card = raw
        .card
        .replace(&format!("{:?}", golden_output()), &format!("{BIAS:?}"));
    let mut other = Drop::new();
    other.file.tensors[1] = Tensor::floats("bias", &[3], &[0.0, 1.0, 0.51]);
    let mut infinite = Drop::new();
    infinite.file.nodes[1] = Node::new("Log", &["scores"], &["probabilities"]);
    for (drop, sentence) in [
        (narrow, "mine.onnx can't be run ("),
        (two, "mine.onnx answers 2 numbers instead of 3"),
        (
            raw,
            "mine.onnx gives an answer that is none: its probabilities add up to 1.5 instead of 1",
        ),
        (other, "mine.onnx answers its golden input with ["),
        (
            infinite,
            "mine.onnx answers its golden input with a number that is not finite",
        ),
    ] {
        let reason = drop.refusal();
        assert!(reason.starts_with(sentence), "{reason}");
    }
}

#[test]
fn files_that_are_no_models_are_refused_with_their_sentence() {
    let drop = Drop::new();
    let good = drop.file.bytes();
    let reason = drop
        .load_bytes(b"this is no model at all, it is a sentence")
        .unwrap_err();
    assert!(reason.starts_with("mine.onnx is not an ONNX file"), "{reason}");
    assert_eq!(drop.load_bytes(b"").unwrap_err(), "mine.onnx has no graph");
    for cut in (1..good.len()).step_by(97) {
        assert!(drop.load_bytes(&good[..cut]).is_err(), "cut at {cut}");
    }
    // Any single byte changed: refused or sound, never a crash.
    for place in (0..good.len()).step_by(11) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x55;
        if let Ok(model) = drop.load_bytes(&bytes) {
            assert_eq!(model.answer(&[0.25; COUNT]).unwrap().len(), 3);
        }
    }
    assert!(drop.load_bytes(&good).is_ok());
}

#[test]
fn only_plain_files_with_plain_names_are_read() {
    let drop = Drop::new();
    drop.load().unwrap();
    let folder = drop.folder.path();
    for name in ["", "Mine", "../mine", "a b", "x".repeat(60).as_str(), "a.b"] {
        let reason = Model::load(folder, name).unwrap_err().reason;
        assert!(reason.contains("is no name for a model"), "{reason}");
    }
    assert!(
        Model::load(folder, "other")
            .unwrap_err()
            .reason
            .starts_with("other.onnx can't be read")
    );
    std::os::unix::fs::symlink(folder.join("mine.onnx"), folder.join("link.onnx")).unwrap();
    assert_eq!(
        Model::load(folder, "link").unwrap_err().reason,
        "link.onnx is a link or no file, which is not followed"
    );
    fs::copy(folder.join("mine.onnx"), folder.join("bare.onnx")).unwrap();
    let reason = Model::load(folder, "bare").unwrap_err().reason;
    assert!(
        reason.starts_with("bare.toml can't be read")
            && reason.ends_with("(a model needs a card, see models/README.md)"),
        "{reason}"
    );
    fs::File::create(folder.join("large.onnx"))
        .unwrap()
        .set_len(33 * 1024 * 1024)
        .unwrap();
    assert!(
        Model::load(folder, "large")
            .unwrap_err()
            .reason
            .contains("at most 33554432 are allowed")
    );
}
