//! The arguments of `bantam new`.

use std::path::PathBuf;

use clap::Args;

pub(super) const EXAMPLES: &str = "Examples:
  bantam new resnet20 --classes 10 -o resnet20.onnx
  bantam new lenet5 --input 1x28x28 --seed 3 -o lenet5.onnx
  bantam new mlp --hidden 256,128 --input 1x28x28 -o mlp.onnx
  bantam new resnet20 --width 0.5 -o half.onnx
  bantam new --reinit trained.onnx --seed 1 -o fresh.onnx
`bantam list networks` says which networks there are.";

#[derive(Args)]
pub(crate) struct New {
    /// Name of a network, as `bantam list networks` prints it
    #[arg(required_unless_present = "reinit")]
    pub(crate) network: Option<String>,
    /// Draw the weights of this ONNX file anew instead
    #[arg(long, value_name = "FILE", conflicts_with_all = ["network", "classes", "input", "width", "hidden"])]
    pub(crate) reinit: Option<PathBuf>,
    /// Number of outputs
    #[arg(long, default_value_t = 10)]
    pub(crate) classes: usize,
    /// Chooses the weights
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
    /// Sizes of one sample, as 3x32x32 [default: the network's]
    #[arg(long, value_parser = sizes('x'), value_name = "SIZES")]
    pub(crate) input: Option<Sizes>,
    /// Factor on the number of channels or features of every hidden layer
    #[arg(long, default_value_t = 1.0)]
    pub(crate) width: f64,
    /// Sizes of the hidden layers of an mlp, as 256,128
    #[arg(long, value_parser = sizes(','), value_name = "SIZES")]
    pub(crate) hidden: Option<Sizes>,
    /// How weights are drawn: standard or xavier [default: the network's; standard with --reinit]
    #[arg(long, value_name = "NAME")]
    pub(crate) init: Option<String>,
    /// One JSON object on standard output
    #[arg(long)]
    pub(crate) json: bool,
    /// File for the result
    #[arg(short, long)]
    pub(crate) output: PathBuf,
}

/// Several sizes in one argument.
#[derive(Clone)]
pub(crate) struct Sizes(pub(crate) Vec<usize>);

/// Reads sizes with `separator` between them.
fn sizes(separator: char) -> impl Fn(&str) -> Result<Sizes, String> + Clone + Send + Sync {
    move |text: &str| {
        let sizes: Result<Vec<usize>, _> = text.split(separator).map(str::parse).collect();
        let wrong = |_| {
            format!("numbers with `{separator}` between them are expected\nhint: 3{separator}32{separator}32")
        };
        sizes.map(Sizes).map_err(wrong)
    }
}
