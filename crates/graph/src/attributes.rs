//! Attributes of nodes: the generic form of files, and the typed form of ops.

use bantam_tensor::{DType, Tensor};

use crate::{Graph, dtype_code, dtype_from_code};

/// An attribute as files have it.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the names are the documentation")]
pub enum Attribute {
    Int(i64),
    Float(f32),
    String(Vec<u8>),
    Tensor(Tensor),
    Graph(Box<Graph>),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<Vec<u8>>),
    Tensors(Vec<Tensor>),
    Graphs(Vec<Graph>),
    /// Inside a function: the function's attribute of this name, with its ONNX type code.
    Reference(String, i32),
    /// Sparse tensors and type protos: the encoded ONNX `AttributeProto`, kept as it was.
    Opaque(Vec<u8>),
}

/// Named attributes, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Attributes(Vec<(String, Attribute)>);

impl Attributes {
    /// No attributes.
    pub fn new() -> Attributes {
        Attributes::default()
    }

    /// The attribute of this name.
    pub fn get(&self, name: &str) -> Option<&Attribute> {
        self.0
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, attribute)| attribute)
    }

    /// Sets or replaces an attribute.
    pub fn set(&mut self, name: &str, attribute: Attribute) {
        match self.0.iter_mut().find(|(known, _)| known == name) {
            Some((_, old)) => *old = attribute,
            None => self.0.push((name.to_owned(), attribute)),
        }
    }

    /// Removes and returns an attribute.
    pub fn take(&mut self, name: &str) -> Option<Attribute> {
        let index = self.0.iter().position(|(known, _)| known == name)?;
        Some(self.0.remove(index).1)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Attribute)> {
        self.0.iter().map(|(name, attribute)| (name.as_str(), attribute))
    }

    /// All of them, in order, to change.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut Attribute)> {
        self.0
            .iter_mut()
            .map(|(name, attribute)| (name.as_str(), attribute))
    }

    /// Number of attributes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// An attribute that does not fit its op.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "the messages are the documentation")]
pub enum AttributeError {
    #[error("attribute `{name}` is missing")]
    Missing { name: &'static str },
    #[error("attribute `{name}` is not {expected}")]
    Type {
        name: &'static str,
        expected: &'static str,
    },
}

/// A Rust type that an attribute can be read as.
pub trait AttributeValue: Sized {
    /// What a message calls it.
    const EXPECTED: &'static str;
    /// The value, if the attribute has the right form.
    fn from_attribute(attribute: Attribute) -> Option<Self>;
    /// The attribute; `None` leaves it out.
    fn to_attribute(&self) -> Option<Attribute>;
}

macro_rules! attribute_value {
    ($rust:ty, $expected:literal, $pattern:pat => $read:expr, $self:ident => $write:expr) => {
        impl AttributeValue for $rust {
            const EXPECTED: &'static str = $expected;
            fn from_attribute(attribute: Attribute) -> Option<Self> {
                match attribute {
                    $pattern => $read,
                    _ => None,
                }
            }
            fn to_attribute(&self) -> Option<Attribute> {
                let $self = self;
                Some($write)
            }
        }
    };
}

attribute_value!(i64, "an integer", Attribute::Int(value) => Some(value), this => Attribute::Int(*this));
attribute_value!(f32, "a float", Attribute::Float(value) => Some(value), this => Attribute::Float(*this));
attribute_value!(bool, "0 or 1", Attribute::Int(value) => Some(value != 0), this => Attribute::Int(i64::from(*this)));
attribute_value!(String, "a UTF-8 string", Attribute::String(value) => String::from_utf8(value).ok(),
    this => Attribute::String(this.as_bytes().to_vec()));
attribute_value!(Vec<i64>, "a list of integers", Attribute::Ints(value) => Some(value), this => Attribute::Ints(this.clone()));
attribute_value!(Vec<f32>, "a list of floats", Attribute::Floats(value) => Some(value), this => Attribute::Floats(this.clone()));
attribute_value!(Vec<String>, "a list of UTF-8 strings",
    Attribute::Strings(value) => value.into_iter().map(|s| String::from_utf8(s).ok()).collect(),
    this => Attribute::Strings(this.iter().map(|s| s.as_bytes().to_vec()).collect()));
attribute_value!(Tensor, "a tensor", Attribute::Tensor(value) => Some(value), this => Attribute::Tensor(this.clone()));
attribute_value!(Box<Graph>, "a graph", Attribute::Graph(value) => Some(value), this => Attribute::Graph(this.clone()));
attribute_value!(DType, "the code of a known data type",
    Attribute::Int(value) => i32::try_from(value).ok().and_then(dtype_from_code),
    this => Attribute::Int(i64::from(dtype_code(*this))));

impl<T: AttributeValue> AttributeValue for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;
    fn from_attribute(attribute: Attribute) -> Option<Self> {
        T::from_attribute(attribute).map(Some)
    }
    fn to_attribute(&self) -> Option<Attribute> {
        self.as_ref().and_then(T::to_attribute)
    }
}

/// The typed attributes of an op.
pub trait OpAttributes: Sized {
    /// Takes the attributes that the op knows out of `attributes`.
    fn parse(attributes: &mut Attributes) -> Result<Self, AttributeError>;
    /// The attributes that differ from their defaults, and those that have none.
    fn emit(&self) -> Attributes;
}

/// Reads one attribute, or its default.
pub(crate) fn read<T: AttributeValue>(
    attributes: &mut Attributes,
    name: &'static str,
    default: Option<T>,
) -> Result<T, AttributeError> {
    match attributes.take(name) {
        Some(attribute) => T::from_attribute(attribute).ok_or(AttributeError::Type {
            name,
            expected: T::EXPECTED,
        }),
        None => default.ok_or(AttributeError::Missing { name }),
    }
}

/// Declares the typed attributes of ops: `name: type = default`, or `name: type` where the attribute is required.
macro_rules! op_attributes {
    ($($(#[$meta:meta])* $op:ident { $($(#[$field_meta:meta])* $field:ident : $type:ty $(= $default:expr)?),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        #[allow(missing_docs, non_snake_case, reason = "the ONNX specification names and defines the attributes")]
        pub struct $op { $($(#[$field_meta])* pub $field: $type),* }

        impl $crate::attributes::OpAttributes for $op {
            fn parse(
                #[allow(unused_variables, reason = "ops without attributes")]
                attributes: &mut $crate::attributes::Attributes,
            ) -> Result<Self, $crate::attributes::AttributeError> {
                Ok($op { $($field: $crate::attributes::read(
                    attributes, stringify!($field), $crate::attributes::op_attributes!(@default $type $(, $default)?))?),* })
            }
            fn emit(&self) -> $crate::attributes::Attributes {
                #[allow(unused_mut, reason = "ops without attributes")]
                let mut attributes = $crate::attributes::Attributes::new();
                $(
                    let default: Option<$type> = $crate::attributes::op_attributes!(@default $type $(, $default)?);
                    if default.as_ref() != Some(&self.$field) {
                        if let Some(attribute) = $crate::attributes::AttributeValue::to_attribute(&self.$field) {
                            attributes.set(stringify!($field), attribute);
                        }
                    }
                )*
                attributes
            }
        }
    )*};
    (@default $type:ty) => { None::<$type> };
    (@default $type:ty, $default:expr) => { Some::<$type>($default) };
}

/// Declares an enum that files write as a string.
macro_rules! string_attribute {
    ($($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the names are those of the specification")]
        pub enum $name { $($(#[$variant_meta])* $variant),* }

        impl $crate::attributes::AttributeValue for $name {
            const EXPECTED: &'static str = concat!("one of", $(" ", $text),*);
            fn from_attribute(attribute: $crate::attributes::Attribute) -> Option<Self> {
                let $crate::attributes::Attribute::String(text) = attribute else { return None };
                $(if text == $text.as_bytes() { return Some($name::$variant); })*
                None
            }
            fn to_attribute(&self) -> Option<$crate::attributes::Attribute> {
                let text = match self { $($name::$variant => $text),* };
                Some($crate::attributes::Attribute::String(text.as_bytes().to_vec()))
            }
        }
    )*};
}

pub(crate) use {op_attributes, string_attribute};
