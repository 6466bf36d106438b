//! Functions of two operands: `y = y op b`, where `b` is as long as `y` or one value.

use bantam_tensor::Element;
use half::{bf16, f16};

use crate::vectorize::vectorized;

/// The second operand.
#[derive(Clone, Copy, Debug)]
pub enum Operand<'a, T> {
    /// As many elements as the first.
    Slice(&'a [T]),
    /// One value for all.
    Scalar(T),
}

impl<'a, T: Copy> Operand<'a, T> {
    /// `length` elements of `values` from `start`, where `step` is 1, or the one at `start`, where it is 0.
    ///
    /// # Panics
    /// When they are out of range.
    #[inline(always)]
    pub fn at(values: &'a [T], start: usize, step: usize, length: usize) -> Operand<'a, T> {
        if step == 0 {
            Operand::Scalar(values[start])
        } else {
            Operand::Slice(&values[start..start + length])
        }
    }
}

/// Arithmetic of one element type: floats as IEEE 754 has it, integers wrapping around.
pub trait Number: Element + Copy {
    /// 1.
    const ONE: Self;
    /// `self + other`.
    fn plus(self, other: Self) -> Self;
    /// `self - other`.
    fn minus(self, other: Self) -> Self;
    /// `self * other`.
    fn times(self, other: Self) -> Self;
    /// `self / other`, integers rounded towards zero; an integer divided by 0 is 0.
    fn over(self, other: Self) -> Self;
    /// The remainder of division rounded towards zero: it has the sign of `self`. That of an integer by 0 is 0.
    fn remainder(self, other: Self) -> Self;
    /// The remainder of division rounded down: it has the sign of `other`. That of an integer by 0 is 0.
    fn modulo(self, other: Self) -> Self;

    /// The larger one; NaN when either is.
    #[inline(always)]
    #[allow(clippy::eq_op, reason = "NaN differs from itself")]
    fn larger(self, other: Self) -> Self {
        if self > other || self != self { self } else { other }
    }

    /// The smaller one; NaN when either is.
    #[inline(always)]
    #[allow(clippy::eq_op, reason = "NaN differs from itself")]
    fn smaller(self, other: Self) -> Self {
        if self < other || self != self { self } else { other }
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl Number for $integer {
            const ONE: Self = 1;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self.wrapping_add(other)
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self.wrapping_sub(other)
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self.wrapping_mul(other)
            }
            #[inline(always)]
            fn over(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_div(other) }
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                if other == 0 { 0 } else { self.wrapping_rem(other) }
            }
            #[inline(always)]
            #[allow(unused_comparisons, reason = "also for unsigned integers")]
            fn modulo(self, other: Self) -> Self {
                let remainder = self.remainder(other);
                if remainder != 0 && (remainder < 0) != (other < 0) { remainder.wrapping_add(other) } else { remainder }
            }
        }
    )*};
}
integers!(i8 i16 i32 i64 u8 u16 u32 u64);

macro_rules! floats {
    ($($float:ty)*) => {$(
        impl Number for $float {
            const ONE: Self = 1.0;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                self + other
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                self - other
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                self * other
            }
            #[inline(always)]
            fn over(self, other: Self) -> Self {
                self / other
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                self % other
            }
            #[inline(always)]
            fn modulo(self, other: Self) -> Self {
                let remainder = self % other;
                if remainder == 0.0 {
                    (0.0 as $float).copysign(other)
                } else if (remainder < 0.0) != (other < 0.0) {
                    remainder + other
                } else {
                    remainder
                }
            }
        }
    )*};
}
floats!(f32 f64);

macro_rules! halves {
    ($($half:ty)*) => {$(
        impl Number for $half {
            const ONE: Self = <$half>::ONE;

            #[inline(always)]
            fn plus(self, other: Self) -> Self {
                <$half>::from_f32(self.to_f32() + other.to_f32())
            }
            #[inline(always)]
            fn minus(self, other: Self) -> Self {
                <$half>::from_f32(self.to_f32() - other.to_f32())
            }
            #[inline(always)]
            fn times(self, other: Self) -> Self {
                <$half>::from_f32(self.to_f32() * other.to_f32())
            }
            #[inline(always)]
            fn over(self, other: Self) -> Self {
                <$half>::from_f32(self.to_f32() / other.to_f32())
            }
            #[inline(always)]
            fn remainder(self, other: Self) -> Self {
                <$half>::from_f32(self.to_f32() % other.to_f32())
            }
            #[inline(always)]
            fn modulo(self, other: Self) -> Self {
                <$half>::from_f32(self.to_f32().modulo(other.to_f32()))
            }
        }
    )*};
}
halves!(f16 bf16);

/// Applies `function` to each element of `y` and its partner.
#[inline(always)]
pub fn combine<T: Copy>(y: &mut [T], b: Operand<'_, T>, function: impl Fn(T, T) -> T) {
    match b {
        Operand::Slice(b) => y.iter_mut().zip(b).for_each(|(y, &b)| *y = function(*y, b)),
        Operand::Scalar(b) => y.iter_mut().for_each(|y| *y = function(*y, b)),
    }
}

/// Writes the truth (0 or 1) of `relation` for each pair of elements.
#[inline(always)]
pub fn relate<T: Copy>(y: &mut [u8], a: Operand<'_, T>, b: Operand<'_, T>, relation: impl Fn(T, T) -> bool) {
    match (a, b) {
        (Operand::Slice(a), Operand::Slice(b)) => {
            y.iter_mut()
                .zip(a)
                .zip(b)
                .for_each(|((y, &a), &b)| *y = u8::from(relation(a, b)));
        }
        (Operand::Slice(a), Operand::Scalar(b)) => {
            y.iter_mut()
                .zip(a)
                .for_each(|(y, &a)| *y = u8::from(relation(a, b)));
        }
        (Operand::Scalar(a), Operand::Slice(b)) => {
            y.iter_mut()
                .zip(b)
                .for_each(|(y, &b)| *y = u8::from(relation(a, b)));
        }
        (Operand::Scalar(a), Operand::Scalar(b)) => y.fill(u8::from(relation(a, b))),
    }
}

vectorized! {
    /// `y + b`.
    pub fn add<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, T::plus);
    }

    /// `y - b`.
    pub fn subtract<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, T::minus);
    }

    /// `y * b`.
    pub fn multiply<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, T::times);
    }

    /// `y / b`.
    pub fn divide<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, T::over);
    }

    /// The larger of `y` and `b`; NaN when either is.
    pub fn maximum<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, T::larger);
    }

    /// The smaller of `y` and `b`; NaN when either is.
    pub fn minimum<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, T::smaller);
    }

    /// `y < 0 ? b * y : y`.
    pub fn prelu<T: Number>(y: &mut [T], b: Operand<'_, T>) {
        combine(y, b, |y, slope| if y < T::default() { y.times(slope) } else { y });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_and_scalars() {
        let mut y: Vec<f32> = (0..37u8).map(f32::from).collect();
        let b = y.clone();
        multiply(&mut y, Operand::Slice(&b));
        add(&mut y, Operand::Scalar(1.0));
        assert!(y.iter().enumerate().all(|(i, &y)| y == (i * i + 1) as f32));
        subtract(&mut y, Operand::Slice(&b));
        divide(&mut y, Operand::Scalar(2.0));
        assert!(
            y.iter()
                .enumerate()
                .all(|(i, &y)| y == ((i * i + 1) as f32 - i as f32) / 2.0)
        );
    }

    #[test]
    fn extrema_propagate_not_a_number() {
        let mut y = [f32::NAN, 1.0, 3.0];
        maximum(&mut y, Operand::Slice(&[0.0, f32::NAN, 4.0]));
        assert!(y[0].is_nan() && y[1].is_nan() && y[2] == 4.0);
        minimum(&mut y, Operand::Scalar(2.0));
        assert!(y[0].is_nan() && y[2] == 2.0);
    }

    #[test]
    fn remainders_follow_the_divisor_or_the_dividend() {
        assert_eq!((-7i32).modulo(3), 2);
        assert_eq!(7i32.modulo(-3), -2);
        assert_eq!((-7i32).remainder(3), -1);
        assert_eq!(i8::MIN.over(-1), i8::MIN);
        assert_eq!(i8::MIN.modulo(-1), 0);
        assert_eq!(5u8.modulo(0), 0);
        assert_eq!((-7.5f32).modulo(2.0), 0.5);
        assert_eq!(1.0f32.modulo(f32::NEG_INFINITY), f32::NEG_INFINITY);
        assert!(f32::INFINITY.modulo(2.0).is_nan() && 1.0f32.modulo(0.0).is_nan());
        assert_eq!((-0.0f64).modulo(1.0).to_bits(), 0.0f64.to_bits());
    }
}
