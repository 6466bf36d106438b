//! Fresh networks: small ones of the literature, built as graphs with seeded initial weights.
//!
//! [`NETWORKS`] lists them. Each is a function from [`NetworkSettings`] to a [`Model`] whose weights are zero;
//! [`initialize()`] draws them, and draws those of any other model anew.

mod builder;
mod encoder;
mod initialize;
mod lenet;
mod mobilenet;
mod perceptron;
mod random;
mod resnet;

pub use builder::{Net, Window};
pub use initialize::{Initialization, InitializeReport, SCHEMES, initialize, scheme_by_name};

use bantam_graph::{Graph, InferOptions, Model, infer_shapes};

use crate::Error;

/// A network that can be made.
#[derive(Debug)]
pub struct Network {
    /// What users call it.
    pub name: &'static str,
    /// One line for lists.
    pub summary: &'static str,
    /// Sizes of one sample when none are given: channels, height, width.
    pub input: &'static [usize],
    /// Sizes of the hidden layers when none are given; empty where there is no choice.
    pub hidden: &'static [usize],
    /// How its weights are drawn when nothing else is asked for.
    pub initialization: Initialization,
    /// Builds it with weights of zero.
    build: fn(&Shape) -> Result<Model, Error>,
}

/// What can be chosen of a network.
#[derive(Clone, Debug)]
pub struct NetworkSettings {
    /// Number of outputs.
    pub classes: usize,
    /// Chooses the weights.
    pub seed: u64,
    /// Sizes of one sample, instead of the network's own.
    pub input: Option<Vec<usize>>,
    /// Factor on the number of channels or features of every hidden layer.
    pub width: f64,
    /// Sizes of the hidden layers, of networks that leave them open.
    pub hidden: Option<Vec<usize>>,
    /// How weights are drawn, instead of the network's own way.
    pub initialization: Option<Initialization>,
}

impl Default for NetworkSettings {
    fn default() -> NetworkSettings {
        NetworkSettings {
            classes: 10,
            seed: 0,
            input: None,
            width: 1.0,
            hidden: None,
            initialization: None,
        }
    }
}

/// Every network, in the order of lists.
pub static NETWORKS: &[Network] = &[
    perceptron::MLP,
    perceptron::LENET_300_100,
    lenet::LENET5,
    lenet::CONV2,
    resnet::RESNET20,
    resnet::RESNET56,
    mobilenet::MOBILENET_SMALL,
    encoder::ENCODER_TINY,
];

/// The network of this name.
///
/// # Errors
/// When there is none; the message lists those that exist and the nearest.
pub fn network_by_name(name: &str) -> Result<&'static Network, Error> {
    let found = NETWORKS.iter().find(|network| network.name == name);
    found.ok_or_else(|| Error::unknown_name("network", name, NETWORKS.iter().map(|network| network.name)))
}

/// A fresh network: input `input` `[batch, sizes...]`, output `logits` `[batch, classes]`, float32.
///
/// # Errors
/// When a setting is out of range or does not suit the network.
pub fn network(network: &Network, settings: &NetworkSettings) -> Result<Model, Error> {
    let shape = Shape::new(network, settings)?;
    let mut model = (network.build)(&shape)?;
    let scheme = settings.initialization.unwrap_or(network.initialization);
    initialize(&mut model.graph, scheme, settings.seed)?;
    declare_outputs(&mut model.graph)?;
    Ok(model)
}

/// Writes down the types of the outputs, as the standard wants.
fn declare_outputs(graph: &mut Graph) -> Result<(), Error> {
    let mut inferred = graph.clone();
    infer_shapes(&mut inferred, &InferOptions::default())?;
    for id in graph.outputs.clone() {
        graph.value_mut(id).ty = inferred.value(id).ty.clone();
    }
    Ok(())
}

/// Checked sizes of a network.
#[derive(Clone, Debug)]
struct Shape {
    name: &'static str,
    input: Vec<usize>,
    classes: usize,
    width: f64,
    hidden: Vec<usize>,
}

/// The largest size of one dimension.
const LARGEST: usize = 1 << 24;

impl Shape {
    fn new(network: &Network, settings: &NetworkSettings) -> Result<Shape, Error> {
        let input = settings.input.clone().unwrap_or(network.input.to_vec());
        check_sizes("--input", &input)?;
        check_sizes("--classes", &[settings.classes])?;
        let hidden = settings.hidden.clone().unwrap_or(network.hidden.to_vec());
        if settings.hidden.is_some() && network.hidden.is_empty() {
            let open = NETWORKS.iter().filter(|network| !network.hidden.is_empty());
            let open: Vec<&str> = open.map(|network| network.name).collect();
            return Err(Error::Usage {
                message: format!("the hidden layers of {} are given", network.name),
                hint: format!(
                    "--hidden is for {}; --width makes any network wider or narrower",
                    open.join(", ")
                ),
            });
        }
        check_sizes("--hidden", &hidden)?;
        if !(settings.width > 0.0 && settings.width <= 64.0) {
            return Err(Error::Usage {
                message: format!("a width of {} is not possible", settings.width),
                hint: "--width is a factor on the number of channels, above 0 and at most 64".to_owned(),
            });
        }
        Ok(Shape {
            name: network.name,
            input,
            classes: settings.classes,
            width: settings.width,
            hidden,
        })
    }

    /// `size` times the width, to a multiple of `unit`, at least one.
    fn scaled(&self, size: usize, unit: usize) -> usize {
        let units = (size as f64 * self.width / unit as f64).round();
        unit * (units as usize).max(1)
    }

    /// Channels, height and width of images of at least `smallest` pixels each way.
    fn image(&self, smallest: usize) -> Result<[usize; 3], Error> {
        let fit = |[_, height, width]: &[usize; 3]| *height.min(width) >= smallest;
        let image = <[usize; 3]>::try_from(self.input.as_slice()).ok().filter(fit);
        image.ok_or_else(|| Error::Usage {
            message: format!(
                "{} does not take samples of {}",
                self.name,
                product_text(&self.input)
            ),
            hint: format!("--input is CHANNELSxHEIGHTxWIDTH, at least {smallest} pixels each way"),
        })
    }
}

fn check_sizes(option: &str, sizes: &[usize]) -> Result<(), Error> {
    let fits = sizes.iter().all(|size| (1..=LARGEST).contains(size)) && sizes.len() <= 64;
    fits.then_some(()).ok_or_else(|| Error::Usage {
        message: format!("{option} {} is out of range", product_text(sizes)),
        hint: format!("at most 64 sizes, each from 1 to {LARGEST}"),
    })
}

fn product_text(sizes: &[usize]) -> String {
    let sizes: Vec<String> = sizes.iter().map(usize::to_string).collect();
    sizes.join("x")
}

/// Names the output and closes the graph.
fn finish(mut net: Net, logits: bantam_graph::ValueId) -> Model {
    net.graph.value_mut(logits).name = "logits".to_owned();
    net.finish(logits)
}

#[cfg(test)]
mod tests;
