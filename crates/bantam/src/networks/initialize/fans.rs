//! How many elements an output reads, and how many outputs read an element.

use super::{Filling, Initialization};

/// Fans of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Fans {
    pub(super) into: f64,
    pub(super) out: f64,
    pub(super) layer: Layer,
}

/// What the fans are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layer {
    Convolution,
    Product,
}

impl Fans {
    /// Of a convolution's weight `[out, in of a group, kernel...]`.
    pub(super) fn of_convolution(shape: &[usize], groups: i64) -> Option<Fans> {
        let [out, of_group, kernel @ ..] = shape else {
            return None;
        };
        let window: f64 = kernel.iter().map(|size| *size as f64).product();
        Some(Fans {
            into: *of_group as f64 * window,
            out: *out as f64 / groups.max(1) as f64 * window,
            layer: Layer::Convolution,
        })
    }

    /// Of a transposed convolution's weight `[in, out of a group, kernel...]`.
    pub(super) fn of_transposed(shape: &[usize], groups: i64) -> Option<Fans> {
        let swapped = Fans::of_convolution(shape, groups)?;
        Some(Fans {
            into: swapped.out,
            out: swapped.into,
            ..swapped
        })
    }

    /// Of a matrix in the last two dimensions, `[from, to]` or, turned, `[to, from]`.
    pub(super) fn of_matrix(shape: &[usize], turned: bool) -> Option<Fans> {
        let [.., rows, columns] = shape else {
            return None;
        };
        let (from, to) = if turned {
            (*columns, *rows)
        } else {
            (*rows, *columns)
        };
        Some(Fans {
            into: from as f64,
            out: to as f64,
            layer: Layer::Product,
        })
    }

    /// What the weight is filled with; `rectified` where half of the outputs, or their scale, will be lost.
    pub(super) fn filling(self, scheme: Initialization, rectified: bool) -> Filling {
        let sum = match (scheme, rectified, self.layer) {
            (Initialization::Standard, true, Layer::Convolution) => self.out,
            (Initialization::Standard, true, Layer::Product) => self.into,
            _ => self.into + self.out,
        };
        Filling::Normal((2.0 / sum.max(1.0)).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fans_of_groups_and_turned_matrices() {
        let fans = |fans: Option<Fans>| fans.map(|fans| (fans.into, fans.out));
        assert_eq!(fans(Fans::of_convolution(&[16, 3, 3, 3], 1)), Some((27.0, 144.0)));
        assert_eq!(fans(Fans::of_convolution(&[32, 1, 3, 3], 32)), Some((9.0, 9.0)));
        assert_eq!(fans(Fans::of_transposed(&[8, 2, 2, 2], 2)), Some((16.0, 8.0)));
        assert_eq!(fans(Fans::of_matrix(&[784, 300], false)), Some((784.0, 300.0)));
        assert_eq!(fans(Fans::of_matrix(&[300, 784], true)), Some((784.0, 300.0)));
        assert_eq!(fans(Fans::of_matrix(&[300], true)), None);
    }

    #[test]
    fn deviations() {
        let deviation = |fans: Option<Fans>, scheme, rectified| match fans.unwrap().filling(scheme, rectified)
        {
            Filling::Normal(deviation) => deviation,
            other => panic!("{other:?}"),
        };
        let conv = Fans::of_convolution(&[16, 3, 3, 3], 1);
        assert_eq!(
            deviation(conv, Initialization::Standard, true),
            (2.0f64 / 144.0).sqrt()
        );
        assert_eq!(
            deviation(conv, Initialization::Standard, false),
            (2.0f64 / 171.0).sqrt()
        );
        assert_eq!(
            deviation(conv, Initialization::Xavier, true),
            (2.0f64 / 171.0).sqrt()
        );
        let dense = Fans::of_matrix(&[300, 784], true);
        assert_eq!(
            deviation(dense, Initialization::Standard, true),
            (2.0f64 / 784.0).sqrt()
        );
    }
}
