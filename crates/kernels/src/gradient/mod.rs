//! Gradients.
//!
//! `dy` is the derivative of a loss with respect to the output of an op, `dx` that with respect to its input. Sums over a
//! batch are made of fixed parts in a fixed order, whatever the number of threads.

pub mod activation;
pub mod attention;
pub mod convolution;
pub mod fake_quant;
pub mod fake_sign;
pub mod loss;
pub mod movement;
pub mod normalization;
pub mod pool;
pub mod random;
pub mod recurrent;
pub mod softmax;
