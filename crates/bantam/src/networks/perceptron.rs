//! Fully connected networks.

use bantam_graph::Model;
use bantam_tensor::DType;

use super::{Initialization, Net, Network, Shape, finish};
use crate::Error;

pub(super) const MLP: Network = Network {
    name: "mlp",
    summary: "fully connected layers with ReLU between them; --hidden says how wide",
    input: &[1, 28, 28],
    hidden: &[256, 128],
    initialization: Initialization::Standard,
    build,
};

/// LeCun et al. 1998, in the form of Frankle and Carbin 2019 (figure 2).
pub(super) const LENET_300_100: Network = Network {
    name: "lenet-300-100",
    summary: "fully connected with hidden layers of 300 and 100 (LeCun et al. 1998; Frankle and Carbin 2019)",
    input: &[1, 28, 28],
    hidden: &[],
    initialization: Initialization::Xavier,
    build: |shape| {
        build(&Shape {
            hidden: vec![300, 100],
            ..shape.clone()
        })
    },
};

fn build(shape: &Shape) -> Result<Model, Error> {
    let mut net = Net::new(shape.name);
    let input = net.input("input", DType::F32, &shape.input);
    let mut x = net.flatten(input);
    let elements = shape
        .input
        .iter()
        .try_fold(1usize, |product, size| product.checked_mul(*size));
    let mut from = elements.unwrap_or(usize::MAX);
    for (index, hidden) in shape.hidden.iter().enumerate() {
        let to = shape.scaled(*hidden, 1);
        let sum = net.dense(&format!("fc{}", index + 1), x, from, to)?;
        x = net.relu(sum);
        from = to;
    }
    let logits = net.dense(&format!("fc{}", shape.hidden.len() + 1), x, from, shape.classes)?;
    Ok(finish(net, logits))
}
