"""Writes crates/formats/src/onnx/lower/versions.rs from the schemas of the onnx package (1.23.2):

    python crates/formats/scripts/onnx_versions.py > crates/formats/src/onnx/lower/versions.rs
"""

from collections import defaultdict

from onnx import TensorProto, defs

CODES = {name.lower(): code for name, code in TensorProto.DataType.items()}
HEADER = '''//! Since which opset each op, its types, attributes and inputs exist.
//!
//! Written by `scripts/onnx_versions.py` from the schemas of the onnx package.

/// An op of the standard domain.
pub(in crate::onnx) struct Versions {
    pub(in crate::onnx) op: &'static str,
    /// First opset that has it (1 stands for all up to 7).
    pub(in crate::onnx) since: i64,
    /// From which opset on it is what it is at opset 6, or [`NEVER`].
    pub(in crate::onnx) settled: i64,
    /// From which opset on which data types are allowed; bit `n` stands for ONNX's data type code `n`.
    pub(in crate::onnx) dtypes: &'static [(i64, u64)],
    /// The same for the first input alone, where that is fewer.
    pub(in crate::onnx) first_dtypes: &'static [(i64, u64)],
    /// From which opset on sequences are allowed, or [`NEVER`].
    pub(in crate::onnx) sequences: i64,
    /// From which opset on optionals are allowed, or [`NEVER`].
    pub(in crate::onnx) optionals: i64,
    /// Attributes that came later than the op.
    pub(in crate::onnx) attributes: &'static [(&'static str, i64)],
    /// From which opset on how many inputs are allowed.
    pub(in crate::onnx) inputs: &'static [(i64, usize)],
}

/// Not up to the newest opset.
const NEVER: i64 = i64::MAX;

/// What is known of an op.
pub(in crate::onnx) fn versions(op: &str) -> Option<&'static Versions> {
    OPS.binary_search_by(|row| row.op.cmp(op)).ok().map(|index| &OPS[index])
}
'''


def code(text):
    """The data type code in a type string such as `seq(tensor(float))`."""
    name = text.split("tensor(")[-1].rstrip(")").strip()
    return CODES.get(name)


def types(schema, values):
    """Every type that these inputs and outputs may have."""
    constraints = {c.type_param_str: c.allowed_type_strs for c in schema.type_constraints}
    return [text for value in values for text in constraints.get(value.type_str, [value.type_str])]


def mask(schema, values):
    return sum(1 << c for c in {code(text) for text in types(schema, values)} if c is not None)


def masks(history, values_of, name_of):
    """(version, mask) wherever the mask of these values grew."""
    grown, seen = [], 0
    for schema in history:
        if mask(schema, values_of(schema)) | seen != seen:
            seen |= mask(schema, values_of(schema))
            grown.append((name_of(schema), seen))
    return grown


def first_with(history, prefix, name_of):
    """First version in which any value may be of a type with this prefix."""
    found = [s for s in history if any(t.startswith(prefix) for t in types(s, [*s.inputs, *s.outputs]))]
    return name_of(found[0]) if found else "NEVER"


def main():
    by_op = defaultdict(dict)
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            by_op[schema.name][schema.since_version] = schema
    print(HEADER)
    print("#[rustfmt::skip]\nstatic OPS: &[Versions] = &[")
    for op in sorted(by_op):
        versions = sorted(by_op[op])
        first = max((v for v in versions if v <= 7), default=versions[0])
        history = [by_op[op][v] for v in versions if v >= first]
        name_of = lambda schema: 1 if schema.since_version <= 7 else schema.since_version
        settled = max((v for v in versions if v <= 6), default="NEVER")
        dtypes = masks(history, lambda schema: [*schema.inputs, *schema.outputs], name_of)
        first = masks(history, lambda schema: list(schema.inputs[:1]), name_of)
        first = [] if first == dtypes else first
        sequences, optionals = (first_with(history, prefix, name_of) for prefix in ("seq(", "optional("))
        attributes, known = [], set(history[0].attributes)
        for schema in history[1:]:
            attributes += [(name, schema.since_version) for name in sorted(set(schema.attributes) - known)]
            known |= set(schema.attributes)
        inputs, most = [], 0
        for schema in history:
            if schema.max_input > most:
                most = schema.max_input
                inputs.append((name_of(schema), most))
        dtypes, first = (", ".join(f"({v}, {m:#x})" for v, m in grown) for grown in (dtypes, first))
        attributes = ", ".join(f'("{a}", {v})' for a, v in attributes)
        unlimited = 2**31 - 1
        inputs = ", ".join(f"({v}, {'usize::MAX' if n >= unlimited else n})" for v, n in inputs)
        print(
            f'    Versions {{ op: "{op}", since: {name_of(history[0])}, settled: {settled}, dtypes: &[{dtypes}], '
            f"first_dtypes: &[{first}], sequences: {sequences}, optionals: {optionals}, "
            f"attributes: &[{attributes}], inputs: &[{inputs}] }},"
        )
    print("];")


if __name__ == "__main__":
    main()
