//! Training a graph: fine-tuning, distillation, and quantization-aware training of graphs that round.
//!
//! [`train`] is the loop. A step is a graph: the model, the [`Loss`] behind it, and the gradients of its [`Parameter`]s; the
//! [`Optimizer`] moves these. A [`Checkpoint`] is what long work resumes from.

pub mod checkpoint;
mod error;
mod feature;
mod gradients;
pub mod loss;
pub mod optimizer;
pub mod parameters;
mod precision;
mod pullback;
mod regularization;
mod report;
mod resume;
pub mod schedule;
mod settings;
pub mod sparse;
mod state;
mod step;
mod teacher;
mod trainer;

pub use checkpoint::Checkpoint;
pub use error::TrainError;
pub use gradients::{GradientJob, visit_gradients};
pub use loss::Loss;
pub use optimizer::Optimizer;
pub use parameters::{Parameter, ParameterRule, parameters};
pub use precision::Precision;
pub(crate) use pullback::Pullback;
pub use regularization::{Penalty, Regularization};
pub use report::{EpochReport, Observer, StepReport, Trained};
pub use schedule::Schedule;
pub use settings::{Distillation, TrainSettings};
pub use trainer::train;
