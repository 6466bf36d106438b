//! Puts quantizers into a graph.

use std::collections::HashMap;

use bantam_graph::{InferOptions, ValueId, infer_shapes, verify};

use super::activations::ActivationQuantizer;
use super::builder::Builder;
use super::prepare::{Counterparts, Preparation};
use super::sites::{self, ActivationGroup, Sites, WeightSite};
use super::weights::{self, WeightQuantizer};
use super::{Aware, AwareError, Quantizer, QuantizerKind};
use crate::plan::{Action, Site};
use crate::stats::Stats;

/// Puts a quantizer at every weight and activation that `static` would quantize, with the widths of the settings.
/// `stats` answers [`Preparation::requests`].
///
/// # Errors
/// When there is nothing to quantize, or a weight or activation is not finite.
pub fn make_aware(preparation: &Preparation, stats: &Stats) -> Result<Aware, AwareError> {
    let found = sites::find(&preparation.observed, stats, &preparation.settings)?;
    let mut inserter = Inserter {
        preparation,
        counterparts: Counterparts::new(preparation),
        builder: Builder::new(&preparation.base),
        quantizers: Vec::new(),
        shared: HashMap::new(),
    };
    for group in &found.activations {
        inserter.activations(group, &found)?;
    }
    for site in &found.weights {
        inserter.weight(site)?;
    }
    let (builder, quantizers) = (inserter.builder, inserter.quantizers);
    let mut graph = preparation.base.clone();
    builder.patch.apply(&mut graph)?;
    infer_shapes(&mut graph, &InferOptions::default())?;
    verify(&graph)?;
    Ok(Aware {
        graph,
        parameters: builder.parameters,
        fixed: builder.fixed,
        plan: found.plan,
        quantizers,
    })
}

struct Inserter<'a> {
    preparation: &'a Preparation,
    counterparts: Counterparts<'a>,
    builder: Builder<'a>,
    quantizers: Vec<Quantizer>,
    /// Quantized weights by weight, axis, format and place, with their positions among the quantizers.
    shared: HashMap<(ValueId, Option<usize>, &'static str, bool), (ValueId, usize)>,
}

impl Inserter<'_> {
    fn activations(&mut self, group: &ActivationGroup, found: &Sites) -> Result<(), AwareError> {
        let observed = &self.preparation.observed;
        let is_input = group.rounded.iter().any(|value| observed.inputs.contains(value));
        let stem = observed.value(group.root).name.clone();
        let settings = &self.preparation.settings;
        let quantizer = ActivationQuantizer::new(&mut self.builder, &stem, group, settings, is_input);
        for (index, value) in group.rounded.iter().enumerate() {
            let counterpart = self.counterparts.value(*value)?;
            let (node, before) = quantizer.add(&mut self.builder, counterpart);
            let sites = if index == 0 {
                self.moved_sites(group, found)
            } else {
                Vec::new()
            };
            let own = Site::Value(observed.value(*value).name.clone());
            self.quantizers.push(Quantizer {
                node,
                sites: std::iter::once(own).chain(sites).collect(),
                kind: QuantizerKind::Activation { before },
            });
        }
        Ok(())
    }

    /// Places of the plan that have the scale of a group, but are not rounded themselves.
    fn moved_sites(&self, group: &ActivationGroup, found: &Sites) -> Vec<Site> {
        let observed = &self.preparation.observed;
        let quantized = found.plan.decisions.iter().filter_map(|decision| {
            let (Site::Value(name), Action::QuantizeActivation(_)) = (&decision.site, &decision.action)
            else {
                return None;
            };
            let value = observed.value_by_name(name)?;
            let moved = group.members.contains(&value) && !group.rounded.contains(&value);
            moved.then(|| decision.site.clone())
        });
        quantized.collect()
    }

    fn weight(&mut self, site: &WeightSite) -> Result<(), AwareError> {
        let preparation = self.preparation;
        let (observed, base) = (&preparation.observed, &preparation.base);
        let node = self.counterparts.product(site.node)?;
        let weight = base.node(node).input(site.input);
        let of_base = WeightSite {
            node,
            weight: weight.ok_or_else(|| AwareError::Unknown {
                name: base.describe(base.node(node)),
            })?,
            ..site.clone()
        };
        let place = Site::Input {
            value: observed.value(site.weight).name.clone(),
            node: observed
                .node(site.node)
                .output(0)
                .map_or_else(String::new, |output| observed.value(output).name.clone()),
            input: site.input,
        };
        let axis = crate::quantize::products::product_inputs(base, base.node(node))
            .map(|inputs| inputs.channel_axis);
        let key = (of_base.weight, axis, site.format.name(), site.edge);
        let output = match self.shared.get(&key) {
            Some(&(output, index)) => {
                self.quantizers[index].sites.push(place);
                output
            }
            None => {
                let added = weights::add(&mut self.builder, &of_base, &preparation.settings)?;
                let WeightQuantizer { output, node, axis } = added;
                self.shared.insert(key, (output, self.quantizers.len()));
                let weight = base.value(of_base.weight).name.clone();
                self.quantizers.push(Quantizer {
                    node,
                    sites: vec![place],
                    kind: QuantizerKind::Weight { weight, axis },
                });
                output
            }
        };
        self.builder.patch.set_input(node, site.input, Some(output));
        Ok(())
    }
}
