//! Networks with fewer channels, and what fewer bits would do to each of their layers.

use std::path::{Path, PathBuf};

use bantam_compress::evaluate::Runner;
use bantam_compress::prune::channels::{ChannelScope, ChannelSettings, Target, UnitKind};
use bantam_compress::prune::criterion::FOR_CHANNELS;
use bantam_compress::prune::prunable;
use bantam_compress::prune::reconstruct::reconstruction_by_name;
use bantam_compress::quantize::aware::round_weights;
use bantam_compress::search::energy::{multiply_accumulate, read_weights};
use bantam_compress::search::{Change, Choice, divergence, sensitivities};
use bantam_compress::target::activation_elements;
use bantam_formats::onnx::SaveOptions;
use bantam_graph::{Cost, Graph, InferOptions, Model, cost, infer_shapes};
use bantam_tensor::{Batch, Samples, trained_format_by_name};
use serde::{Deserialize, Serialize};

use super::budget::Minimize;
use super::candidate::{Candidate, aware_settings};
use super::{CompressJob, Search};
use crate::jobs::inspect::with_batch;
use crate::jobs::{PruneJob, Pruning, prune};
use crate::{Error, Progress, pipeline};

/// Samples that sensitivities are measured on.
const SAMPLES: usize = 256;

/// A network of which a share of the channels is left, and its layers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Level {
    /// Share that was to stay, in thousandths.
    pub(super) left: u32,
    /// Its file, in float.
    pub(super) file: PathBuf,
    /// Multiply-accumulates of a sample.
    pub(super) macs: u64,
    /// Parameters.
    pub(super) parameters: u64,
    /// Bytes of all that is no weight of a layer.
    pub(super) other_bytes: u64,
    /// Most elements of values of one sample at once, where sizes are known.
    pub(super) activation_elements: Option<u64>,
    /// Divergence from the network as it was.
    pub(super) loss: f64,
    /// The layers whose weights become codes.
    pub(super) layers: Vec<Layer>,
}

/// A product and its weight.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Layer {
    /// The name of its output, which people and selectors know it by.
    pub(super) name: String,
    /// Its op.
    pub(super) op: String,
    /// Elements of the weight.
    pub(super) elements: u64,
    /// Its output channels.
    pub(super) channels: u64,
    /// Whether files hold codes in as many bits as they have.
    pub(super) packed: bool,
    /// Multiply-accumulates of a sample.
    pub(super) macs: u64,
    /// What each format would do.
    pub(super) formats: Vec<Format>,
}

/// A number format for the weight of a layer.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Format {
    /// Its name.
    pub(super) name: String,
    /// Its bits.
    pub(super) bits: u32,
    /// Divergence of what the network says when this layer alone has it.
    pub(super) loss: f64,
}

impl Level {
    /// What counts in the same way for all choices of bits: bytes of what is no weight of a layer.
    pub(super) fn fixed_cost(&self, minimize: Minimize) -> f64 {
        match minimize {
            Minimize::BitOperations | Minimize::Energy => 0.0,
            Minimize::Size | Minimize::Latency | Minimize::Loss => self.other_bytes as f64,
        }
    }

    /// Most bytes of values of one sample at once: codes have 8 bits.
    pub(super) fn activation_bytes(&self, candidate: &Candidate) -> Option<u64> {
        let width = if candidate.bits.is_some() { 1 } else { 4 };
        self.activation_elements.map(|elements| width * elements)
    }

    /// The layer of the same name as another level's; that one itself where there is none.
    pub(super) fn of_name<'a>(&'a self, other: &'a Layer) -> &'a Layer {
        let found = self.layers.iter().find(|layer| layer.name == other.name);
        found.unwrap_or(other)
    }
}

impl Layer {
    /// What each format costs, and how much it hurts; float where the layer cannot have codes.
    pub(super) fn choices(&self, minimize: Minimize) -> Vec<Choice> {
        let choice = |bits: u32, loss: f64| Choice {
            cost: self.cost(bits, minimize),
            loss,
        };
        match self.formats.is_empty() {
            true => vec![choice(FLOAT, 0.0)],
            false => (self.formats.iter())
                .map(|format| choice(format.bits, format.loss))
                .collect(),
        }
    }

    /// Bits of a choice.
    pub(super) fn bits(&self, choice: usize) -> u32 {
        self.formats.get(choice).map_or(FLOAT, |format| format.bits)
    }

    pub(super) fn cost(&self, bits: u32, minimize: Minimize) -> f64 {
        match minimize {
            Minimize::BitOperations => self.bit_operations(bits) as f64,
            Minimize::Size | Minimize::Latency | Minimize::Loss => self.bytes(bits),
            Minimize::Energy => self.energy(bits),
        }
    }

    /// Bytes of the weight in a file.
    pub(super) fn bytes(&self, bits: u32) -> f64 {
        if bits == FLOAT {
            return 4.0 * self.elements as f64;
        }
        // Each channel has a scale and a code for zero.
        let native = (self.elements * if bits <= 4 { 4 } else { 8 }).div_ceil(8);
        let codes = match self.packed {
            true => native.min(self.elements.div_ceil(8) * u64::from(bits) + PACKED),
            false => native,
        };
        codes as f64 + 5.0 * self.channels as f64
    }

    /// Multiply-accumulates, each times the bits of both factors.
    pub(super) fn bit_operations(&self, bits: u32) -> u64 {
        self.macs * u64::from(bits * activation_bits(bits))
    }

    /// Picojoules of a sample.
    pub(super) fn energy(&self, bits: u32) -> f64 {
        self.macs as f64 * multiply_accumulate(bits, activation_bits(bits)) + read_weights(self.bytes(bits))
    }
}

/// Bits of what weights of so many bits are multiplied by.
pub(super) fn activation_bits(bits: u32) -> u32 {
    if bits == FLOAT { FLOAT } else { 8 }
}

/// Bytes of the nodes that unpack a weight, about.
const PACKED: u64 = 270;

/// Bits of a number in float.
pub(super) const FLOAT: u32 = 32;

/// The file of the network with this share left; `None` where its channels cannot be removed as far.
pub(super) fn prune_to(
    search: &Search<'_>,
    left: u32,
    progress: &dyn Progress,
) -> Result<Option<PathBuf>, Error> {
    let job = search.job;
    if left == 1000 {
        return Ok(Some(job.model.clone()));
    }
    let file = search.workspace.file(&format!("left-{left}.onnx"));
    let made = search.workspace.cached(&format!("left-{left}"), || {
        match search.timed("channels", || prune(&prune_job(search, left, &file), progress)) {
            Ok(_) => Ok(None),
            Err(Error::Prune(error)) => Ok(Some(error.to_string())),
            Err(error) => Err(error),
        }
    })?;
    match made {
        None => Ok(Some(file)),
        Some(why) => {
            search.note(format!("{}% left: {why}", f64::from(left) / 10.0));
            Ok(None)
        }
    }
}

fn prune_job(search: &Search<'_>, left: u32, output: &Path) -> PruneJob {
    let job = search.job;
    let settings = ChannelSettings {
        kind: UnitKind::Channel,
        criterion: FOR_CHANNELS,
        target: match job.budget.minimize {
            Minimize::Size | Minimize::Loss => Target::Parameters,
            Minimize::Latency | Minimize::BitOperations | Minimize::Energy => Target::Macs,
        },
        left: f64::from(left) / 1000.0,
        scope: ChannelScope::Global,
        savings_power: 1.0,
        least: 0.1,
        multiple: match job.budget.minimize {
            Minimize::Latency => job.target.channel_multiple,
            _ => 1,
        },
        streams: false,
        steps: 1,
        reconstruction: reconstruction_by_name("least-squares"),
        recalibrate: true,
        include: Vec::new(),
        exclude: job.exclude.clone(),
        sizes: InferOptions::default(),
        seed: job.seed,
    };
    PruneJob {
        model: job.model.clone(),
        data: Some(job.data.clone()),
        pruning: Pruning::Channels(settings),
        latency: None,
        loss: None,
        samples: job.samples,
        calibration_split: "train".to_owned(),
        plan: None,
        plan_out: None,
        score_split: None,
        metrics: Vec::new(),
        limit: usize::MAX,
        output: Some(output.to_owned()),
        save: SaveOptions::default(),
    }
}

/// A level whose layers have not been measured.
pub(super) fn outline(job: &CompressJob, left: u32, file: &Path) -> Result<Level, Error> {
    let mut graph = pipeline::prepare(&pipeline::load(file)?)?.graph;
    let options = with_batch(&graph, 1);
    infer_shapes(&mut graph, &options)?;
    let cost = cost(&graph);
    let layers = layers(&graph, &cost, job.target.folds_constants);
    let coded: u64 = layers.iter().map(|layer| 4 * layer.elements).sum();
    Ok(Level {
        left,
        file: file.to_owned(),
        macs: cost.macs,
        parameters: cost.parameters,
        other_bytes: cost.weight_bytes.saturating_sub(coded),
        activation_elements: activation_elements(&graph),
        loss: 0.0,
        layers,
    })
}

/// Measures what fewer bits would do to each layer of a level.
pub(super) fn measure(search: &Search<'_>, level: Level, progress: &dyn Progress) -> Result<Level, Error> {
    search.workspace.cached(&format!("layers-{}", level.left), || {
        let model = pipeline::prepare(&pipeline::load(&level.file)?)?;
        let batches = batches(search, &model.graph)?;
        let loss = match level.left {
            1000 => 0.0,
            _ => distance(&search.model, &model, &batches)?,
        };
        let mut layers = level.layers.clone();
        let (measured, between) = measured_widths(&search.job.bits());
        for bits in measured {
            add_format(search, &model, bits, &mut layers, &batches, progress)?;
        }
        for layer in &mut layers {
            interpolate(&mut layer.formats, &between);
        }
        Ok(Level {
            loss,
            layers,
            ..level
        })
    })
}

/// Widths whose effect is measured, and those that lie between them: the widest, the narrowest and 4 say enough of five and more.
fn measured_widths(bits: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let ends = [bits.first(), bits.last()];
    let measured = |bits_of: &u32| *bits_of == 4 || ends.contains(&Some(bits_of));
    match bits.len() <= 4 {
        true => (bits.to_vec(), Vec::new()),
        false => bits.iter().partition(|bits| measured(bits)),
    }
}

/// Adds formats of widths between those that were measured: each bit divides the divergence by about the same.
fn interpolate(formats: &mut Vec<Format>, between: &[u32]) {
    for &bits in between {
        let wide = formats.iter().rfind(|format| format.bits > bits);
        let narrow = formats.iter().find(|format| format.bits < bits);
        let (Some(wide), Some(narrow)) = (wide, narrow) else {
            continue;
        };
        let share = f64::from(bits - narrow.bits) / f64::from(wide.bits - narrow.bits);
        let [from, to] = [narrow.loss, wide.loss].map(|loss| loss.max(f64::MIN_POSITIVE).ln());
        let format = Format {
            name: format!("int{bits}"),
            bits,
            loss: (from + share * (to - from)).exp(),
        };
        let place = formats.partition_point(|known| known.bits > bits);
        formats.insert(place, format);
    }
}

/// Samples to run networks on.
fn batches(search: &Search<'_>, graph: &Graph) -> Result<Vec<Batch>, Error> {
    let samples = search.sources.calibration.iter().copied();
    let samples: Vec<usize> = samples.take(SAMPLES).collect();
    let cut = pipeline::batch_size(graph, pipeline::BATCH).cut(&samples);
    let read = cut.map(|(indices, _)| search.sources.train().batch(&indices));
    Ok(read
        .collect::<Result<_, _>>()
        .map_err(bantam_compress::stats::ObserveError::from)?)
}

/// How far one network is from another.
fn distance(from: &Model, to: &Model, batches: &[Batch]) -> Result<f64, Error> {
    let (mut from, mut to) = (pipeline::compile(from)?, pipeline::compile(to)?);
    let mut sum = 0.0;
    for batch in batches {
        let inputs: Vec<_> = batch
            .inputs
            .iter()
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        let run = |runner: &mut dyn Runner| {
            let outputs = runner
                .run(&inputs)
                .map_err(bantam_compress::evaluate::EvaluateError::from)?;
            outputs
                .into_iter()
                .next()
                .ok_or(bantam_compress::evaluate::EvaluateError::NoOutput)
        };
        sum += divergence(&run(&mut from)?, &run(&mut to)?)?;
    }
    Ok(sum / batches.len().max(1) as f64)
}

fn layers(graph: &Graph, cost: &Cost, packed: bool) -> Vec<Layer> {
    let (weights, _) = prunable(graph, &vec![None; graph.nodes.len()]);
    let layer = |weight: &bantam_compress::prune::Weight| {
        let node = graph.node(weight.node);
        Some(Layer {
            name: graph.value(node.output(0)?).name.clone(),
            op: node.op.name().to_owned(),
            elements: weight.len() as u64,
            channels: weight.rows as u64,
            packed,
            macs: cost.nodes[weight.node.index()].macs.unwrap_or(0),
            formats: Vec::new(),
        })
    };
    weights.iter().filter_map(layer).collect()
}

/// Chooses codes of one width for all layers, and measures what those of each layer alone do.
fn add_format(
    search: &Search<'_>,
    model: &Model,
    bits: u32,
    layers: &mut [Layer],
    batches: &[Batch],
    progress: &dyn Progress,
) -> Result<(), Error> {
    let name = format!("int{bits}");
    let format = trained_format_by_name(&name).expect("listed");
    let mut settings = aware_settings(search.job)?;
    settings.quantize.weights = format;
    let (float, aware) = search.quantize(&model.graph, &settings, progress)?;
    let rounded = round_weights(&aware)?;
    let (weights, _) = prunable(&float, &vec![None; float.nodes.len()]);
    let mut changes = Vec::new();
    let mut places = Vec::new();
    for weight in &weights {
        let output = float.node(weight.node).output(0);
        let named = output.map(|output| float.value(output).name.as_str());
        let place = layers.iter().position(|layer| Some(layer.name.as_str()) == named);
        let after = rounded
            .value_by_name(&weight.name)
            .and_then(|value| rounded.constant(value));
        let before = float.constant(weight.value);
        if let (Some(place), Some(after), Some(before)) = (place, after, before)
            && after.to_f32()? != before.to_f32()?
        {
            places.push(place);
            changes.push(Change {
                value: weight.value,
                tensor: after.clone(),
            });
        }
    }
    progress.start(&format!("sensitivity to {name}"), changes.len());
    let losses = search.timed("sensitivity", || {
        sensitivities(&float, &changes, batches, &|done| progress.at(done))
    })?;
    progress.finish();
    for (place, loss) in places.into_iter().zip(losses) {
        layers[place].formats.push(Format {
            name: name.clone(),
            bits,
            loss,
        });
    }
    Ok(())
}

/// Which share of the channels may be left, in the order of trying.
pub(super) fn shares(job: &CompressJob) -> Vec<u32> {
    job.keep
        .iter()
        .map(|share| (share * 1000.0).round() as u32)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_between_those_measured_lie_between_in_logarithms() {
        let all = [8, 6, 5, 4, 3, 2];
        assert_eq!(measured_widths(&all), (vec![8, 4, 2], vec![6, 5, 3]));
        assert_eq!(measured_widths(&all[2..]), (vec![5, 4, 3, 2], vec![]));
        let format = |(bits, loss)| Format {
            name: format!("int{bits}"),
            bits,
            loss,
        };
        let mut formats: Vec<Format> = [(8, 1e-4), (4, 1e-2), (2, 1.0)].map(format).to_vec();
        interpolate(&mut formats, &[6, 5, 3]);
        assert_eq!(Vec::from_iter(formats.iter().map(|format| format.bits)), all);
        for (format, expected) in formats
            .iter()
            .zip([1e-4, 1e-3, 10f64.powf(-2.5), 1e-2, 1e-1, 1.0])
        {
            assert!((format.loss / expected - 1.0).abs() < 1e-9, "{format:?}");
        }
    }
}
