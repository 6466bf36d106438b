//! Just enough of the protobuf wire format to read test data and to see which ops a file names, independently of
//! the loader that is under test.

use bantam_graph::dtype_from_code;
use bantam_tensor::{DType, Tensor};

pub(crate) type Result<T> = std::result::Result<T, String>;

/// One field of a message.
#[derive(Clone, Copy)]
pub(crate) enum Field<'a> {
    Varint(u64),
    Fixed32([u8; 4]),
    Fixed64([u8; 8]),
    Bytes(&'a [u8]),
}

impl<'a> Field<'a> {
    pub(crate) fn bytes(self) -> Result<&'a [u8]> {
        match self {
            Field::Bytes(bytes) => Ok(bytes),
            _ => Err("expected a length-delimited field".to_owned()),
        }
    }

    fn text(self) -> Result<String> {
        Ok(String::from_utf8_lossy(self.bytes()?).into_owned())
    }
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&first, rest) = bytes.split_first().ok_or("the message ends inside a number")?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first < 0x80 {
            return Ok(value);
        }
    }
    Err("a number of more than 64 bits".to_owned())
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Result<&'a [u8]> {
    let (taken, rest) = bytes
        .split_at_checked(count)
        .ok_or("the message ends inside a field")?;
    *bytes = rest;
    Ok(taken)
}

/// The fields of a message with their numbers, in order.
pub(crate) fn fields(mut bytes: &[u8]) -> Result<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let field = match tag & 7 {
            0 => Field::Varint(varint(&mut bytes)?),
            1 => Field::Fixed64(take(&mut bytes, 8)?.try_into().expect("8 bytes")),
            2 => {
                let length = varint(&mut bytes)? as usize;
                Field::Bytes(take(&mut bytes, length)?)
            }
            5 => Field::Fixed32(take(&mut bytes, 4)?.try_into().expect("4 bytes")),
            kind => return Err(format!("wire type {kind}")),
        };
        fields.push((tag >> 3, field));
    }
    Ok(fields)
}

/// Adds the numbers of a repeated integer field, packed or not.
fn push_integers(field: Field<'_>, numbers: &mut Vec<i64>) -> Result<()> {
    match field {
        Field::Varint(value) => numbers.push(value as i64),
        Field::Bytes(mut packed) => {
            while !packed.is_empty() {
                numbers.push(varint(&mut packed)? as i64);
            }
        }
        _ => return Err("expected integers".to_owned()),
    }
    Ok(())
}

/// Adds the bytes of a repeated field of fixed width, packed or not.
fn push_fixed(field: Field<'_>, raw: &mut Vec<u8>) {
    match field {
        Field::Fixed32(bytes) => raw.extend(bytes),
        Field::Fixed64(bytes) => raw.extend(bytes),
        Field::Bytes(bytes) => raw.extend(bytes),
        Field::Varint(_) => {}
    }
}

/// A `TensorProto` (onnx.proto; dims 1, data_type 2, float_data 4, int32_data 5, string_data 6, int64_data 7,
/// raw_data 9, double_data 10, uint64_data 11).
pub(crate) fn tensor(message: &[u8]) -> Result<Tensor> {
    let (mut dims, mut numbers, mut raw, mut strings, mut code) = (vec![], vec![], vec![], vec![], 0);
    for (number, field) in fields(message)? {
        match (number, field) {
            (1, field) => push_integers(field, &mut dims)?,
            (2, Field::Varint(value)) => code = value as i32,
            (5 | 7 | 11, field) => push_integers(field, &mut numbers)?,
            (6, field) => strings.push(field.bytes()?.to_vec()),
            (4 | 9 | 10, field) => push_fixed(field, &mut raw),
            _ => {}
        }
    }
    let dtype = dtype_from_code(code).ok_or_else(|| format!("data type {code}"))?;
    let shape: Vec<usize> = dims.iter().map(|&dim| dim as usize).collect();
    let made = match dtype {
        DType::String => Tensor::from_strings(&shape, strings),
        _ if numbers.is_empty() => Tensor::from_raw(dtype, &shape, &raw),
        // Complex numbers are pairs of floats; sub-byte types hold whole packed bytes; the rest one element each.
        _ => Tensor::from_raw(dtype, &shape, &narrow(dtype, &numbers)),
    };
    made.map_err(|error| error.to_string())
}

/// Integers as the bytes of elements, or of packed elements where these are narrower than a byte.
fn narrow(dtype: DType, numbers: &[i64]) -> Vec<u8> {
    let width = (dtype.bits() / 8).max(1);
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes()[..width].to_vec())
        .collect()
}

/// Domain and name of every op that a model's file names, also inside subgraphs and local functions.
pub(crate) fn ops_of_model(model: &[u8]) -> Result<Vec<(String, String)>> {
    let mut ops = Vec::new();
    for (number, field) in fields(model)? {
        match number {
            7 => ops_of_nodes(field.bytes()?, 1, &mut ops)?,
            25 => ops_of_nodes(field.bytes()?, 7, &mut ops)?,
            _ => {}
        }
    }
    ops.sort();
    ops.dedup();
    Ok(ops)
}

/// Of a graph (whose nodes are field 1) or a function (field 7).
fn ops_of_nodes(message: &[u8], nodes: u64, ops: &mut Vec<(String, String)>) -> Result<()> {
    for (_, node) in fields(message)?
        .into_iter()
        .filter(|(number, _)| *number == nodes)
    {
        let (mut domain, mut name) = (String::new(), String::new());
        for (number, field) in fields(node.bytes()?)? {
            match number {
                4 => name = field.text()?,
                7 => domain = field.text()?,
                5 => ops_of_attribute(field.bytes()?, ops)?,
                _ => {}
            }
        }
        ops.push((
            if domain == "ai.onnx" {
                String::new()
            } else {
                domain
            },
            name,
        ));
    }
    Ok(())
}

fn ops_of_attribute(message: &[u8], ops: &mut Vec<(String, String)>) -> Result<()> {
    for (_, graph) in fields(message)?
        .into_iter()
        .filter(|(number, _)| matches!(number, 6 | 11))
    {
        ops_of_nodes(graph.bytes()?, 1, ops)?;
    }
    Ok(())
}
