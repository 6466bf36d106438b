//! Any bytes as an npy file: a tensor or an error, no panic, no allocation far larger than the file.

#![no_main]

use bantam_formats::data::parse_npy;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    bantam_fuzz::with_allocation_limit(data.len(), || match parse_npy(&bytes) {
        Ok(array) => {
            let shape = array.shape.clone();
            assert_eq!(array.into_tensor().shape(), shape);
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    });
});
