//! What training needs beside the gradients of convolutions and pools: batch normalization by the statistics of the batch,
//! gradients of activations, the loss, and optimizers.

pub mod activation;
pub mod batch_normalization;
pub mod cross_entropy;
pub mod optimizer;
