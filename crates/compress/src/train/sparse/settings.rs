//! What a user can ask of zeros in trained weights.

use serde::{Deserialize, Serialize};

/// Zeros in trained weights: how many, where, and how they come about. The words are those of recipes and of
/// the command line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct SparsitySettings {
    /// How zeros come about.
    pub method: SparseMethod,
    /// How many there are in the end.
    pub amount: Amount,
    /// What the amount is counted over; by default [`Scope::Erk`] for masks that are there from the start,
    /// else [`Scope::Global`].
    pub scope: Option<Scope>,
    /// What the weights that stay are chosen by, where masks grow.
    pub criterion: Criterion,
    /// How zeros become more; by default cubic, and for a pattern one-shot.
    pub schedule: Option<SparsitySchedule>,
    /// Share of the steps after which masks begin to change.
    pub from: f32,
    /// Share of the steps after which masks stay; by default three quarters for connections that are
    /// exchanged (Evci et al. 2020), else one half.
    pub until: Option<f32>,
    /// Steps between two changes; by default 1 with feedback, else a fortieth of the steps in which masks
    /// change, or a tenth where connections are exchanged, and at most 100.
    pub every: Option<u64>,
    /// Share of the connections of a layer that are exchanged at first.
    pub exchange: f32,
    /// With [`SparseMethod::Feedback`], decay of the weights behind the mask on top of the others' (Zhou et
    /// al. 2021, equation 9).
    pub mask_decay: f32,
    /// Selectors of nodes whose weights stay dense.
    pub exclude: Vec<String>,
}

impl Default for SparsitySettings {
    fn default() -> SparsitySettings {
        SparsitySettings {
            method: SparseMethod::Keep,
            amount: Amount::Share(0.0),
            scope: None,
            criterion: Criterion::Magnitude,
            schedule: None,
            from: 0.0,
            until: None,
            every: None,
            exchange: 0.3,
            mask_decay: 0.0,
            exclude: Vec::new(),
        }
    }
}

/// How many weights are zero.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Amount {
    /// This share of all weights.
    Share(f64),
    /// All but `stay` of every `of` weights that lie one behind the other along the inputs of a product.
    Pattern {
        /// Weights of a group that stay.
        stay: usize,
        /// Weights of a group.
        of: usize,
    },
}

impl Amount {
    /// The share of zeros.
    pub fn share(self) -> f64 {
        match self {
            Amount::Share(share) => share,
            Amount::Pattern { stay, of } => 1.0 - stay as f64 / of.max(1) as f64,
        }
    }
}

/// How zeros come about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SparseMethod {
    /// Weights that are zero before training stay so.
    #[default]
    Keep,
    /// The mask grows; what is zero stays so (Zhu and Gupta 2017).
    Gradual,
    /// The mask grows, and weights behind it learn on, so that they may come back: the network computes with
    /// masked weights, and its gradient moves all (Lin et al. 2020; for patterns with a decay behind the mask
    /// SR-STE, Zhou et al. 2021).
    Feedback,
    /// A random mask stays. The control of the two below.
    Static,
    /// The smallest weights of a layer give way to random others (Mocanu et al. 2018).
    Set,
    /// The smallest weights of a layer give way to those with the largest gradients (Evci et al. 2020).
    Rigl,
}

impl SparseMethod {
    /// Every way, by the name that users write, with a line for lists.
    pub const ALL: &[(&str, SparseMethod, &str)] = &[
        ("keep", SparseMethod::Keep, "zeros of the model stay zero"),
        (
            "gradual",
            SparseMethod::Gradual,
            "zeros become more while training; what is zero stays so",
        ),
        (
            "feedback",
            SparseMethod::Feedback,
            "zeros become more; weights behind the mask learn on and may come back",
        ),
        ("static", SparseMethod::Static, "a random mask that stays"),
        (
            "set",
            SparseMethod::Set,
            "the smallest weights give way to random others",
        ),
        (
            "rigl",
            SparseMethod::Rigl,
            "the smallest weights give way to those with the largest gradients",
        ),
    ];

    /// Whether as many weights are zero from the first step on.
    pub fn is_sparse_from_the_start(self) -> bool {
        matches!(
            self,
            SparseMethod::Static | SparseMethod::Set | SparseMethod::Rigl
        )
    }
}

/// What weights that stay are chosen by: the largest of these.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criterion {
    /// `|w|`.
    #[default]
    Magnitude,
    /// `-g w` of all steps so far: weights that move away from zero (Sanh et al. 2020, equation 3).
    Movement,
    /// A running mean of `(g w)^2` (after Molchanov et al. 2019, equation 8).
    Taylor,
}

impl Criterion {
    /// Every criterion, by the name that users write.
    pub const ALL: &[(&str, Criterion)] = &[
        ("magnitude", Criterion::Magnitude),
        ("movement", Criterion::Movement),
        ("taylor", Criterion::Taylor),
    ];
}

/// What a share is counted over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// All weights together.
    Global,
    /// Each layer by itself.
    Layer,
    /// Layers have shares of weights left in proportion to the sum of their sizes over the product of these
    /// (Erdős-Rényi kernel, Evci et al. 2020, section 3).
    Erk,
}

impl Scope {
    /// Every scope, by the name that users write.
    pub const ALL: &[(&str, Scope)] = &[
        ("global", Scope::Global),
        ("layer", Scope::Layer),
        ("erk", Scope::Erk),
    ];
}

/// How zeros become more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SparsitySchedule {
    /// All at once.
    OneShot,
    /// Evenly.
    Linear,
    /// Fast at first (Zhu and Gupta 2017, equation 1).
    Cubic,
}

impl SparsitySchedule {
    /// Every kind, by the name that users write.
    pub const ALL: &[(&str, SparsitySchedule)] = &[
        ("one-shot", SparsitySchedule::OneShot),
        ("linear", SparsitySchedule::Linear),
        ("cubic", SparsitySchedule::Cubic),
    ];
}

impl SparsitySettings {
    /// The scope that holds.
    pub fn scope(&self) -> Scope {
        let usual = match self.method.is_sparse_from_the_start() {
            true => Scope::Erk,
            false => Scope::Global,
        };
        self.scope.unwrap_or(usual)
    }

    /// The schedule that holds.
    pub fn schedule(&self) -> SparsitySchedule {
        let usual = match self.amount {
            Amount::Share(_) => SparsitySchedule::Cubic,
            Amount::Pattern { .. } => SparsitySchedule::OneShot,
        };
        self.schedule.unwrap_or(usual)
    }

    /// The share of steps after which masks stay.
    pub fn until(&self) -> f32 {
        let usual: f32 = match self.method {
            SparseMethod::Set | SparseMethod::Rigl => 0.75,
            _ => 0.5,
        };
        self.until.unwrap_or(usual.max(self.from))
    }

    /// The first setting that makes no sense, and what would.
    pub fn problem(&self) -> Option<String> {
        if self.method == SparseMethod::Keep {
            return None;
        }
        let share = |value: f32| (0.0..=1.0).contains(&value);
        let is_pattern = matches!(self.amount, Amount::Pattern { .. });
        let grows = matches!(self.method, SparseMethod::Gradual | SparseMethod::Feedback);
        let looks_back = self.criterion != Criterion::Magnitude && grows;
        let at_once = self.schedule() == SparsitySchedule::OneShot;
        let rules = [
            (
                self.amount.share() > 0.0 && self.amount.share() < 1.0,
                "`sparsity` must be above 0% and below 100%\nhint: 90% leaves one weight in ten, 2:4 leaves two of four",
            ),
            (
                share(self.from) && share(self.until()) && self.from <= self.until(),
                "masks must change between two shares of the steps\nhint: `sparsity-from` 0 and `sparsity-until` 0.5",
            ),
            (self.every != Some(0), "`sparsity-every` must be at least 1 step"),
            (share(self.exchange), "`sparsity-exchange` must be from 0 to 1"),
            (
                self.mask_decay >= 0.0 && self.mask_decay.is_finite(),
                "`sparsity-mask-decay` must be at least 0",
            ),
            (
                self.mask_decay == 0.0 || self.method == SparseMethod::Feedback,
                "`sparsity-mask-decay` is for weights that learn behind their mask\nhint: use `sparse-method` feedback",
            ),
            (
                grows || self.scope != Some(Scope::Global),
                "masks that are there from the start have a share for each layer\nhint: use `sparsity-scope` erk or layer",
            ),
            (
                grows || !is_pattern,
                "patterns are for masks that grow\nhint: use `sparse-method` gradual or feedback",
            ),
            (
                !is_pattern || at_once,
                "a pattern comes at once\nhint: use `sparsity-schedule` one-shot",
            ),
            (
                !(looks_back && at_once && self.from == 0.0),
                "this criterion has seen nothing before the first step\nhint: raise `sparsity-from`, or let masks grow",
            ),
        ];
        let broken = rules.iter().find(|(holds, _)| !holds);
        broken.map(|(_, rule)| (*rule).to_owned())
    }
}
