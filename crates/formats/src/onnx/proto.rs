//! The messages of `onnx.proto`, declared from its public field numbers.
//!
//! Nested messages that a file may repeat without bound (nodes, tensors, attributes, graphs) are kept as bytes and
//! decoded one at a time, when they are converted: a hostile file then costs no more memory than its own size
//! times a small factor, and weights stay slices of the file. Repeated numbers are read by [`super::wire`] for the
//! same reason and are not declared here. Fields that Bantam has no place for are kept as raw bytes.

use bytes::Bytes;
use prost::Message;

/// Numbers of fields that are read or written apart from the messages below.
pub(in crate::onnx) mod field {
    pub(in crate::onnx) const MODEL_GRAPH: u32 = 7;
    pub(in crate::onnx) const MODEL_FUNCTIONS: u32 = 25;
    /// `training_info` and `configuration`: kept as they are.
    pub(in crate::onnx) const MODEL_RAW: [u32; 2] = [20, 26];
    pub(in crate::onnx) const GRAPH_NODE: u32 = 1;
    pub(in crate::onnx) const GRAPH_INITIALIZER: u32 = 5;
    pub(in crate::onnx) const NODE_OUTPUT: u32 = 2;
    pub(in crate::onnx) const NODE_ATTRIBUTE: u32 = 5;
    pub(in crate::onnx) const FUNCTION_NODE: u32 = 7;
    pub(in crate::onnx) const FUNCTION_ATTRIBUTE: u32 = 11;
    pub(in crate::onnx) const ATTRIBUTE_TENSOR: u32 = 5;
    pub(in crate::onnx) const ATTRIBUTE_GRAPH: u32 = 6;
    pub(in crate::onnx) const ATTRIBUTE_FLOATS: u32 = 7;
    pub(in crate::onnx) const ATTRIBUTE_INTS: u32 = 8;
    pub(in crate::onnx) const ATTRIBUTE_TENSORS: u32 = 10;
    pub(in crate::onnx) const ATTRIBUTE_GRAPHS: u32 = 11;
    pub(in crate::onnx) const TENSOR_DIMS: u32 = 1;
    pub(in crate::onnx) const TENSOR_FLOAT_DATA: u32 = 4;
    pub(in crate::onnx) const TENSOR_INT32_DATA: u32 = 5;
    pub(in crate::onnx) const TENSOR_INT64_DATA: u32 = 7;
    pub(in crate::onnx) const TENSOR_RAW_DATA: u32 = 9;
    pub(in crate::onnx) const TENSOR_DOUBLE_DATA: u32 = 10;
    pub(in crate::onnx) const TENSOR_UINT64_DATA: u32 = 11;
    pub(in crate::onnx) const SPARSE_DIMS: u32 = 3;
}

/// Values of `AttributeProto.type`.
pub(in crate::onnx) mod kind {
    pub(in crate::onnx) const FLOAT: i32 = 1;
    pub(in crate::onnx) const INT: i32 = 2;
    pub(in crate::onnx) const STRING: i32 = 3;
    pub(in crate::onnx) const TENSOR: i32 = 4;
    pub(in crate::onnx) const GRAPH: i32 = 5;
    pub(in crate::onnx) const FLOATS: i32 = 6;
    pub(in crate::onnx) const INTS: i32 = 7;
    pub(in crate::onnx) const STRINGS: i32 = 8;
    pub(in crate::onnx) const TENSORS: i32 = 9;
    pub(in crate::onnx) const GRAPHS: i32 = 10;
    pub(in crate::onnx) const SPARSE_TENSOR: i32 = 11;
    pub(in crate::onnx) const TYPE_PROTOS: i32 = 14;
}

/// `TensorProto.data_location` of data that lies in another file.
pub(in crate::onnx) const EXTERNAL: i32 = 1;

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct ModelProto {
    #[prost(int64, tag = "1")]
    pub(in crate::onnx) ir_version: i64,
    #[prost(string, tag = "2")]
    pub(in crate::onnx) producer_name: String,
    #[prost(string, tag = "3")]
    pub(in crate::onnx) producer_version: String,
    #[prost(string, tag = "4")]
    pub(in crate::onnx) domain: String,
    #[prost(int64, tag = "5")]
    pub(in crate::onnx) model_version: i64,
    #[prost(string, tag = "6")]
    pub(in crate::onnx) doc_string: String,
    #[prost(bytes = "bytes", optional, tag = "7")]
    pub(in crate::onnx) graph: Option<Bytes>,
    #[prost(message, repeated, tag = "8")]
    pub(in crate::onnx) opset_import: Vec<OperatorSetIdProto>,
    #[prost(message, repeated, tag = "14")]
    pub(in crate::onnx) metadata_props: Vec<StringStringEntryProto>,
    #[prost(bytes = "bytes", repeated, tag = "25")]
    pub(in crate::onnx) functions: Vec<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct OperatorSetIdProto {
    #[prost(string, tag = "1")]
    pub(in crate::onnx) domain: String,
    #[prost(int64, tag = "2")]
    pub(in crate::onnx) version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct StringStringEntryProto {
    #[prost(string, tag = "1")]
    pub(in crate::onnx) key: String,
    #[prost(string, tag = "2")]
    pub(in crate::onnx) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct GraphProto {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    pub(in crate::onnx) node: Vec<Bytes>,
    #[prost(string, tag = "2")]
    pub(in crate::onnx) name: String,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(in crate::onnx) initializer: Vec<Bytes>,
    #[prost(string, tag = "10")]
    pub(in crate::onnx) doc_string: String,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(in crate::onnx) input: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub(in crate::onnx) output: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "13")]
    pub(in crate::onnx) value_info: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "14")]
    pub(in crate::onnx) quantization_annotation: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "15")]
    pub(in crate::onnx) sparse_initializer: Vec<Bytes>,
    #[prost(message, repeated, tag = "16")]
    pub(in crate::onnx) metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct NodeProto {
    #[prost(string, repeated, tag = "1")]
    pub(in crate::onnx) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(in crate::onnx) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(in crate::onnx) name: String,
    #[prost(string, tag = "4")]
    pub(in crate::onnx) op_type: String,
    #[prost(bytes = "bytes", repeated, tag = "5")]
    pub(in crate::onnx) attribute: Vec<Bytes>,
    #[prost(string, tag = "6")]
    pub(in crate::onnx) doc_string: String,
    #[prost(string, tag = "7")]
    pub(in crate::onnx) domain: String,
    #[prost(string, tag = "8")]
    pub(in crate::onnx) overload: String,
    #[prost(message, repeated, tag = "9")]
    pub(in crate::onnx) metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct AttributeProto {
    #[prost(string, tag = "1")]
    pub(in crate::onnx) name: String,
    #[prost(float, optional, tag = "2")]
    pub(in crate::onnx) f: Option<f32>,
    #[prost(int64, optional, tag = "3")]
    pub(in crate::onnx) i: Option<i64>,
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub(in crate::onnx) s: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "5")]
    pub(in crate::onnx) t: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "6")]
    pub(in crate::onnx) g: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "9")]
    pub(in crate::onnx) strings: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "10")]
    pub(in crate::onnx) tensors: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(in crate::onnx) graphs: Vec<Bytes>,
    #[prost(int32, tag = "20")]
    pub(in crate::onnx) kind: i32,
    #[prost(string, tag = "21")]
    pub(in crate::onnx) ref_attr_name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct TensorProto {
    #[prost(int32, tag = "2")]
    pub(in crate::onnx) data_type: i32,
    #[prost(bytes = "bytes", optional, tag = "3")]
    pub(in crate::onnx) segment: Option<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "6")]
    pub(in crate::onnx) string_data: Vec<Bytes>,
    #[prost(string, tag = "8")]
    pub(in crate::onnx) name: String,
    #[prost(bytes = "bytes", optional, tag = "9")]
    pub(in crate::onnx) raw_data: Option<Bytes>,
    #[prost(string, tag = "12")]
    pub(in crate::onnx) doc_string: String,
    #[prost(message, repeated, tag = "13")]
    pub(in crate::onnx) external_data: Vec<StringStringEntryProto>,
    #[prost(int32, tag = "14")]
    pub(in crate::onnx) data_location: i32,
    #[prost(message, repeated, tag = "16")]
    pub(in crate::onnx) metadata_props: Vec<StringStringEntryProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct SparseTensorProto {
    #[prost(bytes = "bytes", optional, tag = "1")]
    pub(in crate::onnx) values: Option<Bytes>,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(in crate::onnx) indices: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct ValueInfoProto {
    #[prost(string, tag = "1")]
    pub(in crate::onnx) name: String,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(in crate::onnx) kind: Option<Bytes>,
    #[prost(string, tag = "3")]
    pub(in crate::onnx) doc_string: String,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::onnx) metadata_props: Vec<StringStringEntryProto>,
}

/// `TypeProto`, of which only tensors are looked into.
#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub(in crate::onnx) tensor_type: Option<TensorTypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct TensorTypeProto {
    #[prost(int32, tag = "1")]
    pub(in crate::onnx) elem_type: i32,
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub(in crate::onnx) shape: Option<Bytes>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct TensorShapeProto {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::onnx) dim: Vec<DimensionProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct DimensionProto {
    #[prost(int64, optional, tag = "1")]
    pub(in crate::onnx) dim_value: Option<i64>,
    #[prost(string, optional, tag = "2")]
    pub(in crate::onnx) dim_param: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::onnx) struct FunctionProto {
    #[prost(string, tag = "1")]
    pub(in crate::onnx) name: String,
    #[prost(string, repeated, tag = "4")]
    pub(in crate::onnx) input: Vec<String>,
    #[prost(string, repeated, tag = "5")]
    pub(in crate::onnx) output: Vec<String>,
    #[prost(string, repeated, tag = "6")]
    pub(in crate::onnx) attribute: Vec<String>,
    #[prost(bytes = "bytes", repeated, tag = "7")]
    pub(in crate::onnx) node: Vec<Bytes>,
    #[prost(string, tag = "8")]
    pub(in crate::onnx) doc_string: String,
    #[prost(message, repeated, tag = "9")]
    pub(in crate::onnx) opset_import: Vec<OperatorSetIdProto>,
    #[prost(string, tag = "10")]
    pub(in crate::onnx) domain: String,
    #[prost(bytes = "bytes", repeated, tag = "11")]
    pub(in crate::onnx) attribute_proto: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "12")]
    pub(in crate::onnx) value_info: Vec<Bytes>,
    #[prost(string, tag = "13")]
    pub(in crate::onnx) overload: String,
    #[prost(message, repeated, tag = "14")]
    pub(in crate::onnx) metadata_props: Vec<StringStringEntryProto>,
}
