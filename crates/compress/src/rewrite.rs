//! Applies a plan to a graph. The only code of this crate that edits one; it decides nothing.

use std::collections::{BTreeSet, HashMap};

use bantam_graph::ops::{
    Binary, Cast, DequantizeLinear, DynamicQuantizeLinear, MatMulInteger, QuantizeLinear,
};
use bantam_graph::{Graph, GraphError, Node, NodeId, Op, Patch, Value, ValueId, ValueType};
use bantam_tensor::{DType, QParams, Tensor, TensorError, format_by_name};

use crate::plan::{Action, Decision, Plan, Site};
use crate::quantizer::quantize_constant;

/// Why a plan cannot be applied.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum RewriteError {
    #[error(
        "the plan has version {got}, this program reads version {expected}\nhint: make it anew with `bantam quantize --plan-out`"
    )]
    Version { got: u32, expected: u32 },
    #[error(
        "the plan speaks of `{name}`, which the model does not have\nhint: a plan fits the model that it was made for"
    )]
    Unknown { name: String },
    #[error(
        "the plan quantizes `{name}` as a constant, but it is none\nhint: a plan fits the model that it was made for"
    )]
    NotConstant { name: String },
    #[error(
        "the plan has {got} scales and {zero_points} zero points for `{name}`, {expected} are needed\nhint: a plan fits the model that it was made for"
    )]
    Scales {
        name: String,
        got: usize,
        zero_points: usize,
        expected: usize,
    },
    #[error(
        "the plan has the scale {scale} for `{name}`; scales are finite and above zero\nhint: a plan fits the model that it was made for"
    )]
    Scale { name: String, scale: f32 },
    #[error(
        "the plan adds {got} numbers to `{name}`, which has {expected}\nhint: a plan fits the model that it was made for"
    )]
    Shift {
        name: String,
        got: usize,
        expected: usize,
    },
    #[error("the plan names the number format `{format}`, which does not exist\nhint: `bantam list formats`")]
    Format { format: String },
    #[error(
        "the plan quantizes node `{node}` dynamically, which is possible for MatMul with a constant matrix only\nhint: a plan fits the model that it was made for"
    )]
    Dynamic { node: String },
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Graph(#[from] GraphError),
}

/// Applies every decision of `plan` to `graph`.
///
/// # Errors
/// When the plan is of another version or does not fit the graph; the graph is then unchanged.
pub fn rewrite(graph: &Graph, plan: &Plan) -> Result<Graph, RewriteError> {
    if plan.version != Plan::VERSION {
        return Err(RewriteError::Version {
            got: plan.version,
            expected: Plan::VERSION,
        });
    }
    let mut shifted = graph.clone();
    shift_constants(&mut shifted, plan)?;
    let patch = {
        let (patch, shared, seen) = (Patch::new(&shifted), HashMap::new(), BTreeSet::new());
        let mut rewriter = Rewriter {
            graph: &shifted,
            patch,
            shared,
            seen,
        };
        for decision in &plan.decisions {
            rewriter.apply(decision)?;
        }
        rewriter.patch
    };
    patch.apply(&mut shifted)?;
    Ok(shifted)
}

/// Adds to constants what the plan says; nothing else has looked at them yet.
fn shift_constants(graph: &mut Graph, plan: &Plan) -> Result<(), RewriteError> {
    let mut patch = Patch::new(graph);
    for decision in &plan.decisions {
        let (Action::ShiftConstant(by), Site::Value(name)) = (&decision.action, &decision.site) else {
            continue;
        };
        let value = graph
            .value_by_name(name)
            .ok_or_else(|| RewriteError::Unknown { name: name.clone() })?;
        let constant = graph.value(value).initializer.as_ref();
        let constant = constant.ok_or_else(|| RewriteError::NotConstant { name: name.clone() })?;
        let values = constant.to_f32()?;
        if values.len() != by.len() {
            return Err(RewriteError::Shift {
                name: name.clone(),
                got: by.len(),
                expected: values.len(),
            });
        }
        let sums: Vec<f32> = values.iter().zip(by).map(|(value, by)| value + by).collect();
        patch.set_initializer(value, Tensor::from_slice(constant.shape(), &sums)?);
    }
    Ok(patch.apply(graph)?)
}

struct Rewriter<'a> {
    graph: &'a Graph,
    patch: Patch,
    /// Dequantized constants, by the constant's name and its parameters in words, so that equal ones are stored once.
    shared: HashMap<(String, String), ValueId>,
    seen: BTreeSet<Site>,
}

impl Rewriter<'_> {
    fn apply(&mut self, decision: &Decision) -> Result<(), RewriteError> {
        // A second decision about the same place would undo the first.
        if !self.seen.insert(decision.site.clone()) {
            return Ok(());
        }
        match (&decision.action, &decision.site) {
            (Action::Keep, _) | (Action::ShiftConstant(_), Site::Value(_)) => Ok(()),
            (Action::QuantizeActivation(params), Site::Value(name)) => self.activation(name, params),
            (Action::QuantizeConstant { format, params }, Site::Input { value, node, input }) => {
                self.constant(value, node, *input, format, params)
            }
            (Action::QuantizeDynamically { format, params }, Site::Node(node)) => {
                self.dynamic(node, format, params)
            }
            (_, Site::Value(name) | Site::Node(name) | Site::Input { value: name, .. }) => {
                Err(RewriteError::Unknown { name: name.clone() })
            }
        }
    }

    fn value(&self, name: &str) -> Result<ValueId, RewriteError> {
        self.graph
            .value_by_name(name)
            .ok_or_else(|| RewriteError::Unknown {
                name: name.to_owned(),
            })
    }

    /// The node whose first output has this name.
    fn node(&self, name: &str) -> Result<NodeId, RewriteError> {
        let output = self.value(name)?;
        let found = self
            .graph
            .node_ids()
            .find(|(_, node)| node.outputs.iter().flatten().next() == Some(&output));
        found.map(|(id, _)| id).ok_or_else(|| RewriteError::Unknown {
            name: name.to_owned(),
        })
    }

    /// QuantizeLinear and DequantizeLinear after a value, for all its readers.
    fn activation(&mut self, name: &str, params: &QParams) -> Result<(), RewriteError> {
        let value = self.value(name)?;
        check(name, params, 1)?;
        let (scale, zero_point) = self.parameters(name, params);
        let ty = self.graph.value(value).ty.clone();
        let codes_ty = ValueType::Tensor {
            dtype: Some(params.dtype),
            shape: ty.shape().map(<[_]>::to_vec),
        };
        let codes = self.add_value(&format!("{name}_quantized"), codes_ty);
        let reals = self.add_value(&format!("{name}_dequantized"), ty);
        let quantize = QuantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
            precision: None,
            saturate: true,
        };
        let inputs = [value, scale, zero_point];
        self.patch.add_node(Node::new(
            format!("{name}_quantize"),
            quantize.into(),
            &inputs,
            &[codes],
        ));
        let inputs = [codes, scale, zero_point];
        self.patch.add_node(Node::new(
            format!("{name}_dequantize"),
            dequantize(None).into(),
            &inputs,
            &[reals],
        ));
        self.patch.replace_uses(value, reals);
        Ok(())
    }

    /// A constant as codes, read through DequantizeLinear by one node.
    fn constant(
        &mut self,
        name: &str,
        node: &str,
        input: usize,
        format: &str,
        params: &QParams,
    ) -> Result<(), RewriteError> {
        let reader = self.node(node)?;
        let key = (name.to_owned(), format!("{format} {params:?}"));
        let reals = match self.shared.get(&key) {
            Some(reals) => *reals,
            None => {
                let codes = self.codes(name, format, params)?;
                let shape = codes
                    .shape()
                    .iter()
                    .copied()
                    .map(bantam_graph::Dim::Known)
                    .collect();
                let codes = self.patch.add_constant(&format!("{name}_quantized"), codes);
                let reals = self.add_value(
                    &format!("{name}_dequantized"),
                    ValueType::tensor(DType::F32, shape),
                );
                let (scale, zero_point) = self.parameters(name, params);
                let op = dequantize(params.axis).into();
                let inputs = [codes, scale, zero_point];
                self.patch
                    .add_node(Node::new(format!("{name}_dequantize"), op, &inputs, &[reals]));
                self.shared.insert(key, reals);
                reals
            }
        };
        self.patch.set_input(reader, input, Some(reals));
        Ok(())
    }

    /// `x * w + bias` as `cast(quantize(x) * codes(w)) * (scale(x) * scale(w)) + bias`.
    fn dynamic(&mut self, name: &str, format: &str, params: &QParams) -> Result<(), RewriteError> {
        let id = self.node(name)?;
        let node = self.graph.node(id);
        let unsupported = || RewriteError::Dynamic {
            node: name.to_owned(),
        };
        let (Some(x), Some(weight), Some(output)) = (node.input(0), node.input(1), node.output(0)) else {
            return Err(unsupported());
        };
        let codes = self.codes(&self.graph.value(weight).name.clone(), format, params)?;
        let codes = match &node.op {
            Op::MatMul(_) => codes,
            Op::Gemm(gemm) if gemm.transB && codes.rank() == 2 => transpose(&codes)?,
            Op::Gemm(_) => codes,
            _ => return Err(unsupported()),
        };
        let codes = self
            .patch
            .add_constant(&format!("{name}_weight_quantized"), codes);
        let (w_scale, w_zero) = self.parameters(&format!("{name}_weight"), params);
        let of = |suffix: &str| format!("{name}_{suffix}");
        let [x_codes, x_scale, x_zero, sums, sums_float, scales] = [
            "input_quantized",
            "input_scale",
            "input_zero_point",
            "sums",
            "sums_float",
            "scales",
        ]
        .map(|suffix| self.add_value(&of(suffix), ValueType::Unknown));
        let bias = node.input(2);
        let product = if bias.is_some() {
            self.add_value(&of("product"), ValueType::Unknown)
        } else {
            output
        };
        let float = Cast {
            saturate: true,
            to: DType::F32,
            round_mode: "up".to_owned(),
        };
        let mut nodes = vec![
            Node::new(
                of("quantize"),
                DynamicQuantizeLinear {}.into(),
                &[x],
                &[x_codes, x_scale, x_zero],
            ),
            Node::new(
                of("product"),
                MatMulInteger {}.into(),
                &[x_codes, codes, x_zero, w_zero],
                &[sums],
            ),
            Node::new(of("cast"), float.into(), &[sums], &[sums_float]),
            Node::new(of("scale"), Binary::Mul.into(), &[x_scale, w_scale], &[scales]),
            Node::new(
                of("rescale"),
                Binary::Mul.into(),
                &[sums_float, scales],
                &[product],
            ),
        ];
        nodes.extend(bias.map(|bias| Node::new(of("bias"), Binary::Add.into(), &[product, bias], &[output])));
        nodes.into_iter().for_each(|node| self.patch.add_node(node));
        self.patch.remove_node(id);
        Ok(())
    }

    fn codes(&self, name: &str, format: &str, params: &QParams) -> Result<Tensor, RewriteError> {
        let constant = self.graph.value(self.value(name)?).initializer.as_ref();
        let constant = constant.ok_or_else(|| RewriteError::NotConstant {
            name: name.to_owned(),
        })?;
        let expected = match params.axis {
            None => 1,
            Some(axis) => *constant.shape().get(axis).ok_or_else(|| RewriteError::Unknown {
                name: name.to_owned(),
            })?,
        };
        check(name, params, expected)?;
        let known = format == "int32" || format_by_name(format).is_some();
        if !known {
            return Err(RewriteError::Format {
                format: format.to_owned(),
            });
        }
        Ok(quantize_constant(constant, format, params)?)
    }

    fn parameters(&mut self, name: &str, params: &QParams) -> (ValueId, ValueId) {
        let scale = self
            .patch
            .add_constant(&format!("{name}_scale"), params.scale_tensor());
        (
            scale,
            self.patch
                .add_constant(&format!("{name}_zero_point"), params.zero_point_tensor()),
        )
    }

    fn add_value(&mut self, name: &str, ty: ValueType) -> ValueId {
        self.patch.add_value(Value {
            name: name.to_owned(),
            ty,
            ..Value::default()
        })
    }
}

/// The transpose of a matrix of codes.
fn transpose(codes: &Tensor) -> Result<Tensor, TensorError> {
    let (rows, columns) = (codes.shape()[0], codes.shape()[1]);
    let values = codes.to_i64()?;
    let moved: Vec<i64> = (0..rows * columns)
        .map(|i| values[i % rows * columns + i / rows])
        .collect();
    Tensor::from_i64(codes.dtype(), &[columns, rows], &moved)
}

fn dequantize(axis: Option<usize>) -> DequantizeLinear {
    DequantizeLinear {
        axis: axis.map_or(1, |axis| axis as i64),
        block_size: 0,
        output_dtype: None,
    }
}

fn check(name: &str, params: &QParams, expected: usize) -> Result<(), RewriteError> {
    let name = name.to_owned();
    let (got, zero_points) = (params.scale.len(), params.zero_point.len());
    if got != expected || zero_points != expected {
        return Err(RewriteError::Scales {
            name,
            got,
            zero_points,
            expected,
        });
    }
    match params
        .scale
        .iter()
        .find(|scale| !scale.is_finite() || **scale <= 0.0)
    {
        Some(&scale) => Err(RewriteError::Scale { name, scale }),
        None => Ok(()),
    }
}
