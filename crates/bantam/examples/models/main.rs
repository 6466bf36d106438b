//! Writes benchmark networks with seeded random weights, float and quantized.
//!
//!     cargo xtask models
//!
//! Their layers are those of the papers; their outputs mean nothing. The quantized form is what `bantam quantize` writes
//! with its defaults: static for convolutional networks (8 random samples), dynamic for transformers.
#![allow(clippy::print_stdout)]

mod layers;
mod transformers;
mod vision;

use std::path::{Path, PathBuf};

use bantam::compress::quantize::{QuantizeSettings, method_by_name};
use bantam::compress::target::target_by_name;
use bantam::formats::data::write_npy;
use bantam::formats::onnx::SaveOptions;
use bantam::graph::Model;
use bantam::tensor::SplitMix64;
use bantam::tensor::Tensor;
use bantam::{Error, jobs, pipeline};

/// A benchmark network.
struct Network {
    name: &'static str,
    build: fn() -> Model,
    method: &'static str,
}

static NETWORKS: &[Network] = &[
    Network {
        name: "resnet18",
        build: vision::resnet18,
        method: "static",
    },
    Network {
        name: "resnet50",
        build: vision::resnet50,
        method: "static",
    },
    Network {
        name: "mobilenet_v2",
        build: vision::mobilenet_v2,
        method: "static",
    },
    Network {
        name: "efficientnet_b0",
        build: vision::efficientnet_b0,
        method: "static",
    },
    Network {
        name: "encoder",
        build: transformers::encoder,
        method: "dynamic",
    },
    Network {
        name: "llama_block",
        build: transformers::llama_block,
        method: "dynamic",
    },
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = PathBuf::from("target/models");
    std::fs::create_dir_all(&folder)?;
    let images = folder.join("images.npy");
    write_npy(&images, &random_images())?;
    for network in NETWORKS {
        let float = folder.join(format!("{}.onnx", network.name));
        pipeline::export(&(network.build)(), &float, &SaveOptions::default())?;
        println!("{}", float.display());
        let quantized = folder.join(format!("{}-int8.onnx", network.name));
        quantize(network, &float, &images, &quantized)?;
        println!("{}", quantized.display());
    }
    Ok(())
}

fn quantize(network: &Network, float: &Path, images: &Path, output: &Path) -> Result<(), Error> {
    let job = jobs::QuantizeJob {
        model: float.to_owned(),
        data: (network.method == "static").then(|| images.to_owned()),
        method: method_by_name(network.method).expect("listed"),
        settings: QuantizeSettings::for_target(target_by_name("onnxruntime").expect("listed")),
        codes: None,
        groups: None,
        rescaling: jobs::Rescaling::default(),
        samples: IMAGES,
        seed: 0,
        calibration_split: "train".to_owned(),
        plan: None,
        plan_out: None,
        score_split: None,
        metrics: vec![],
        limit: 0,
        output: output.to_owned(),
        resume: false,
        save: SaveOptions::default(),
    };
    jobs::quantize(&job, &bantam::NoProgress).map(drop)
}

/// Random images to calibrate on.
const IMAGES: usize = 8;

/// `[IMAGES, 3, 224, 224]` numbers from -2 to 2.
fn random_images() -> Tensor {
    let shape = [IMAGES, 3, 224, 224];
    let mut generator = SplitMix64::new(1);
    let number = |_| (generator.next_u64() >> 40) as f32 / (1 << 22) as f32 - 2.0;
    let values: Vec<f32> = (0..shape.iter().product()).map(number).collect();
    Tensor::from_slice(&shape, &values).expect("as many as the shape says")
}
