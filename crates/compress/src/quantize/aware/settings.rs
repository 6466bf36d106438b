//! What a user can ask of quantization-aware training.

use bantam_graph::ops::SignEstimator;
use bantam_tensor::{FormatKind, NumberFormat, trained_format_by_name};

use super::AwareError;
use crate::quantize::{QuantizeError, QuantizeSettings};
use crate::range::range_by_name;
use crate::select::Selector;
use crate::target::{ScaleForm, Target};

/// Declares a choice with the words that users write.
macro_rules! choices {
    ($($(#[$meta:meta])* $choice:ident { $($variant:ident = $name:literal $summary:literal,)* })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $choice { $(#[doc = $summary] $variant),* }

        impl $choice {
            /// Every one of them.
            pub const ALL: &[$choice] = &[$($choice::$variant),*];
            /// The word that users write.
            pub fn name(self) -> &'static str {
                match self { $($choice::$variant => $name),* }
            }
            /// One line for lists.
            pub fn summary(self) -> &'static str {
                match self { $($choice::$variant => $summary),* }
            }
            /// The one of this name.
            pub fn from_name(name: &str) -> Option<$choice> {
                $choice::ALL.iter().copied().find(|choice| choice.name() == name)
            }
        }
    )*};
}

choices! {
    /// What becomes of scales while training.
    ScaleTraining {
        Fixed = "fixed" "scales stay as calibration found them",
        Learned = "learned" "each scale is a parameter (LSQ, Esser et al. 2020)",
        LearnedOffset = "lsq+" "as learned, with learned zero points of activations (LSQ+, Bhalgat et al. 2020)",
        PowerOfTwo = "power-of-two" "scales are powers of two, whose logarithms are parameters (TQT, Jain et al. 2020)",
    }
    /// How weights become levels.
    WeightMapping {
        Uniform = "uniform" "rounded to evenly spaced levels",
        Dorefa = "dorefa" "tanh(w) / max|tanh(w)|, rounded to levels on both sides of zero (Zhou et al. 2016)",
        Binary = "binary" "the sign times the mean magnitude of the channel (XNOR-Net, Rastegari et al. 2016)",
        Ternary = "ternary" "-1, 0 and 1 times a scale of the channel, 0 under 0.7 times the mean magnitude (TWN, Li et al. 2016)",
    }
    /// How activations become levels.
    ActivationMapping {
        Uniform = "uniform" "rounded to evenly spaced levels",
        Pact = "pact" "clipped to a learned bound, then rounded (Choi et al. 2018)",
        Binary = "binary" "0 or 1 behind a ReLU, elsewhere the sign, with an approximate gradient (Bi-Real Net, Liu et al. 2018)",
    }
    /// Where scales start.
    InitialScale {
        Range = "range" "from the range methods of activations and weights",
        Lsq = "lsq" "2 mean|x| / sqrt(largest code) (Esser et al. 2020, section 2.1)",
    }
    /// What becomes of BatchNormalization while training.
    BatchNormalizationMode {
        Keep = "keep" "stays while training, by the batch's statistics; folded afterwards",
        Fold = "fold" "folded into the weights before training",
    }
}

/// Formats of the first and the last product: of their weights, and of what only they read.
#[derive(Clone, Copy, Debug)]
pub struct Edges {
    /// Number format of the weights.
    pub weights: &'static dyn NumberFormat,
    /// Number format of the activations.
    pub activations: &'static dyn NumberFormat,
}

/// The width of the weights of some nodes.
#[derive(Clone)]
pub struct Width {
    /// The nodes.
    pub nodes: Selector,
    /// Number format of their weights.
    pub format: &'static dyn NumberFormat,
}

impl Width {
    /// Reads `SELECTOR=FORMAT`, as `role:last=int8` or `name:*/conv2=int4`.
    ///
    /// # Errors
    /// When there is no selector or no format of integers.
    pub fn parse(text: &str) -> Result<Width, AwareError> {
        let (nodes, format) = text.rsplit_once('=').ok_or_else(|| AwareError::Width {
            text: text.to_owned(),
        })?;
        Ok(Width {
            nodes: Selector::parse(nodes).map_err(QuantizeError::from)?,
            format: integer_format(format)?,
        })
    }
}

/// Settings of quantization-aware training; [`AwareSettings::for_target`] gives the defaults.
#[derive(Clone)]
pub struct AwareSettings {
    /// Target, formats, symmetry, ranges and selectors, as for the method `static`. Formats may be of
    /// [`bantam_tensor::NARROW_FORMATS`]; bias correction is not used.
    pub quantize: QuantizeSettings,
    /// Activations stay in float.
    pub float_activations: bool,
    /// Formats of the edges of the network; as everywhere when absent.
    pub edges: Option<Edges>,
    /// Weights of fewer than 8 bits are packed in files and become codes of 8 bits when these are loaded: the target's kernels multiply them.
    pub packed_codes: bool,
    /// Widths of single nodes, which count before all others; of two for a node the later.
    pub widths: Vec<Width>,
    /// What becomes of scales.
    pub scales: ScaleTraining,
    /// How weights become levels; those of the edges are uniform.
    pub weight_mapping: WeightMapping,
    /// How activations become levels; inputs of the network and what only edges read are uniform.
    pub activation_mapping: ActivationMapping,
    /// Where scales start.
    pub initial: InitialScale,
    /// What becomes of BatchNormalization.
    pub batch_normalization: BatchNormalizationMode,
    /// Slope of the signs of weights.
    pub weight_estimator: SignEstimator,
    /// Slope of the signs of activations.
    pub activation_estimator: SignEstimator,
}

impl AwareSettings {
    /// Learned scales from ranges of least squared error, BatchNormalization kept, edges of 8 bits; where the target wants powers of two,
    /// those are learned, and BatchNormalization is folded first.
    pub fn for_target(target: &'static Target) -> AwareSettings {
        let mut quantize = QuantizeSettings::for_target(target);
        quantize.range = range_by_name("mse").expect("listed");
        quantize.weight_range = quantize.range;
        quantize.bias_correction = false;
        let edges = Edges {
            weights: quantize.weights,
            activations: quantize.activations,
        };
        let any = target.scales == ScaleForm::Any;
        AwareSettings {
            quantize,
            float_activations: false,
            edges: Some(edges),
            packed_codes: target.folds_constants,
            widths: Vec::new(),
            scales: if any {
                ScaleTraining::Learned
            } else {
                ScaleTraining::PowerOfTwo
            },
            weight_mapping: WeightMapping::Uniform,
            activation_mapping: ActivationMapping::Uniform,
            initial: InitialScale::Range,
            // Folded after training it would change scales.
            batch_normalization: if any {
                BatchNormalizationMode::Keep
            } else {
                BatchNormalizationMode::Fold
            },
            weight_estimator: SignEstimator::Clip,
            activation_estimator: SignEstimator::Polynomial,
        }
    }

    /// For choosing codes without training: scales that must be powers of two are constants then, which algorithms know how to choose.
    pub fn untrained(mut self) -> AwareSettings {
        if self.scales == ScaleTraining::PowerOfTwo && self.quantize.target.scales == ScaleForm::PowerOfTwo {
            self.scales = ScaleTraining::Fixed;
        }
        self
    }

    /// Refuses what would leave scales that the target does not take.
    pub(super) fn check_scales(&self) -> Result<(), AwareError> {
        let learned = matches!(self.scales, ScaleTraining::Learned | ScaleTraining::LearnedOffset);
        let keeps = self.batch_normalization == BatchNormalizationMode::Keep;
        let uniform = self.weight_mapping == WeightMapping::Uniform
            && self.activation_mapping == ActivationMapping::Uniform;
        match self.quantize.target.scales == ScaleForm::PowerOfTwo && (learned || keeps || !uniform) {
            false => Ok(()),
            true => Err(AwareError::Scales {
                target: self.quantize.target.name,
            }),
        }
    }

    /// Sets the formats by name: `int4`, `uint2`, or for activations `float`.
    ///
    /// # Errors
    /// When a format does not exist or is not of integers.
    pub fn set_formats(&mut self, weights: &str, activations: &str) -> Result<(), AwareError> {
        self.quantize.weights = integer_format(weights)?;
        self.float_activations = activations == "float";
        if !self.float_activations {
            self.quantize.activations = integer_format(activations)?;
        }
        Ok(())
    }

    /// Sets the formats of the edges by that of their weights, `int8`; their activations get as many bits, signed if the
    /// others are. `none` makes them as everywhere.
    ///
    /// # Errors
    /// When the format does not exist or is not of integers.
    pub fn set_edges(&mut self, weights: &str) -> Result<(), AwareError> {
        self.edges = None;
        if weights == "none" {
            return Ok(());
        }
        let weights = integer_format(weights)?;
        let signed = self.quantize.activations.min_code() < 0;
        let activations = integer_format(&format!("{}int{}", if signed { "" } else { "u" }, weights.bits()))?;
        self.edges = Some(Edges { weights, activations });
        Ok(())
    }

    /// The settings of `static` for what is not at the edges.
    pub(super) fn inside(&self) -> QuantizeSettings {
        let mut settings = self.quantize.clone();
        if self.activation_mapping == ActivationMapping::Binary {
            settings.activations = trained_format_by_name("uint1").expect("listed");
        }
        settings
    }

    /// The settings of `static` for what is at the edges.
    pub(super) fn at_edges(&self) -> QuantizeSettings {
        let mut settings = self.quantize.clone();
        if let Some(edges) = &self.edges {
            (settings.weights, settings.activations) = (edges.weights, edges.activations);
        }
        settings
    }

    /// Whether the target multiplies these formats in integers, so that everything around products matters to it.
    pub(super) fn runs_in_integers(&self) -> bool {
        let target = self.quantize.target;
        let has = |known: &[(&str, Option<&str>)], format: &dyn NumberFormat| {
            known.iter().any(|(name, _)| *name == format.name())
        };
        let packed = |format: &dyn NumberFormat| {
            self.packed_codes
                && format.kind() == FormatKind::Integer
                && format.min_code() < 0
                && format.bits() < 8
        };
        let multiplied = |format: &dyn NumberFormat| has(target.weight_formats, format) || packed(format);
        !self.float_activations
            && self.activation_mapping != ActivationMapping::Binary
            && self.weight_mapping == WeightMapping::Uniform
            && multiplied(self.quantize.weights)
            && self.widths.iter().all(|width| multiplied(width.format))
            && has(target.activation_formats, self.quantize.activations)
    }
}

/// A format that networks can be trained for.
fn integer_format(name: &str) -> Result<&'static dyn NumberFormat, AwareError> {
    let known = || {
        let all = bantam_tensor::FORMATS.iter().chain(bantam_tensor::NARROW_FORMATS);
        all.copied().filter(|format| format.kind() == FormatKind::Integer)
    };
    let format = trained_format_by_name(name).filter(|format| format.kind() == FormatKind::Integer);
    format.ok_or_else(|| {
        let nearest = known().max_by(|a, b| {
            let near = |format: &dyn NumberFormat| strsim::jaro_winkler(name, format.name());
            near(*a).total_cmp(&near(*b))
        });
        AwareError::Format {
            name: name.to_owned(),
            known: known().map(NumberFormat::name).collect::<Vec<_>>().join(", "),
            nearest: nearest.map_or("", NumberFormat::name),
        }
    })
}
