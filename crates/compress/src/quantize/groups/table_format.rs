//! Groups of codes that stand for values of a table: one that is known beforehand, or one that is learned for each weight.

use bantam_tensor::formats::blocks::{ScaleType, ScaledBlocks};
use bantam_tensor::formats::{Codebook, F16};
use bantam_tensor::{FormatKind, NumberFormat, table_values};

use super::rounded::GroupRows;
use super::{GroupFormat, fit};

/// Names of tables that are learned, and the bits of their codes.
pub const LEARNED_TABLES: &[(&str, u32)] = &[
    ("codebook2", 2),
    ("codebook3", 3),
    ("codebook4", 4),
    ("codebook5", 5),
    ("codebook6", 6),
];

/// Weights that are looked at to learn a table: more do not change it.
const LOOKED_AT: usize = 1 << 18;

/// Groups of codes that stand for values of a table, with a scale of 16 bits (QLoRA, Dettmers et al. 2023, section 3).
#[derive(Clone, Debug)]
pub struct TableGroups {
    name: &'static str,
    bits: u32,
    len: usize,
    /// Rising; none where they are still to be learned.
    values: Vec<f32>,
    /// What the largest magnitude of a group stands for, over its scale.
    unit: f32,
}

impl TableGroups {
    /// Groups of `len` codes of a format.
    ///
    /// # Panics
    /// When `len` is 0, or codes are integers, more than 8 bits wide, or no numbers.
    pub fn new(format: &'static dyn NumberFormat, len: usize) -> TableGroups {
        let fits = format.kind() != FormatKind::Integer && format.bits() <= 8 && len > 0;
        let values = table_values(format);
        assert!(
            fits && values.iter().all(|value| value.is_finite()),
            "groups of codes of a table of numbers"
        );
        TableGroups {
            name: format.name(),
            bits: format.bits(),
            len,
            values,
            unit: format.max_value(),
        }
    }

    /// Groups of `len` codes of a table that is learned for each weight, by its name among [`LEARNED_TABLES`].
    pub fn learned(name: &str, len: usize) -> Option<TableGroups> {
        let (name, bits) = LEARNED_TABLES.iter().find(|(known, _)| *known == name)?;
        Some(TableGroups {
            name,
            bits: *bits,
            len,
            values: Vec::new(),
            unit: 1.0,
        })
    }

    /// Elements of a group.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Bits of a code.
    pub(super) fn bits(&self) -> u32 {
        self.bits
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What codes stand for, in their order.
    pub(super) fn values(&self) -> &[f32] {
        &self.values
    }

    pub(super) fn unit(&self) -> f32 {
        self.unit
    }

    /// The least and the largest value.
    pub(super) fn ends(&self) -> (f32, f32) {
        (self.values[0], self.values[self.values.len() - 1])
    }

    /// The table as a format of numbers: a code is the place of a value.
    pub fn codebook(&self) -> Codebook {
        Codebook::of_values(self.name, self.values.clone())
    }

    /// What a row is made of, in terms of `codebook`, which [`TableGroups::codebook`] gives.
    pub fn blocks<'a>(&self, codebook: &'a Codebook) -> ScaledBlocks<'a> {
        ScaledBlocks::new(codebook, self.len, ScaleType::F16)
    }

    /// The values on either side of a number, which may be one; beyond the ends that end.
    pub(super) fn around(&self, x: f32) -> [f32; 2] {
        let above = self.values.partition_point(|value| *value < x);
        let at = |index: usize| self.values[index.min(self.values.len() - 1)];
        [at(above.saturating_sub(1)), at(above)]
    }
}

impl GroupFormat {
    /// The format for this weight: a table that is learned has the centres of its clusters, each group over its largest magnitude (k-means, Lloyd
    /// 1982); weights that meet large inputs count more. The value nearest to zero is zero, so that what is zero stays zero.
    /// `None` when the inputs are no finite numbers.
    pub(super) fn for_weight(&self, job: &GroupRows<'_>) -> Option<GroupFormat> {
        let GroupFormat::Table(table) = self else {
            return Some(self.clone());
        };
        if !table.values.is_empty() {
            return Some(self.clone());
        }
        let importance = fit::importance(job)?;
        let groups = job
            .rows
            .chunks(job.depth)
            .flat_map(|row| row.chunks(table.len).zip(importance.chunks(table.len)));
        let step = job.rows.len().div_ceil(LOOKED_AT).max(1);
        let (mut values, mut weights) = (Vec::new(), Vec::new());
        for (group, importance) in groups.step_by(step) {
            let largest = group.iter().fold(0f32, |largest, x| largest.max(x.abs()));
            let scale = F16.decode(F16.encode(largest));
            if scale > 0.0 {
                values.extend(group.iter().map(|x| x / scale));
                weights.extend(importance.iter().map(|importance| importance * scale * scale));
            }
        }
        let learned = Codebook::learned(&values, Some(&weights), 1 << table.bits, job.seed);
        let mut values = learned.values().to_vec();
        if let Some(nearest) = values.iter_mut().min_by(|a, b| a.abs().total_cmp(&b.abs())) {
            *nearest = 0.0;
        }
        Some(GroupFormat::Table(TableGroups {
            values,
            ..table.clone()
        }))
    }
}
