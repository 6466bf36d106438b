//! Any bytes as an ONNX file: a model or an error, no panic, no allocation far larger than the file. What is read can
//! be written, and reads as the same again.

#![no_main]

use bantam_formats::onnx;
use bytes::Bytes;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let mut read = None;
    bantam_fuzz::with_allocation_limit(data.len(), || match onnx::read(&bytes, None) {
        Ok(model) => read = Some(model),
        Err(error) => assert!(error.to_string().contains("hint:"), "{error}"),
    });
    let Some(model) = read else { return };
    // A graph may be one that no opset can say (a node of wrong arity, an op that is not known).
    let Ok(written) = onnx::encode(&model, None) else { return };
    let again = onnx::read(&Bytes::from(written.clone()), None).expect("what was written can be read");
    let twice = onnx::encode(&again, None).expect("what was read can be written");
    assert!(written == twice, "writing is not stable");
});
