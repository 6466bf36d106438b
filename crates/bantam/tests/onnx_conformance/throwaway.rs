//! A stand-in for the loader until it exists.
use std::collections::HashMap;
use std::path::Path;

use bantam_graph::{Attribute, Attributes, Graph, Node, Op, Value, ValueId, ValueType, dtype_from_code};

use crate::protobuf::{Field, Result, fields, tensor};

pub(crate) fn load(path: &Path) -> Result<Graph> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    for (number, field) in fields(&bytes)? {
        if number == 7 {
            return graph(field.bytes()?);
        }
    }
    Err("no graph".to_owned())
}

fn text(field: Field<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(field.bytes()?).into_owned())
}

fn named(names: &mut HashMap<String, ValueId>, graph: &mut Graph, name: String) -> ValueId {
    *names.entry(name.clone()).or_insert_with(|| graph.add_value(Value { name, ..Value::default() }))
}

fn value_info(bytes: &[u8]) -> Result<(String, ValueType)> {
    let (mut name, mut ty) = (String::new(), ValueType::Unknown);
    for (number, field) in fields(bytes)? {
        if number == 1 {
            name = text(field)?;
        }
        if number == 2 {
            for (number, field) in fields(field.bytes()?)? {
                if number == 1 {
                    for (number, field) in fields(field.bytes()?)? {
                        if let (1, Field::Varint(code)) = (number, field) {
                            ty = ValueType::Tensor { dtype: dtype_from_code(code as i32), shape: None };
                        }
                    }
                }
            }
        }
    }
    Ok((name, ty))
}

fn graph(bytes: &[u8]) -> Result<Graph> {
    let mut graph = Graph::default();
    let mut names = HashMap::new();
    let all = fields(bytes)?;
    for (number, field) in &all {
        if *number == 11 {
            let (name, ty) = value_info(field.bytes()?)?;
            let id = named(&mut names, &mut graph, name);
            graph.value_mut(id).ty = ty;
            graph.inputs.push(id);
        }
    }
    for (number, field) in &all {
        if *number == 5 {
            let name = fields(field.bytes()?)?.into_iter().find(|f| f.0 == 8).ok_or("unnamed")?.1;
            let id = named(&mut names, &mut graph, text(name)?);
            graph.value_mut(id).initializer = Some(tensor(field.bytes()?)?);
        }
    }
    for (number, field) in &all {
        if *number == 1 {
            node(field.bytes()?, &mut graph, &mut names)?;
        }
    }
    for (number, field) in &all {
        if *number == 12 {
            let id = named(&mut names, &mut graph, value_info(field.bytes()?)?.0);
            graph.outputs.push(id);
        }
    }
    Ok(graph)
}

fn node(bytes: &[u8], graph: &mut Graph, names: &mut HashMap<String, ValueId>) -> Result<()> {
    let (mut inputs, mut outputs, mut name, mut op, mut domain) =
        (vec![], vec![], String::new(), String::new(), String::new());
    let mut attributes = Attributes::new();
    for (number, field) in fields(bytes)? {
        match number {
            1 | 2 => {
                let name = text(field)?;
                let id = (!name.is_empty()).then(|| named(names, graph, name));
                if number == 1 { inputs.push(id) } else { outputs.push(id) }
            }
            3 => name = text(field)?,
            4 => op = text(field)?,
            7 => domain = text(field)?,
            5 => {
                let (name, value) = attribute(field.bytes()?)?;
                attributes.set(&name, value);
            }
            _ => {}
        }
    }
    if op == "Constant" {
        let value = match attributes.iter().next() {
            Some((_, Attribute::Tensor(t))) => t.clone(),
            Some((_, Attribute::Float(v))) => bantam_tensor::Tensor::scalar(*v),
            Some((_, Attribute::Int(v))) => bantam_tensor::Tensor::scalar(*v),
            Some((_, Attribute::Ints(v))) => bantam_tensor::Tensor::from_vec1(v),
            Some((_, Attribute::Floats(v))) => bantam_tensor::Tensor::from_vec1(v),
            _ => return Err("constant".to_owned()),
        };
        graph.value_mut(outputs[0].ok_or("constant")?).initializer = Some(value);
        return Ok(());
    }
    let op = Op::parse(&domain, &op, &mut attributes).map_err(|e| e.to_string())?;
    let mut node = Node::new(name, op, &[], &[]);
    (node.inputs, node.outputs, node.extra) = (inputs, outputs, attributes);
    graph.nodes.push(node);
    Ok(())
}

fn attribute(bytes: &[u8]) -> Result<(String, Attribute)> {
    let (mut name, mut value, mut kind) = (String::new(), None, 0);
    let (mut ints, mut floats, mut strings) = (vec![], vec![], vec![]);
    for (number, field) in fields(bytes)? {
        match (number, field) {
            (1, f) => name = text(f)?,
            (2, Field::Fixed32(b)) => value = Some(Attribute::Float(f32::from_le_bytes(b))),
            (3, Field::Varint(v)) => value = Some(Attribute::Int(v as i64)),
            (4, f) => value = Some(Attribute::String(f.bytes()?.to_vec())),
            (5, f) => value = Some(Attribute::Tensor(tensor(f.bytes()?)?)),
            (6, f) => value = Some(Attribute::Graph(Box::new(graph(f.bytes()?)?))),
            (7, Field::Fixed32(b)) => floats.push(f32::from_le_bytes(b)),
            (8, Field::Varint(v)) => ints.push(v as i64),
            (9, f) => strings.push(f.bytes()?.to_vec()),
            (20, Field::Varint(v)) => kind = v,
            _ => {}
        }
    }
    let value = match kind {
        1 => value.or(Some(Attribute::Float(0.0))),
        2 => value.or(Some(Attribute::Int(0))),
        6 => Some(Attribute::Floats(floats)),
        7 => Some(Attribute::Ints(ints)),
        8 => Some(Attribute::Strings(strings)),
        _ => value,
    };
    Ok((name, value.ok_or("attribute")?))
}
