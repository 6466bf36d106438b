//! Fields of protobuf messages by hand, for files that no careful writer would make.

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// An integer field.
pub(crate) fn int(number: u64, value: i64) -> Vec<u8> {
    [varint(number << 3), varint(value as u64)].concat()
}

/// A string, bytes or message field.
pub(crate) fn bytes(number: u64, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [
        varint(number << 3 | 2),
        varint(value.len() as u64),
        value.to_vec(),
    ]
    .concat()
}

/// A packed field of integers.
pub(crate) fn packed(number: u64, values: &[i64]) -> Vec<u8> {
    bytes(
        number,
        values
            .iter()
            .flat_map(|&value| varint(value as u64))
            .collect::<Vec<_>>(),
    )
}

/// A model of IR version 8 and opset 17 around the fields of a graph.
pub(crate) fn model(graph: &[Vec<u8>]) -> Vec<u8> {
    [int(1, 8), bytes(7, graph.concat()), bytes(8, int(2, 17))].concat()
}

/// A node with one attribute-free op.
pub(crate) fn node(op: &str, inputs: &[&str], outputs: &[&str]) -> Vec<u8> {
    node_with(op, inputs, outputs, &[])
}

/// A node with encoded attributes.
pub(crate) fn node_with(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[Vec<u8>]) -> Vec<u8> {
    let mut node: Vec<u8> = inputs.iter().flat_map(|name| bytes(1, name)).collect();
    node.extend(outputs.iter().flat_map(|name| bytes(2, name)));
    node.extend(bytes(4, op));
    node.extend(attributes.iter().flat_map(|attribute| bytes(5, attribute)));
    bytes(1, node)
}

/// A graph input without a type.
pub(crate) fn input(name: &str) -> Vec<u8> {
    bytes(11, bytes(1, name))
}

/// A graph output without a type.
pub(crate) fn output(name: &str) -> Vec<u8> {
    bytes(12, bytes(1, name))
}

/// A tensor from its encoded fields.
pub(crate) fn initializer(name: &str, dims: &[i64], dtype: i64, fields: &[Vec<u8>]) -> Vec<u8> {
    bytes(
        5,
        [packed(1, dims), int(2, dtype), bytes(8, name), fields.concat()].concat(),
    )
}
