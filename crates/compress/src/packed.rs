//! Numbers and bits as text, for plans.

use bantam_tensor::Tensor;
use serde::{Deserialize, Serialize};

/// Which elements of a tensor stay, in the order in which it holds them; in JSON base64 of a bit for each, the lowest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "PackedMask", into = "PackedMask")]
pub struct Mask {
    len: usize,
    bits: Vec<u8>,
}

impl Mask {
    /// From one truth for each element.
    pub fn new(kept: &[bool]) -> Mask {
        let byte = |bits: &[bool]| (bits.iter().rev()).fold(0, |byte, bit| byte << 1 | u8::from(*bit));
        Mask {
            len: kept.len(),
            bits: kept.chunks(8).map(byte).collect(),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a tensor without elements.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One truth for each element.
    pub fn iter(&self) -> impl Iterator<Item = bool> {
        (0..self.len).map(|index| self.bits[index / 8] >> (index % 8) & 1 == 1)
    }

    /// Number of elements that stay.
    pub fn kept(&self) -> usize {
        self.iter().filter(|kept| *kept).count()
    }
}

/// The form of a mask in files.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PackedMask {
    len: usize,
    kept: String,
}

impl From<Mask> for PackedMask {
    fn from(mask: Mask) -> PackedMask {
        PackedMask {
            len: mask.len,
            kept: encode(&mask.bits),
        }
    }
}

impl TryFrom<PackedMask> for Mask {
    type Error = String;

    fn try_from(packed: PackedMask) -> Result<Mask, String> {
        let bits = decode(&packed.kept)?;
        if bits.len() != packed.len.div_ceil(8) {
            return Err(format!(
                "a mask of {} elements has {} bytes",
                packed.len,
                bits.len()
            ));
        }
        let len = packed.len;
        Ok(Mask { len, bits })
    }
}

/// Numbers; in JSON base64 of their bytes, little endian.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Numbers(pub Vec<f32>);

impl From<Numbers> for String {
    fn from(numbers: Numbers) -> String {
        encode(Tensor::from_vec1(&numbers.0).as_bytes())
    }
}

impl TryFrom<String> for Numbers {
    type Error = String;

    fn try_from(text: String) -> Result<Numbers, String> {
        let bytes = decode(&text)?;
        let (numbers, rest) = bytes.as_chunks::<4>();
        match rest.is_empty() {
            true => Ok(Numbers(
                numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
            )),
            false => Err(format!("{} bytes are no whole numbers of 4", bytes.len())),
        }
    }
}

/// Digits of RFC 4648, section 4.
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let word = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place) & 63) as usize];
            text.push(if place <= chunk.len() {
                char::from(digit)
            } else {
                '='
            });
        }
    }
    text
}

fn decode(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || "it is not base64".to_owned();
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return Err(wrong());
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for chunk in digits.as_bytes().chunks(4) {
        let mut word = 0u32;
        for place in 0..4 {
            let digit = chunk
                .get(place)
                .map_or(Ok(0), |digit| value(*digit).ok_or_else(wrong))?;
            word = word << 6 | digit;
        }
        let [_, decoded @ ..] = word.to_be_bytes();
        bytes.extend_from_slice(&decoded[..chunk.len() * 3 / 4]);
    }
    Ok(bytes)
}

fn value(digit: u8) -> Option<u32> {
    Some(u32::from(match digit {
        b'A'..=b'Z' => digit - b'A',
        b'a'..=b'z' => digit - b'a' + 26,
        b'0'..=b'9' => digit - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        let cases = [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ];
        for (bytes, text) in cases {
            assert_eq!(encode(bytes.as_bytes()), text);
            assert_eq!(decode(text).unwrap(), bytes.as_bytes());
        }
        for wrong in ["Zg=", "Zg", "Z===", "Z*==", "===="] {
            assert!(decode(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn masks_and_numbers_come_back() {
        for len in [0usize, 1, 7, 8, 9, 100] {
            let kept: Vec<bool> = (0..len).map(|index| index % 3 == 0).collect();
            let mask = Mask::new(&kept);
            assert_eq!((mask.len(), mask.kept()), (len, len.div_ceil(3)));
            let text = serde_json::to_string(&mask).unwrap();
            let back: Mask = serde_json::from_str(&text).unwrap();
            assert_eq!(back.iter().collect::<Vec<_>>(), kept);
        }
        let numbers = Numbers(vec![0.1, -3.5e-20, f32::MAX]);
        let text = serde_json::to_string(&numbers).unwrap();
        assert_eq!(serde_json::from_str::<Numbers>(&text).unwrap(), numbers);
        assert!(serde_json::from_str::<Mask>(r#"{"len": 900000000, "kept": "AAAA"}"#).is_err());
        assert!(serde_json::from_str::<Numbers>(r#""AAAA""#).is_err());
    }
}
