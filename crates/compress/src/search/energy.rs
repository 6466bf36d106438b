//! A model of the energy that networks take, where nothing measures it.

/// Picojoules of a 32-bit float multiplication and addition, in 45 nm (Horowitz 2014, figure 1.1.9).
const FLOAT: f64 = 3.7 + 0.9;
/// Of a multiplication of 8-bit integers.
const MULTIPLY_BYTES: f64 = 0.2;
/// Of an addition to a 32-bit integer.
const ADD: f64 = 0.1;
/// Of reading a byte from memory outside the chip: 1.3 nanojoules for 64 bits.
const READ: f64 = 1300.0 / 8.0;

/// Picojoules of a multiply-accumulate of factors with so many bits; from 32 bits on they are floats. Integer multipliers grow with the product
/// of both widths.
pub fn multiply_accumulate(weight_bits: u32, activation_bits: u32) -> f64 {
    match weight_bits >= 32 || activation_bits >= 32 {
        true => FLOAT,
        false => MULTIPLY_BYTES * f64::from(weight_bits * activation_bits) / 64.0 + ADD,
    }
}

/// Picojoules of reading weights of so many bytes once.
pub fn read_weights(bytes: f64) -> f64 {
    READ * bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fewer_bits_take_less() {
        let bits = [2, 4, 8, 32].map(|bits| multiply_accumulate(bits, 8));
        assert!(bits.is_sorted_by(|a, b| a < b), "{bits:?}");
        // Horowitz's own: a float takes 4.6 pJ, a byte with a 32-bit sum 0.3.
        assert!((bits[3] - 4.6).abs() < 1e-9 && (bits[2] - 0.3).abs() < 1e-9);
        assert_eq!(read_weights(8.0), 1300.0);
    }
}
