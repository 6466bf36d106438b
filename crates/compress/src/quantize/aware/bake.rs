//! The quantized graph that a trained one becomes.

use std::collections::HashMap;

use bantam_graph::passes::{ELIMINATE_DEAD_NODES, ELIMINATE_IDENTITY, run_passes};
use bantam_graph::{Graph, InferOptions, Node, infer_shapes, verify};
use bantam_tensor::{DType, QParams, Tensor};

use super::bounds::{Bounds, BoundsKind, bound};
use super::grid::Stored;
use super::prepare::folded;
use super::trained::{Trained, read, without_quantizers};
use super::{Aware, AwareError, QuantizerKind};
use crate::plan::{Action, Decision, Plan, Site};
use crate::quantize::products::product_inputs;
use crate::quantize::weights::{bias_params, channels};
use crate::rewrite;
use crate::target::ScaleForm;

/// A trained graph in codes.
#[derive(Clone, Debug)]
pub struct Baked {
    /// Weights as codes behind DequantizeLinear, activations through QuantizeLinear and DequantizeLinear,
    /// BatchNormalization folded.
    pub graph: Graph,
    /// What was quantized and why, with the trained scales.
    pub plan: Plan,
}

/// Turns a trained graph into codes. The result computes what the trained graph computes with the running statistics of its
/// BatchNormalization, but for the rounding of floats and, where the target multiplies in integers, of biases.
///
/// Widths that ONNX cannot say are stored in the next larger type; activations are then clipped before they become codes.
///
/// # Errors
/// When training has changed more than initializers, or left scales or weights that are of no use.
pub fn bake(aware: &Aware) -> Result<Baked, AwareError> {
    let trained = read(aware)?;
    let graph = folded(&cleaned(without_quantizers(&aware.graph, &trained, true)?)?)?;
    let baker = Baker::new(&graph, &trained, aware.scale_form())?;
    let mut plan = Plan {
        decisions: baker.decisions(&aware.plan.decisions)?,
        ..aware.plan.clone()
    };
    let graph = bound(&graph, &baker.bounds, &mut plan)?;
    let mut graph = rewrite(&graph, &plan)?;
    run_passes(&mut graph, &[ELIMINATE_IDENTITY])?;
    infer_shapes(&mut graph, &InferOptions::default())?;
    verify(&graph)?;
    Ok(Baked { graph, plan })
}

/// The trained graph in float: its weights before rounding, BatchNormalization as it was trained.
///
/// # Errors
/// As [`bake`].
pub fn strip(aware: &Aware) -> Result<Graph, AwareError> {
    let trained = read(aware)?;
    let mut graph = cleaned(without_quantizers(&aware.graph, &trained, false)?)?;
    infer_shapes(&mut graph, &InferOptions::default())?;
    Ok(graph)
}

/// The trained graph in float, its weights at their levels, activations not rounded.
///
/// # Errors
/// As [`bake`].
pub fn round_weights(aware: &Aware) -> Result<Graph, AwareError> {
    let trained = read(aware)?;
    cleaned(without_quantizers(&aware.graph, &trained, true)?)
}

/// Without what computed levels.
fn cleaned(mut graph: Graph) -> Result<Graph, AwareError> {
    run_passes(&mut graph, &[ELIMINATE_DEAD_NODES])?;
    Ok(graph)
}

struct Baker<'a> {
    graph: &'a Graph,
    activations: HashMap<&'a Site, QParams>,
    /// The weight's name, its format and parameters.
    weights: HashMap<&'a Site, (String, &'static str, QParams)>,
    bounds: Vec<Bounds>,
    form: ScaleForm,
}

impl<'a> Baker<'a> {
    fn new(graph: &'a Graph, trained: &'a [Trained<'_>], form: ScaleForm) -> Result<Baker<'a>, AwareError> {
        let mut baker = Baker {
            graph,
            activations: HashMap::new(),
            weights: HashMap::new(),
            bounds: Vec::new(),
            form,
        };
        for found in trained {
            match found.quantizer.kind {
                QuantizerKind::Activation { .. } => baker.activation(found),
                QuantizerKind::Weight { axis, .. } => {
                    for site in &found.quantizer.sites {
                        let weight = baker.weight(found, site, axis)?;
                        baker.weights.insert(site, weight);
                    }
                }
            }
        }
        Ok(baker)
    }

    fn activation(&mut self, found: &'a Trained<'_>) {
        let stored = found.grid.stored();
        let params = QParams {
            dtype: stored.dtype,
            axis: None,
            group: None,
            scale: vec![found.scale[0] * stored.unit],
            zero_point: vec![stored.zero_point as i32],
        };
        let mut sites = found.quantizer.sites.iter();
        if let Some(Site::Value(name)) = sites.next() {
            let level = |code: i64, narrower: bool| {
                narrower.then_some((code - stored.zero_point) as f32 * stored.unit * found.scale[0])
            };
            let [below, above] = stored.narrower_than_type();
            let kind = match found.is_sign {
                true => BoundsKind::Sign {
                    scale: found.scale[0],
                },
                false => BoundsKind::Between {
                    low: level(stored.low, below),
                    high: level(stored.high, above),
                },
            };
            if found.is_sign || below || above {
                let value = name.clone();
                self.bounds.push(Bounds { value, kind });
            }
        }
        for site in &found.quantizer.sites {
            self.activations.insert(site, params.clone());
        }
    }

    fn node(&self, output: &str) -> Result<&'a Node, AwareError> {
        let value = self.graph.value_by_name(output);
        let found =
            value.and_then(|value| self.graph.nodes.iter().find(|node| node.output(0) == Some(value)));
        found.ok_or_else(|| AwareError::Unknown {
            name: output.to_owned(),
        })
    }

    /// Parameters of a weight whose channels were multiplied when the BatchNormalization behind it was folded.
    fn weight(
        &self,
        found: &Trained<'_>,
        site: &Site,
        axis: Option<usize>,
    ) -> Result<(String, &'static str, QParams), AwareError> {
        let Site::Input { node, input, .. } = site else {
            return Err(AwareError::Unknown {
                name: site.name().to_owned(),
            });
        };
        let node = self.node(node)?;
        let unknown = || AwareError::Unknown {
            name: site.name().to_owned(),
        };
        let value = node.input(*input).ok_or_else(unknown)?;
        let now = self.graph.constant(value).ok_or_else(unknown)?;
        let before = found.rounded.as_ref().ok_or_else(unknown)?;
        let channel_axis = product_inputs(self.graph, node).ok_or_else(unknown)?.channel_axis;
        let factors = factors(before, now, channel_axis)?;
        let all_one = factors.iter().all(|factor| *factor == 1.0);
        let factors = if axis.is_none() && all_one {
            vec![1.0]
        } else {
            factors
        };
        let axis = axis.or((!all_one).then_some(channel_axis));
        let (format, params) = weight_params(found, &factors, axis);
        Ok((self.graph.value(value).name.clone(), format, params))
    }

    /// The plan with the trained parameters.
    fn decisions(&self, before: &[Decision]) -> Result<Vec<Decision>, AwareError> {
        let mut decisions = Vec::with_capacity(before.len());
        // The product whose weight came last, to which the bias behind it belongs.
        let mut product: Option<(&str, &QParams)> = None;
        for decision in before {
            let mut decision = decision.clone();
            decision.sqnr_db = None;
            match (&mut decision.site, &mut decision.action) {
                (Site::Input { value, node, input }, Action::QuantizeConstant { params, .. })
                    if params.dtype == DType::I32 =>
                {
                    let Some((name, found)) = product.and_then(|product| self.bias(product, node, *input))
                    else {
                        continue;
                    };
                    (*value, *params) = (name, found);
                }
                (Site::Value(_), Action::QuantizeActivation(params)) => {
                    *params =
                        self.activations
                            .get(&decision.site)
                            .cloned()
                            .ok_or_else(|| AwareError::Unknown {
                                name: decision.site.name().to_owned(),
                            })?;
                }
                (Site::Input { value, .. }, Action::DequantizeApart(params)) => {
                    let found = self.activations.get(&Site::Value(value.clone()));
                    let Some(found) = found else { continue };
                    params.dtype = found.dtype;
                    params.scale.fill(found.scale[0]);
                    params.zero_point.fill(found.zero_point[0]);
                }
                (Site::Input { .. }, Action::QuantizeConstant { .. }) => {
                    let (site, (name, format, params)) = self
                        .weights
                        .get_key_value(&decision.site)
                        .ok_or_else(|| AwareError::Unknown {
                            name: decision.site.name().to_owned(),
                        })?;
                    if let Site::Input { node, .. } = site {
                        product = Some((node, params));
                    }
                    decision = constant(decision, name, format, params);
                }
                _ => {}
            }
            decisions.push(decision);
        }
        Ok(decisions)
    }

    /// Name and parameters of the bias of a product, if its codes fit.
    fn bias(
        &self,
        (product, weight): (&str, &QParams),
        reader: &str,
        input: usize,
    ) -> Option<(String, QParams)> {
        let x = self.node(product).ok()?.input(0)?;
        let site = Site::Value(self.graph.value(x).name.clone());
        let input_scale = self.activations.get(&site)?.scale[0];
        let bias = self.node(reader).ok()?.input(input)?;
        let values = self.graph.constant(bias)?.to_f32().ok()?;
        if weight.scale.len() > 1 && weight.scale.len() != values.len() {
            return None;
        }
        let mut widened = weight.clone();
        let params = bias_params(input_scale, &mut widened, &values, self.form);
        (widened == *weight).then(|| (self.graph.value(bias).name.clone(), params))
    }
}

fn constant(decision: Decision, name: &str, format: &str, params: &QParams) -> Decision {
    let Site::Input { node, input, .. } = decision.site else {
        return decision;
    };
    Decision {
        site: Site::Input {
            value: name.to_owned(),
            node,
            input,
        },
        action: Action::QuantizeConstant {
            format: format.to_owned(),
            params: params.clone(),
        },
        ..decision
    }
}

/// What each channel was multiplied by, read at its largest element; 1 where there is nothing but zeros.
fn factors(before: &Tensor, now: &Tensor, axis: usize) -> Result<Vec<f64>, AwareError> {
    let of = |tensor: &Tensor| Ok::<_, AwareError>(channels(&tensor.to_f32()?, tensor.shape(), Some(axis)));
    let factor = |(before, now): (Vec<f32>, Vec<f32>)| {
        let pairs = before.into_iter().zip(now);
        let largest = pairs.max_by(|a, b| a.0.abs().total_cmp(&b.0.abs()));
        let factor = largest.map_or(1.0, |(before, now)| f64::from(now) / f64::from(before));
        if factor.is_finite() && factor != 0.0 {
            factor
        } else {
            1.0
        }
    };
    Ok(of(before)?.into_iter().zip(of(now)?).map(factor).collect())
}

/// Format and parameters of a weight with one factor for each scale. A factor below zero mirrors the codes.
fn weight_params(found: &Trained<'_>, factors: &[f64], axis: Option<usize>) -> (&'static str, QParams) {
    let of = |numbers: &[f32], channel: usize| numbers[if numbers.len() == 1 { 0 } else { channel }];
    let mut stored: Option<Stored> = None;
    let mut params = QParams {
        dtype: DType::I8,
        axis,
        group: None,
        scale: Vec::new(),
        zero_point: Vec::new(),
    };
    for (channel, factor) in factors.iter().enumerate() {
        let mut grid = found.grid;
        grid.zero_point = of(&found.zero_point, channel);
        let codes = grid.stored();
        let scale = f64::from(of(&found.scale, channel)) * factor.abs() * f64::from(codes.unit);
        let mirrored = codes.low + codes.high - codes.zero_point;
        let zero_point = if *factor < 0.0 { mirrored } else { codes.zero_point };
        params.scale.push((scale as f32).max(f32::MIN_POSITIVE));
        params.zero_point.push(zero_point as i32);
        params.dtype = codes.dtype;
        stored = Some(codes);
    }
    (stored.map_or("int8", |stored| stored.format()), params)
}
