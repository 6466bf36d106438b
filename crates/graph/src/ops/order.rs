//! Reductions, sorting, accumulation, selection of boxes.

use crate::attributes::{Attribute, AttributeError, Attributes, op_attributes, read};

/// Declares kinds whose ONNX name is a prefix and the variant's name.
macro_rules! reductions {
    ($(#[$meta:meta])* $kind:ident $prefix:literal { $($variant:ident),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "the names are those of the specification")]
        pub enum $kind { $($variant),* }

        impl $kind {
            /// Every one of them.
            pub const ALL: &[$kind] = &[$($kind::$variant),*];
            /// The ONNX name.
            pub fn name(self) -> &'static str {
                match self { $($kind::$variant => concat!($prefix, stringify!($variant))),* }
            }
            /// The one with this ONNX name.
            pub fn from_name(name: &str) -> Option<$kind> {
                $kind::ALL.iter().copied().find(|kind| kind.name() == name)
            }
        }
    };
}

reductions! {
    /// What [`Reduce`] computes.
    ReduceKind "Reduce" { L1, L2, LogSum, LogSumExp, Max, Mean, Min, Prod, Sum, SumSquare }
}
reductions! {
    /// What [`ArgReduce`] looks for.
    ArgReduceKind "Arg" { Max, Min }
}

/// A reduction over the axes in input 1 (all when it is absent or empty).
#[derive(Clone, Debug, PartialEq)]
pub struct Reduce {
    /// What is computed.
    pub kind: ReduceKind,
    /// Reduced axes stay with size 1.
    pub keepdims: bool,
    /// Empty axes mean no reduction at all.
    pub noop_with_empty_axes: bool,
}

impl Reduce {
    pub(crate) fn parse(kind: ReduceKind, attributes: &mut Attributes) -> Result<Reduce, AttributeError> {
        let keepdims = read(attributes, "keepdims", Some(true))?;
        Ok(Reduce {
            kind,
            keepdims,
            noop_with_empty_axes: read(attributes, "noop_with_empty_axes", Some(false))?,
        })
    }

    pub(crate) fn emit(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if !self.keepdims {
            attributes.set("keepdims", Attribute::Int(0));
        }
        if self.noop_with_empty_axes {
            attributes.set("noop_with_empty_axes", Attribute::Int(1));
        }
        attributes
    }
}

/// The index of the largest or smallest element along an axis.
#[derive(Clone, Debug, PartialEq)]
pub struct ArgReduce {
    /// Largest or smallest.
    pub kind: ArgReduceKind,
    /// The axis; negative from the end.
    pub axis: i64,
    /// The axis stays with size 1.
    pub keepdims: bool,
    /// Of equal elements the last instead of the first.
    pub select_last_index: bool,
}

impl ArgReduce {
    pub(crate) fn parse(
        kind: ArgReduceKind,
        attributes: &mut Attributes,
    ) -> Result<ArgReduce, AttributeError> {
        Ok(ArgReduce {
            kind,
            axis: read(attributes, "axis", Some(0))?,
            keepdims: read(attributes, "keepdims", Some(true))?,
            select_last_index: read(attributes, "select_last_index", Some(false))?,
        })
    }

    pub(crate) fn emit(&self) -> Attributes {
        let mut attributes = Attributes::new();
        if self.axis != 0 {
            attributes.set("axis", Attribute::Int(self.axis));
        }
        if !self.keepdims {
            attributes.set("keepdims", Attribute::Int(0));
        }
        if self.select_last_index {
            attributes.set("select_last_index", Attribute::Int(1));
        }
        attributes
    }
}

op_attributes! {
    /// The k (input 1) largest or smallest elements along an axis, and their indices.
    TopK { axis: i64 = -1, largest: bool = true, sorted: bool = true }
    /// Running sums along the axis in input 1.
    CumSum { exclusive: bool = false, reverse: bool = false }
    /// Running products along the axis in input 1.
    CumProd { exclusive: bool = false, reverse: bool = false }
    /// Distinct elements or slices, their first indices, inverse indices and counts.
    Unique { axis: Option<i64> = None, sorted: bool = true }
    /// Greedy selection of boxes by score and overlap.
    NonMaxSuppression { center_point_box: i64 = 0 }
}
