//! Names, defaults and meanings of old.

use bantam_tensor::{DType, Tensor};

use super::check::is_optional;
use super::{Lowerer, Need, RawNode};
use crate::onnx::lift::known::Facts;
use crate::onnx::lift::resize::declared_scales;

/// GroupNormalization before 21: one scale and bias per group.
pub(super) fn group_normalization(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let need = || Need {
        opset: 21,
        why: "scale and bias were of groups, not channels".to_owned(),
    };
    let groups = raw
        .get::<i64>("num_groups")
        .and_then(|groups| usize::try_from(groups).ok());
    let groups = groups.filter(|&groups| groups > 0).ok_or_else(need)?;
    if raw.get::<i64>("stash_type").is_some_and(|stash| stash != 1) {
        return Err(need());
    }
    for index in [1, 2] {
        let tensor = raw
            .input(index)
            .and_then(|id| lowerer.constant_of(id))
            .ok_or_else(need)?;
        let per_group = one_per_group(tensor, groups).ok_or_else(need)?;
        lowerer.forget(raw, index);
        raw.inputs[index] = Some(lowerer.constant(raw, "per_group", per_group));
    }
    Ok(())
}

/// The first element of each group, if all elements of each are the same.
fn one_per_group(tensor: &Tensor, groups: usize) -> Option<Tensor> {
    let bytes = tensor.as_bytes();
    let width = tensor.dtype().bits() / 8;
    if width == 0 || bytes.is_empty() || !tensor.len().is_multiple_of(groups) {
        return None;
    }
    let group = bytes.len() / groups;
    let same = bytes
        .chunks_exact(group)
        .all(|group| group.chunks_exact(width).all(|one| one == &group[..width]));
    let firsts: Vec<u8> = bytes
        .chunks_exact(group)
        .flat_map(|group| &group[..width])
        .copied()
        .collect();
    Tensor::from_raw(tensor.dtype(), &[groups], &firsts)
        .ok()
        .filter(|_| same)
}

/// GridSample before 20: names of modes.
pub(super) fn grid_sample(_: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    match raw.get::<String>("mode").as_deref() {
        None | Some("linear") => raw.set("mode", &"bilinear".to_owned()),
        Some("cubic") => raw.set("mode", &"bicubic".to_owned()),
        _ => {}
    }
    Ok(())
}

/// RoiAlign before 16: one way to map coordinates.
pub(super) fn roi_align(_: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    match raw.get::<String>("coordinate_transformation_mode").as_deref() {
        Some("output_half_pixel") => {
            raw.attributes.take("coordinate_transformation_mode");
            Ok(())
        }
        _ => Err(Need {
            opset: 16,
            why: "coordinates were mapped without the half pixel".to_owned(),
        }),
    }
}

/// QuantizeLinear and DequantizeLinear before 13: one scale, of rank 0.
pub(super) fn per_tensor(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let rank = raw.input(1).and_then(|id| lowerer.known_of(id).rank);
    if rank != Some(0) {
        return Err(Need {
            opset: 13,
            why: "the scale had to be a scalar".to_owned(),
        });
    }
    // Without axes to quantize along, it says nothing.
    raw.attributes.take("axis");
    Ok(())
}

/// Softmax, LogSoftmax and Hardmax before 13 took all dimensions from the axis on as one.
pub(super) fn flattening(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let axis = raw.get::<i64>("axis").unwrap_or(-1);
    let x = raw.input(0);
    let rank = x
        .and_then(|id| lowerer.known_of(id).rank)
        .and_then(|rank| i64::try_from(rank).ok());
    let from_start = if axis < 0 {
        rank.map(|rank| axis + rank)
    } else {
        Some(axis)
    };
    let trailing_ones = || {
        let dims = lowerer.graph.value(x?).ty.shape()?;
        let after = dims.get(usize::try_from(from_start? + 1).ok()?..)?;
        after.iter().all(|dim| dim.known() == Some(1)).then_some(())
    };
    let is_last = axis == -1 || (rank.is_some() && from_start.map(|axis| axis + 1) == rank);
    if !is_last && trailing_ones().is_none() {
        return Err(Need {
            opset: 13,
            why: "dimensions after the axis were flattened into it".to_owned(),
        });
    }
    raw.set("axis", &from_start.unwrap_or(axis));
    Ok(())
}

/// Resize before 13: inputs that are not used were empty tensors.
pub(super) fn resize_inputs(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if lowerer.opset < 11 {
        return Ok(());
    }
    raw.inputs
        .resize(if raw.input(3).is_some() { 4 } else { 3 }, None);
    for (index, name) in [(1, "roi"), (2, "scales")] {
        if raw.inputs[index].is_none() {
            raw.inputs[index] = Some(lowerer.constant(raw, name, Tensor::from_vec1::<f32>(&[])));
        }
    }
    Ok(())
}

/// Resize of opset 10: scales, coordinates mapped by them alone.
pub(super) fn resize_10(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let need = |why: &str| Need {
        opset: 11,
        why: why.to_owned(),
    };
    let scales = raw.input(2).ok_or_else(|| need("sizes could not be given"))?;
    let transform = raw.get::<String>("coordinate_transformation_mode");
    if transform.as_deref() != Some("asymmetric") {
        return Err(need("coordinates were mapped by the scale alone"));
    }
    let nearest = raw.get::<String>("mode").is_none_or(|mode| mode == "nearest");
    let (x, y) = (raw.input(0), raw.outputs.first().copied().flatten());
    let values = lowerer
        .constant_of(scales)
        .and_then(|scales| scales.to_f32().ok());
    let values = values.or_else(|| declared_scales(&lowerer.graph, x?, y?));
    let enlarges = values
        .as_ref()
        .is_none_or(|scales| scales.iter().all(|&scale| scale >= 1.0));
    let shrinks = values.is_some_and(|scales| scales.iter().all(|&scale| scale <= 1.0));
    let rounding = raw.get::<String>("nearest_mode");
    let usual = match rounding.as_deref() {
        Some("floor") => enlarges,
        Some("ceil") => shrinks,
        _ => false,
    };
    if nearest && !usual {
        return Err(need("the nearest element was the one before"));
    }
    raw.attributes.take("coordinate_transformation_mode");
    raw.attributes.take("nearest_mode");
    lowerer.forget(raw, 1);
    raw.inputs = vec![raw.inputs[0], Some(scales)];
    Ok(())
}

/// Resize before 10 was Upsample, which only enlarged.
pub(super) fn upsample(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let scales = raw
        .input(1)
        .and_then(|id| lowerer.constant_of(id))
        .and_then(|scales| scales.to_f32().ok());
    if scales.is_some_and(|scales| scales.iter().any(|&scale| scale < 1.0)) {
        return Err(Need {
            opset: 10,
            why: "sizes could only grow".to_owned(),
        });
    }
    raw.op = "Upsample".to_owned();
    Ok(())
}

/// Upsample before 9: scales were an attribute.
pub(super) fn upsample_scales(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let scales = raw
        .input(1)
        .and_then(|id| lowerer.constant_of(id))
        .and_then(|scales| scales.to_f32().ok());
    let scales = scales.ok_or_else(|| Need {
        opset: 9,
        why: "`scales` had to be a constant".to_owned(),
    })?;
    raw.set("scales", &scales);
    lowerer.forget(raw, 1);
    Ok(())
}

/// ScatterElements before 11 was Scatter.
pub(super) fn scatter(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if raw.attributes.get("reduction").is_none() && lowerer.opset >= 9 {
        raw.op = "Scatter".to_owned();
    }
    Ok(())
}

/// Mod before 28: floats only with `fmod`.
pub(super) fn modulo(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let dtype = raw.input(0).and_then(|id| lowerer.known_of(id).dtype);
    if dtype.is_some_and(DType::is_float) && raw.get::<bool>("fmod") != Some(true) {
        return Err(Need {
            opset: 28,
            why: "its result on floats had the sign of the dividend".to_owned(),
        });
    }
    Ok(())
}

/// Ops on optionals before 18 took nothing else.
pub(super) fn optional_element(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    let optional = raw
        .input(0)
        .is_some_and(|id| is_optional(&lowerer.graph.value(id).ty));
    if optional {
        Ok(())
    } else {
        Err(Need {
            opset: 18,
            why: "it took optionals only".to_owned(),
        })
    }
}

/// Scan before 9 looped over a batch first.
pub(super) fn scan(_: &mut Lowerer<'_>, _: &mut RawNode) -> Result<(), Need> {
    Err(Need {
        opset: 9,
        why: "it looped over a batch first".to_owned(),
    })
}

/// Gemm before 11 always had an addend.
pub(super) fn gemm(lowerer: &mut Lowerer<'_>, raw: &mut RawNode) -> Result<(), Need> {
    if raw.input(2).is_some() {
        return Ok(());
    }
    let dtype = raw
        .input(0)
        .and_then(|id| lowerer.known_of(id).dtype)
        .unwrap_or(DType::F32);
    let zero = Tensor::zeros(dtype, &[1]).map_err(|error| Need {
        opset: 11,
        why: error.to_string(),
    })?;
    raw.inputs.resize(2, None);
    let zero = lowerer.constant(raw, "zero", zero);
    raw.inputs.push(Some(zero));
    Ok(())
}
