//! What an ONNX file may contain. Checked on the decoded file, before anything of it is run or allocated.

use tract_onnx::pb::{self, tensor_proto::DataLocation, tensor_proto::DataType};

/// Most nodes.
pub const NODES_MAX: usize = 512;
/// Most weights, all together.
pub const WEIGHTS_MAX: usize = 4_000_000;
/// Operators that compute a number from numbers at a cost that the shapes tell. No `If`, `Loop` or `Scan`, nothing
/// that reads files, nothing random, no trees (the library's are wrong for two classes).
pub const OPERATORS: [&str; 58] = [
    "Abs",
    "Add",
    "ArgMax",
    "AveragePool",
    "BatchNormalization",
    "Cast",
    "Clip",
    "Concat",
    "Constant",
    "Conv",
    "Div",
    "Dropout",
    "Elu",
    "Erf",
    "Exp",
    "Flatten",
    "GRU",
    "Gather",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "HardSigmoid",
    "HardSwish",
    "Identity",
    "LSTM",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "MatMul",
    "Max",
    "MaxPool",
    "Mean",
    "Min",
    "Mul",
    "Neg",
    "PRelu",
    "Pow",
    "RNN",
    "Reciprocal",
    "ReduceMax",
    "ReduceMean",
    "ReduceSum",
    "Relu",
    "Reshape",
    "Selu",
    "Shape",
    "Sigmoid",
    "Slice",
    "Softmax",
    "Softplus",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Tanh",
    "Transpose",
    "Unsqueeze",
];

/// Checks a decoded file.
///
/// # Errors
/// What it may not contain, as the end of a sentence about the file.
pub fn check(model: &pb::ModelProto) -> Result<(), String> {
    let graph = model.graph.as_ref().ok_or("has no graph")?;
    if !model.functions.is_empty() {
        return Err("defines functions of its own, which are not allowed".to_owned());
    }
    if let Some(import) = model.opset_import.iter().find(|import| !standard(&import.domain)) {
        return Err(format!(
            "uses the operators of `{}`, only those of ai.onnx are allowed",
            import.domain
        ));
    }
    if graph.node.is_empty() || graph.node.len() > NODES_MAX {
        return Err(format!(
            "has {} nodes, from 1 to {NODES_MAX} are allowed",
            graph.node.len()
        ));
    }
    if !graph.sparse_initializer.is_empty() {
        return Err("has sparse weights, which are not allowed".to_owned());
    }
    for node in &graph.node {
        check_node(node)?;
    }
    let mut weights = 0;
    for tensor in &graph.initializer {
        weights += check_tensor(tensor)?;
    }
    for tensor in graph
        .node
        .iter()
        .flat_map(|node| &node.attribute)
        .filter_map(|attribute| attribute.t.as_ref())
    {
        weights += check_tensor(tensor)?;
    }
    if weights > WEIGHTS_MAX {
        return Err(format!(
            "has {weights} weights, at most {WEIGHTS_MAX} are allowed"
        ));
    }
    let inputs = graph
        .input
        .iter()
        .filter(|input| graph.initializer.iter().all(|tensor| tensor.name != input.name))
        .count();
    if inputs != 1 {
        return Err(format!("has {inputs} inputs instead of 1"));
    }
    if graph.output.is_empty() {
        return Err("has no output".to_owned());
    }
    Ok(())
}

fn standard(domain: &str) -> bool {
    domain.is_empty() || domain == "ai.onnx"
}

fn check_node(node: &pb::NodeProto) -> Result<(), String> {
    if !standard(&node.domain) {
        return Err(format!(
            "uses `{}` of `{}`, only operators of ai.onnx are allowed",
            node.op_type, node.domain
        ));
    }
    let holds_graph = |attribute: &pb::AttributeProto| attribute.g.is_some() || !attribute.graphs.is_empty();
    if !OPERATORS.contains(&node.op_type.as_str()) || node.attribute.iter().any(holds_graph) {
        return Err(format!(
            "uses the operator `{}`, which is not allowed",
            node.op_type
        ));
    }
    let holds_more = |attribute: &pb::AttributeProto| {
        attribute.sparse_tensor.is_some()
            || !attribute.sparse_tensors.is_empty()
            || !attribute.tensors.is_empty()
    };
    if node.attribute.iter().any(holds_more) {
        return Err(format!(
            "gives the operator `{}` an attribute that is not allowed",
            node.op_type
        ));
    }
    Ok(())
}

/// The number of weights in a tensor that lies wholly in the file and is finite.
fn check_tensor(tensor: &pb::TensorProto) -> Result<usize, String> {
    let name = || tensor.name.chars().take(40).collect::<String>();
    if tensor.data_location == Some(DataLocation::External as i32) || !tensor.external_data.is_empty() {
        return Err(format!(
            "keeps the weights `{}` in another file, which is not allowed",
            name()
        ));
    }
    let mut count: usize = 1;
    for dimension in &tensor.dims {
        let dimension = usize::try_from(*dimension)
            .map_err(|_| format!("has the weights `{}` with a negative size", name()))?;
        count = count.saturating_mul(dimension);
    }
    let (bytes, listed) = match DataType::try_from(tensor.data_type) {
        Ok(DataType::Float) => (4, tensor.float_data.len()),
        Ok(DataType::Double) => (8, tensor.double_data.len()),
        Ok(DataType::Int64) => (8, tensor.int64_data.len()),
        Ok(DataType::Int32) => (4, tensor.int32_data.len()),
        _ => {
            return Err(format!(
                "has the weights `{}` of a type other than float, double, int32 and int64",
                name()
            ));
        }
    };
    if count > WEIGHTS_MAX || (tensor.raw_data.len() != count.saturating_mul(bytes) && listed != count) {
        return Err(format!(
            "has the weights `{}` whose size and content contradict each other",
            name()
        ));
    }
    let finite = match bytes_kind(tensor) {
        Some(DataType::Float) => {
            all_finite::<4>(&tensor.raw_data, |bytes| f64::from(f32::from_le_bytes(bytes)))
        }
        Some(DataType::Double) => all_finite::<8>(&tensor.raw_data, f64::from_le_bytes),
        _ => true,
    };
    if !finite
        || tensor.float_data.iter().any(|value| !value.is_finite())
        || tensor.double_data.iter().any(|value| !value.is_finite())
    {
        return Err(format!("has a weight in `{}` that is not finite", name()));
    }
    Ok(count)
}

fn bytes_kind(tensor: &pb::TensorProto) -> Option<DataType> {
    DataType::try_from(tensor.data_type).ok()
}

fn all_finite<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f64) -> bool {
    bytes
        .chunks_exact(N)
        .all(|chunk| chunk.try_into().is_ok_and(|chunk| read(chunk).is_finite()))
}
