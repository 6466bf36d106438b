//! What Bantam does not compute, and why. Every other case of the standard must pass. `docs/conformance.md` says the
//! same for people.

/// An op of the standard (domain, name) that is not computed.
pub(crate) struct Op {
    pub(crate) domain: &'static str,
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
}

/// A case whose ops are computed, but not in this form; exact names, so that a case that starts to pass is noticed.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) reason: &'static str,
}

const STRINGS: &str = "text processing";
const CONTAINERS: &str = "sequences, optionals and maps are not values of a program";
const RANDOM: &str = "random numbers, whose values the standard leaves open";
const TRAINING: &str = "optimizer steps, which training does itself";
const SIGNAL: &str = "signal processing";
const CLASSICAL: &str = "classical machine learning";
const NEW: &str = "ops of opset 26 and later, and previews";
const IMAGES: &str = "decoding of image files";

macro_rules! not_covered {
    ($($domain:literal $reason:ident: $($name:literal)+;)*) => {
        &[$($(Op { domain: $domain, name: $name, reason: $reason }),+),*]
    };
}

pub(crate) const OPS: &[Op] = not_covered! {
    "" STRINGS: "RegexFullMatch" "StringConcat" "StringNormalizer" "StringSplit" "TfIdfVectorizer";
    "" CONTAINERS: "Optional" "OptionalGetElement" "OptionalHasElement" "SequenceAt" "SequenceConstruct" "SequenceEmpty"
        "SequenceErase" "SequenceInsert" "SequenceLength" "SequenceMap" "SplitToSequence" "ConcatFromSequence";
    "" RANDOM: "Bernoulli" "Multinomial" "RandomNormal" "RandomNormalLike" "RandomUniform" "RandomUniformLike";
    "" SIGNAL: "BlackmanWindow" "DFT" "HammingWindow" "HannWindow" "MelWeightMatrix" "STFT";
    "" IMAGES: "ImageDecoder";
    "" NEW: "CausalConvWithState" "LinearAttention" "SwiGLU";
    "ai.onnx.preview" NEW: "FlexAttention";
    "ai.onnx.ml" CLASSICAL: "ArrayFeatureExtractor" "Binarizer" "LabelEncoder" "TreeEnsemble";
    "ai.onnx.preview.training" TRAINING: "Adagrad" "Adam" "Gradient" "Momentum";
};

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "test_identity_sequence",
        reason: CONTAINERS,
    },
    Case {
        name: "test_identity_opt",
        reason: CONTAINERS,
    },
    Case {
        name: "test_training_dropout",
        reason: RANDOM,
    },
    Case {
        name: "test_training_dropout_default",
        reason: RANDOM,
    },
    Case {
        name: "test_training_dropout_default_mask",
        reason: RANDOM,
    },
    Case {
        name: "test_training_dropout_mask",
        reason: RANDOM,
    },
];

/// Why a case with these ops and this name is not expected to pass.
pub(crate) fn not_covered(case: &str, ops: &[(String, String)]) -> Option<&'static str> {
    let named = CASES
        .iter()
        .find(|known| known.name == case)
        .map(|known| known.reason);
    let by_op = || {
        let listed = |(domain, name): &(String, String)| {
            OPS.iter()
                .find(|op| op.domain == domain && op.name == name)
                .map(|op| op.reason)
        };
        ops.iter().find_map(listed)
    };
    named.or_else(by_op)
}
