//! Writes ONNX files byte by byte: just enough of the format for the tests, and freely wrong where they want it.

use sha2::{Digest as _, Sha256};

/// A file.
#[derive(Debug, Clone, Default)]
pub struct File {
    pub nodes: Vec<Node>,
    pub tensors: Vec<Tensor>,
    /// Shape of the input `features`.
    pub input: Vec<i64>,
    /// Number of empty functions.
    pub functions: usize,
}

/// A node.
#[derive(Debug, Clone)]
pub struct Node {
    kind: String,
    domain: String,
    inputs: Vec<String>,
    outputs: Vec<String>,
    attributes: Vec<Attribute>,
}

/// An attribute of a node, encoded.
#[derive(Debug, Clone)]
pub struct Attribute(Vec<u8>);

/// Weights.
#[derive(Debug, Clone)]
pub struct Tensor {
    name: String,
    dims: Vec<i64>,
    values: Vec<f32>,
    external: bool,
}

impl Node {
    pub fn new(kind: &str, inputs: &[&str], outputs: &[&str]) -> Self {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Self {
            kind: kind.to_owned(),
            domain: String::new(),
            inputs: owned(inputs),
            outputs: owned(outputs),
            attributes: vec![],
        }
    }

    pub fn of(mut self, domain: &str) -> Self {
        domain.clone_into(&mut self.domain);
        self
    }

    pub fn with(mut self, attribute: Attribute) -> Self {
        self.attributes.push(attribute);
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.inputs.iter().for_each(|name| text(&mut out, 1, name));
        self.outputs.iter().for_each(|name| text(&mut out, 2, name));
        text(&mut out, 4, &self.kind);
        self.attributes
            .iter()
            .for_each(|attribute| part(&mut out, 5, &attribute.0));
        text(&mut out, 7, &self.domain);
        out
    }
}

impl Attribute {
    /// An attribute that holds a graph, as `If` and `Loop` have them.
    pub fn graph(name: &str, file: &File) -> Self {
        let mut out = Vec::new();
        text(&mut out, 1, name);
        part(&mut out, 6, &file.graph());
        number(&mut out, 20, 5);
        Self(out)
    }
}

impl Tensor {
    pub fn floats(name: &str, dims: &[i64], values: &[f32]) -> Self {
        Self {
            name: name.to_owned(),
            dims: dims.to_vec(),
            values: values.to_vec(),
            external: false,
        }
    }

    /// Keeps its content in another file.
    pub fn external(mut self) -> Self {
        self.external = true;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.dims.iter().for_each(|dim| number(&mut out, 1, *dim as u64));
        number(&mut out, 2, 1);
        text(&mut out, 8, &self.name);
        if self.external {
            let mut entry = Vec::new();
            text(&mut entry, 1, "location");
            text(&mut entry, 2, "../../secrets");
            part(&mut out, 13, &entry);
            number(&mut out, 14, 1);
        } else {
            let raw: Vec<u8> = self.values.iter().flat_map(|value| value.to_le_bytes()).collect();
            part(&mut out, 9, &raw);
        }
        out
    }
}

impl File {
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        number(&mut out, 1, 8);
        part(&mut out, 7, &self.graph());
        let mut operators = Vec::new();
        number(&mut operators, 2, 17);
        part(&mut out, 8, &operators);
        for _ in 0..self.functions {
            part(&mut out, 25, &[]);
        }
        out
    }

    fn graph(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.nodes
            .iter()
            .for_each(|node| part(&mut out, 1, &node.bytes()));
        text(&mut out, 2, "graph");
        self.tensors
            .iter()
            .for_each(|tensor| part(&mut out, 5, &tensor.bytes()));
        part(&mut out, 11, &value("features", &self.input));
        part(&mut out, 12, &value("probabilities", &[]));
        out
    }
}

/// A named float tensor and its shape, which is left open when empty.
fn value(name: &str, dims: &[i64]) -> Vec<u8> {
    let mut tensor = Vec::new();
    number(&mut tensor, 1, 1);
    if !dims.is_empty() {
        let mut shape = Vec::new();
        for dim in dims {
            let mut one = Vec::new();
            number(&mut one, 1, *dim as u64);
            part(&mut shape, 1, &one);
        }
        part(&mut tensor, 2, &shape);
    }
    let mut kind = Vec::new();
    part(&mut kind, 1, &tensor);
    let mut out = Vec::new();
    text(&mut out, 1, name);
    part(&mut out, 2, &kind);
    out
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number(out: &mut Vec<u8>, tag: u64, value: u64) {
    varint(out, tag << 3);
    varint(out, value);
}

fn part(out: &mut Vec<u8>, tag: u64, bytes: &[u8]) {
    varint(out, tag << 3 | 2);
    varint(out, bytes.len() as u64);
    out.extend(bytes);
}

fn text(out: &mut Vec<u8>, tag: u64, text: &str) {
    part(out, tag, text.as_bytes());
}

/// The SHA-256 of a file, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
