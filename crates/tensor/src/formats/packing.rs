//! Codes of 1 to 8 bits as a stream of bits, the first code in the low bits.

/// Bytes that `count` codes of `bits` bits take; `None` on overflow.
pub const fn packed_bytes(bits: usize, count: usize) -> Option<usize> {
    match count.checked_mul(bits) {
        Some(bits) => Some(bits.div_ceil(8)),
        None => None,
    }
}

/// The bits of code `index` of packed codes of 1 to 8 bits. A code may begin in one byte and end in the next.
pub fn unpack_code(bits: usize, bytes: &[u8], index: usize) -> u16 {
    let (byte, shift) = (index * bits / 8, index * bits % 8);
    let low = u16::from(bytes[byte]);
    let high = if shift + bits > 8 {
        u16::from(bytes[byte + 1])
    } else {
        0
    };
    (low | high << 8) >> shift & ((1 << bits) - 1)
}

/// Packs codes of 1 to 8 bits, the first in the low bits. Bits left over in the last byte are zero.
pub fn pack_codes(bits: usize, codes: impl ExactSizeIterator<Item = u8>) -> Vec<u8> {
    let mut bytes = vec![0; (codes.len() * bits).div_ceil(8)];
    pack_into(bits, codes, &mut bytes);
    bytes
}

/// As [`pack_codes`], into bytes that are there.
///
/// # Panics
/// When the bytes are too few.
#[inline(always)]
pub fn pack_into(bits: usize, codes: impl ExactSizeIterator<Item = u8>, bytes: &mut [u8]) {
    let (mut waiting, mut held, mut at) = (0u32, 0, 0);
    let mask = (1u32 << bits) - 1;
    for code in codes {
        waiting |= (u32::from(code) & mask) << held;
        held += bits;
        if held >= 8 {
            bytes[at] = waiting as u8;
            at += 1;
            waiting >>= 8;
            held -= 8;
        }
    }
    if held > 0 {
        bytes[at] = waiting as u8;
    }
}

/// The codes that [`pack_into`] packed.
///
/// # Panics
/// When the bytes are too few.
#[inline(always)]
pub fn unpack_into(bits: usize, bytes: &[u8], codes: &mut [u8]) {
    let (mut waiting, mut held, mut at) = (0u32, 0, 0);
    let mask = (1u32 << bits) - 1;
    for code in codes {
        if held < bits {
            waiting |= u32::from(bytes[at]) << held;
            at += 1;
            held += 8;
        }
        *code = (waiting & mask) as u8;
        waiting >>= bits;
        held -= bits;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_round_trips() {
        for bits in 1..=8 {
            for count in [0, 1, 2, 3, 7, 8, 9, 13, 64] {
                let codes: Vec<u8> = (0..count).map(|i| (i * 37 % (1 << bits)) as u8).collect();
                let packed = pack_codes(bits, codes.iter().copied());
                assert_eq!(Some(packed.len()), packed_bytes(bits, count));
                let one_by_one: Vec<u8> = (0..count).map(|i| unpack_code(bits, &packed, i) as u8).collect();
                assert_eq!(one_by_one, codes, "{bits} bits");
                let mut together = vec![0; count];
                unpack_into(bits, &packed, &mut together);
                assert_eq!(together, codes, "{bits} bits");
            }
        }
    }

    #[test]
    fn codes_lie_in_the_low_bits_first() {
        // 1, 2, 3, 4, 5 of 3 bits: 101 100 011 010 001.
        assert_eq!(
            pack_codes(3, [1, 2, 3, 4, 5].into_iter()),
            [0b1101_0001, 0b0101_1000]
        );
        assert_eq!(pack_codes(4, [1, 2, 3].into_iter()), [0x21, 0x03]);
    }
}
