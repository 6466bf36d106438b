//! What training needs beside the gradients of products: batch normalization by the batch, and optimizers.

pub mod batch_normalization;
pub mod optimizer;
