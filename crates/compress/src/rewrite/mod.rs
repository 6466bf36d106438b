//! Applies a plan to a graph. The only code of this crate that edits one; it decides nothing.

mod convert;
mod dequantize;
mod dynamic;
mod error;
mod low_rank;
mod outliers;
mod permute;
mod remove;
mod rotate;
mod scale;
mod table;
pub(crate) use table::{StoredTable, look_up_stored};

use std::collections::{BTreeSet, HashMap};

use bantam_graph::ops::{DequantizeLinear, QuantizeLinear};
use bantam_graph::{Graph, Node, NodeId, Patch, Value, ValueId, ValueType};
use bantam_tensor::{DType, QParams, Tensor, format_by_name};

pub use dequantize::dequantize;
pub use error::RewriteError;
pub(crate) use scale::{broadcast, scaled_constant};

use crate::packed::Mask;
use crate::plan::{Action, Decision, Plan, Site};
use crate::quantizer::quantize_constant;

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
    let mut shifted = permute::permute_channels(graph.clone(), plan)?;
    scale::unbind(&mut shifted, plan)?;
    scale::scale_constants(&mut shifted, plan)?;
    rotate::rotate(&mut shifted, plan)?;
    shift_constants(&mut shifted, plan)?;
    let patch = {
        let mut rewriter = Rewriter::new(&shifted);
        for decision in &plan.decisions {
            rewriter.apply(decision)?;
        }
        rewriter.patch
    };
    patch.apply(&mut shifted)?;
    convert::convert(&mut shifted, plan)?;
    remove::remove_channels(remove::remove_layers(shifted, plan)?, plan)
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

/// What the names of what is added end with. They are short because files hold many of them.
const CODES: &str = "_q";
const REALS: &str = "_dq";
const SCALE: &str = "_scale";
const ZERO_POINT: &str = "_zero";

struct Rewriter<'a> {
    graph: &'a Graph,
    patch: Patch,
    /// Dequantized constants, by the constant's name and its parameters in words, so that equal ones are stored once.
    shared: HashMap<(String, String), ValueId>,
    /// Codes of the activations that have passed so far.
    codes_of: HashMap<String, ValueId>,
    /// Dequantized weights, by the product that reads them.
    read: HashMap<NodeId, ValueId>,
    /// Small constants, by their names.
    small: HashMap<String, ValueId>,
    /// Weights with outliers so far.
    outliers: usize,
    /// Constants of codes of a table so far.
    looked_up: usize,
    seen: BTreeSet<Site>,
}

impl<'a> Rewriter<'a> {
    fn new(graph: &'a Graph) -> Rewriter<'a> {
        Rewriter {
            graph,
            patch: Patch::new(graph),
            shared: HashMap::new(),
            codes_of: HashMap::new(),
            read: HashMap::new(),
            small: HashMap::new(),
            outliers: 0,
            looked_up: 0,
            seen: BTreeSet::new(),
        }
    }

    fn apply(&mut self, decision: &Decision) -> Result<(), RewriteError> {
        // These are about what the node or constant was before, or will be afterwards.
        let apart = matches!(
            (&decision.action, &decision.site),
            (
                Action::ShiftConstant(_)
                    | Action::ScaleConstant { .. }
                    | Action::RotateConstant { .. }
                    | Action::Rotate { .. }
                    | Action::RemoveChannels { .. }
                    | Action::PermuteChannels { .. },
                Site::Value(_)
            ) | (Action::RotateBack { .. }, Site::Input { .. })
                | (Action::Convert(_), Site::Node(_) | Site::Value(_))
                | (
                    Action::Unbound | Action::KeepScale | Action::RemoveLayer { .. },
                    Site::Node(_)
                )
        );
        if apart {
            return Ok(());
        }
        // A second decision about the same place would undo the first.
        if !self.seen.insert(decision.site.clone()) {
            return Ok(());
        }
        if let Action::QuantizeActivation(params)
        | Action::DequantizeApart(params)
        | Action::QuantizeDynamically { params, .. } = &decision.action
            && params.group.is_some()
        {
            let name = decision.site.name().to_owned();
            return Err(RewriteError::Axis { name });
        }
        match (&decision.action, &decision.site) {
            (Action::Keep, _) => Ok(()),
            (Action::QuantizeActivation(params), Site::Value(name)) => self.activation(name, params),
            (Action::QuantizeConstant { format, params }, Site::Input { value, node, input }) => {
                self.constant(value, node, *input, (format, None), params)
            }
            (
                Action::LookUpConstant {
                    table,
                    values,
                    params,
                },
                Site::Input { value, node, input },
            ) => self.constant(value, node, *input, (table, Some(values)), params),
            (Action::Mask(mask), Site::Value(name)) => self.set(name, Some(mask), None),
            (Action::SetWeight { kept, values }, Site::Value(name)) => {
                self.set(name, kept.as_ref(), Some(&values.0))
            }
            (Action::DequantizeApart(params), Site::Input { value, node, input }) => {
                self.apart(value, node, *input, params)
            }
            (Action::AddLowRank { rank, down, up }, Site::Node(node)) => {
                self.low_rank(node, *rank, (&down.0, &up.0))
            }
            (Action::KeepOutliers { places, values }, Site::Node(node)) => {
                self.outliers(node, places, &values.0)
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

    /// A constant with zeros where the mask has none, elsewhere with these numbers, or with its own.
    fn set(&mut self, name: &str, mask: Option<&Mask>, values: Option<&[f32]>) -> Result<(), RewriteError> {
        let value = self.value(name)?;
        let constant = self.graph.value(value).initializer.as_ref();
        let constant = constant.ok_or_else(|| RewriteError::NotConstant {
            name: name.to_owned(),
        })?;
        let count = constant.len();
        let places = mask.map_or(count, Mask::kept);
        if mask.is_some_and(|mask| mask.len() != count) || values.is_some_and(|values| values.len() != places)
        {
            return Err(RewriteError::Weight {
                name: name.to_owned(),
                got: mask.map_or(values.map_or(0, <[f32]>::len), Mask::len),
                expected: count,
            });
        }
        let mut numbers = constant.to_f32()?;
        let mut next = values.unwrap_or_default().iter();
        let kept = |mask: &Mask| mask.iter().collect::<Vec<bool>>();
        let kept = mask.map_or_else(|| vec![true; count], kept);
        for (number, kept) in numbers.iter_mut().zip(kept) {
            match (kept, values) {
                (true, Some(_)) => *number = next.next().copied().unwrap_or_default(),
                (true, None) => (),
                (false, _) => *number = 0.0,
            }
        }
        let tensor = Tensor::from_slice(constant.shape(), &numbers)?;
        self.patch.set_initializer(value, tensor);
        Ok(())
    }

    /// QuantizeLinear and DequantizeLinear after a value, for all its readers.
    fn activation(&mut self, name: &str, params: &QParams) -> Result<(), RewriteError> {
        let value = self.value(name)?;
        check(name, params, 1)?;
        let (scale, zero_point) = self.parameters(name, params, &[])?;
        let ty = self.graph.value(value).ty.clone();
        let codes_ty = ValueType::Tensor {
            dtype: Some(params.dtype),
            shape: ty.shape().map(<[_]>::to_vec),
        };
        let codes = self.add_value(&format!("{name}{CODES}"), codes_ty);
        self.codes_of.insert(name.to_owned(), codes);
        let reals = self.add_value(&format!("{name}{REALS}"), ty);
        let quantize = QuantizeLinear {
            axis: 1,
            block_size: 0,
            output_dtype: None,
            precision: None,
            saturate: true,
        };
        let inputs = [value, scale, zero_point];
        self.patch
            .add_node(Node::new("", quantize.into(), &inputs, &[codes]));
        let inputs = [codes, scale, zero_point];
        self.patch
            .add_node(Node::new("", dequantization(params).into(), &inputs, &[reals]));
        self.patch.replace_uses(value, reals);
        Ok(())
    }

    /// A DequantizeLinear of quantized activations for one node.
    fn apart(&mut self, name: &str, node: &str, input: usize, params: &QParams) -> Result<(), RewriteError> {
        let reader = self.node(node)?;
        let codes = *self.codes_of.get(name).ok_or_else(|| RewriteError::Unknown {
            name: name.to_owned(),
        })?;
        check(name, params, params.scale.len().max(1))?;
        let ty = self.graph.value(self.value(name)?).ty.clone();
        let reals = self.add_value(&format!("{name}{REALS}"), ty);
        let (scale, zero_point) = self.parameters(name, params, &[])?;
        let (op, inputs) = (dequantization(params).into(), [codes, scale, zero_point]);
        self.patch.add_node(Node::new("", op, &inputs, &[reals]));
        self.patch.set_input(reader, input, Some(reals));
        Ok(())
    }

    /// A constant as codes, read through DequantizeLinear, or a table, by one node.
    fn constant(
        &mut self,
        name: &str,
        node: &str,
        input: usize,
        (format, table): (&str, Option<&[f32]>),
        params: &QParams,
    ) -> Result<(), RewriteError> {
        let reader = self.node(node)?;
        let key = (name.to_owned(), format!("{format} {table:?} {params:?}"));
        let reals = match self.shared.get(&key) {
            Some(reals) => *reals,
            None => {
                let reals = match table {
                    Some(values) => self.looked_up(name, (format, values), params)?,
                    None => {
                        let codes = self.codes(name, format, params)?;
                        let shape = codes.shape().to_vec();
                        let stored = Stored {
                            codes,
                            scale: params.scale_tensor(&shape)?,
                            zero_point: params.zero_point_tensor(&shape)?,
                        };
                        dequantized(&mut self.patch, name, stored, dequantization(params))
                    }
                };
                self.shared.insert(key, reals);
                reals
            }
        };
        self.patch.set_input(reader, input, Some(reals));
        if input == 1 {
            self.read.insert(reader, reals);
        }
        Ok(())
    }

    fn codes(&self, name: &str, format: &str, params: &QParams) -> Result<Tensor, RewriteError> {
        if format != "int32" && format_by_name(format).is_none() {
            return Err(RewriteError::Format {
                format: format.to_owned(),
            });
        }
        Ok(quantize_constant(
            self.constant_for(name, params)?,
            format,
            params,
        )?)
    }

    /// The constant that these scales fit.
    fn constant_for(&self, name: &str, params: &QParams) -> Result<&Tensor, RewriteError> {
        let constant = self.graph.value(self.value(name)?).initializer.as_ref();
        let constant = constant.ok_or_else(|| RewriteError::NotConstant {
            name: name.to_owned(),
        })?;
        let shape = constant.shape();
        let misses = params.axis.is_some_and(|axis| axis >= shape.len());
        if misses
            || params
                .group
                .is_some_and(|group| group == 0 || params.axis.is_none())
        {
            let name = name.to_owned();
            return Err(RewriteError::Axis { name });
        }
        let expected = match (params.axis, params.group) {
            (Some(axis), None) => shape[axis],
            _ => params.scale_shape(shape).iter().product(),
        };
        check(name, params, expected)?;
        Ok(constant)
    }

    /// Scales and zero points of a tensor of this shape.
    fn parameters(
        &mut self,
        name: &str,
        params: &QParams,
        shape: &[usize],
    ) -> Result<(ValueId, ValueId), RewriteError> {
        let (scale, zero_point) = (params.scale_tensor(shape)?, params.zero_point_tensor(shape)?);
        let scale = self.patch.add_constant(&format!("{name}{SCALE}"), scale);
        let zero_point = (self.patch).add_constant(&format!("{name}{ZERO_POINT}"), zero_point);
        Ok((scale, zero_point))
    }

    fn add_value(&mut self, name: &str, ty: ValueType) -> ValueId {
        self.patch.add_value(Value {
            name: name.to_owned(),
            ty,
            ..Value::default()
        })
    }
}

/// A constant as codes, in the types that files have.
pub(crate) struct Stored {
    pub(crate) codes: Tensor,
    pub(crate) scale: Tensor,
    pub(crate) zero_point: Tensor,
}

/// The real numbers of codes, behind a DequantizeLinear.
pub(crate) fn dequantized(patch: &mut Patch, name: &str, stored: Stored, op: DequantizeLinear) -> ValueId {
    let shape = stored.codes.shape().iter().copied();
    let shape = shape.map(bantam_graph::Dim::Known).collect();
    let codes = patch.add_constant(&format!("{name}{CODES}"), stored.codes);
    let reals = patch.add_value(Value {
        name: format!("{name}{REALS}"),
        ty: ValueType::tensor(DType::F32, shape),
        ..Value::default()
    });
    let scale = patch.add_constant(&format!("{name}{SCALE}"), stored.scale);
    let mut inputs = vec![codes, scale];
    // Codes of 32 bits have their zero at 0, where it is when it is left out.
    let shifts = stored.zero_point.as_bytes().iter().any(|byte| *byte != 0);
    if stored.zero_point.dtype() != DType::I32 || shifts {
        inputs.push(patch.add_constant(&format!("{name}{ZERO_POINT}"), stored.zero_point));
    }
    patch.add_node(Node::new("", op.into(), &inputs, &[reals]));
    reals
}

fn dequantization(params: &QParams) -> DequantizeLinear {
    DequantizeLinear {
        axis: params.axis.map_or(1, |axis| axis as i64),
        block_size: params.group.map_or(0, |group| group as i64),
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
