//! Factors that move from one constant to the next and leave what the network computes as it is.
//!
//! A channel that is divided where it is made and multiplied where it is read changes nothing, as long as what lies between is
//! linear in the channel's scale. Such a [`Link`] has one factor for each channel; [`equalize`], [`Smooth`] and, for
//! weights in groups, `quantize/groups/awq.rs` choose them, each for another reason.

mod bounds;
mod constant;
mod equalize;
mod follow;
mod link;
mod passing;
mod smooth;

pub use bounds::unbound;
pub use equalize::equalize;
pub use link::{Link, Links, links};
pub(in crate::quantize) use link::{Reader, left};
pub use smooth::Smooth;
