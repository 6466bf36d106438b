//! Weights in groups by the range of each group: codes are made while the file is written, so that memory holds some rows of
//! weights, whatever the size of the model.

use std::ops::Range;

use bantam_compress::plan::Plan;
use bantam_compress::quantize::groups::{
    DeferredGroups, DeferredWeight, GroupError, GroupFormat, StandIns, deferred_groups,
};
use bantam_formats::Writing;
use bantam_formats::onnx::{Deferred, NarrowCodes, save_deferred};
use bantam_graph::Model;
use bantam_graph::passes::fold_casts_by;
use bantam_tensor::formats::blocks::IntegerGroups;
use bantam_tensor::formats::unpack_into;
use bantam_tensor::{BlockFormat, DType, Tensor, prefetch, release};
use half::{bf16, f16};

use super::{QuantizeJob, Rescaling};
use crate::files::fingerprint;
use crate::jobs::blocks;
use crate::progress::staged;
use crate::{Error, Progress, pipeline};

/// Weights of fewer bytes are widened at once.
const LARGE: usize = 1 << 14;

/// A weight of 16 bits, and what is in the place of its widened form.
struct Widened {
    stand_in: Tensor,
    narrow: Tensor,
}

/// Quantizes and writes; `None` where weights have to be known before they are written.
pub(super) fn quantize(job: &QuantizeJob, progress: &dyn Progress) -> Result<Option<Plan>, Error> {
    let settings = job.groups.as_ref().filter(|settings| settings.is_plain());
    let alone = job.plan.is_none() && job.plan_out.is_none() && job.rescaling == Rescaling::default();
    // What codes are packed in depends on all of them.
    let packed = job.save.narrow_codes == NarrowCodes::PackedGroups;
    let (Some(settings), true, false) = (settings, alone, packed) else {
        return Ok(None);
    };
    let model = pipeline::load(&job.model)?;
    if !model.functions.is_empty() {
        return Ok(None);
    }
    let (model, widened) = with_stand_ins(model)?;
    let model = pipeline::prepare(&model)?;
    let constants = model
        .graph
        .values
        .iter()
        .filter_map(|value| value.initializer.as_ref());
    let places: Vec<*const u8> = constants.map(|tensor| tensor.as_bytes().as_ptr()).collect();
    // A pass that computed with a stand-in would have put something else in its place.
    let all = widened
        .iter()
        .all(|widened| places.contains(&place(&widened.stand_in)));
    let found = match all {
        true => deferred_groups(&model.graph, settings)?,
        false => None,
    };
    match found {
        Some(groups) => write(job, &model, groups, &widened, progress).map(Some),
        None => Ok(None),
    }
}

fn place(tensor: &Tensor) -> *const u8 {
    tensor.as_bytes().as_ptr()
}

/// The model with stand-ins for what large weights of 16 bits are in 32.
fn with_stand_ins(mut model: Model) -> Result<(Model, Vec<Widened>), Error> {
    let (mut all, mut stand_ins) = (Vec::new(), StandIns::default());
    let mut widen = |narrow: &Tensor| {
        if narrow.as_bytes().len() < LARGE {
            return Tensor::from_slice(narrow.shape(), &narrow.to_f32().ok()?).ok();
        }
        let stand_in = stand_ins.tensor(DType::F32, narrow.shape()).ok()?;
        all.push(Widened {
            stand_in: stand_in.clone(),
            narrow: narrow.clone(),
        });
        Some(stand_in)
    };
    let outcome = fold_casts_by(&model.graph, &mut widen);
    outcome
        .patch
        .apply(&mut model.graph)
        .map_err(|source| bantam_graph::passes::PassError::After {
            pass: "fold-casts",
            source,
        })?;
    Ok((model, all))
}

fn write(
    job: &QuantizeJob,
    model: &Model,
    groups: DeferredGroups,
    widened: &[Widened],
    progress: &dyn Progress,
) -> Result<Plan, Error> {
    let codes = groups.weights.iter().map(|weight| {
        let narrow = widened
            .iter()
            .find(|widened| place(&widened.stand_in) == place(&weight.weight));
        codes(
            weight,
            narrow.map_or(&weight.weight, |widened| &widened.narrow),
            &groups.format,
        )
    });
    let deferred: Vec<Deferred<'_, Error>> = codes.chain(widened.iter().map(wide)).collect();
    let quantized = Model {
        graph: groups.graph,
        ..model.clone()
    };
    let files = bantam_formats::format_of(&job.model).files(&job.model);
    let version = env!("CARGO_PKG_VERSION");
    let texts = [
        format!("{version} {:?} {:?}", groups.format, job.save),
        format!("{:?}", groups.plan),
    ];
    let key = fingerprint(&[&texts[0], &texts[1]], &files)?;
    staged(progress, "quantize", |report| {
        let writing = Writing {
            key: &key,
            resume: job.resume,
            progress: report,
            ..Writing::PLAIN
        };
        save_deferred(&quantized, &job.output, &job.save, &deferred, &writing)
    })?;
    Ok(groups.plan)
}

/// Makes codes, scales and zero points of a weight as the model has it.
fn codes<'a>(weight: &'a DeferredWeight, own: &'a Tensor, format: &'a GroupFormat) -> Deferred<'a, Error> {
    Deferred {
        stand_ins: weight.stand_ins(),
        make: Box::new(move |rows| {
            let part = some_rows(own, &rows)?;
            check(&part, weight, format)?;
            let made = match format {
                GroupFormat::Integers(format) => {
                    let blocks = blocks::encode(format, &part, None).map_err(wrong)?;
                    taken_apart(format, &blocks, weight.codes.dtype(), part.shape())?
                }
                GroupFormat::Table(table) => {
                    let made = table.encode(&part.to_f32()?, part.shape()[1])?;
                    made.map(|tensor| tensor.as_bytes().to_vec()).to_vec()
                }
            };
            forget(own, rows);
            Ok(made)
        }),
    }
}

/// Makes the wide form of a weight.
fn wide(widened: &Widened) -> Deferred<'_, Error> {
    let Widened { stand_in, narrow } = widened;
    Deferred {
        stand_ins: vec![stand_in.clone()],
        make: Box::new(move |rows| {
            let values = some_rows(narrow, &rows)?.to_f32()?;
            forget(narrow, rows);
            Ok(vec![Tensor::from_vec1(&values).as_bytes().to_vec()])
        }),
    }
}

/// The bytes of rows of a matrix.
fn range(tensor: &Tensor, rows: &Range<usize>) -> Range<usize> {
    let all = tensor.shape().first().copied().unwrap_or(1).max(1);
    let width = tensor.as_bytes().len() / all;
    rows.start * width..rows.end * width
}

/// Rows of a weight; those behind them are fetched meanwhile.
fn some_rows(tensor: &Tensor, rows: &Range<usize>) -> Result<Tensor, Error> {
    let shape = [&[rows.len()], &tensor.shape()[1..]].concat();
    let here = range(tensor, rows);
    let behind = tensor.as_bytes().get(here.end..here.end + 8 * here.len());
    prefetch(behind.unwrap_or(&tensor.as_bytes()[here.end..]));
    Ok(match tensor.shared_bytes() {
        Some(bytes) => Tensor::from_bytes(tensor.dtype(), &shape, bytes.slice(here))?,
        None => Tensor::from_raw(tensor.dtype(), &shape, &tensor.as_bytes()[here])?,
    })
}

fn forget(tensor: &Tensor, rows: Range<usize>) {
    release(&tensor.as_bytes()[range(tensor, &rows)]);
}

fn wrong(error: impl std::fmt::Display) -> Error {
    GroupError::Graph(error.to_string()).into()
}

/// Refuses numbers that no scale can say.
fn check(part: &Tensor, weight: &DeferredWeight, format: &GroupFormat) -> Result<(), Error> {
    let limit = format.limit();
    let fits = match part.dtype() {
        DType::F16 => part.values::<f16>()?.iter().all(|x| x.to_f32().abs() <= limit),
        DType::BF16 => part.values::<bf16>()?.iter().all(|x| x.to_f32().abs() <= limit),
        _ => part.to_f32()?.iter().all(|x| x.abs() <= limit),
    };
    let node = || weight.node.clone();
    match fits {
        true => Ok(()),
        false => Err(GroupError::Weights { node: node() }.into()),
    }
}

/// Codes, scales and zero points of blocks, each as a file holds them.
fn taken_apart(
    format: &IntegerGroups,
    blocks: &[u8],
    dtype: DType,
    shape: &[usize],
) -> Result<Vec<Vec<u8>>, Error> {
    let (rows, depth, group) = (shape[0], shape[1], format.group_len());
    let head = format.header_bytes();
    // Codes of such groups lie as files have them.
    let whole = format.bits as usize == dtype.bits() && group.is_multiple_of(2) && depth.is_multiple_of(2);
    let (mut packed, mut numbers, mut codes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut scales, mut zero_points) = (Vec::new(), Vec::new());
    let row_bytes = format.row_bytes(depth).unwrap_or(0);
    for row in blocks.chunks_exact(row_bytes.max(1)) {
        for (index, block) in row.chunks(format.block_bytes()).enumerate() {
            let grid = format.load(block);
            // A group of zeros has no scale.
            scales.push(if grid.scale > 0.0 { grid.scale } else { 1.0 });
            zero_points.push(grid.zero_point as i64);
            if whole {
                packed.extend_from_slice(&block[head..]);
            } else {
                let len = group.min(depth - index * group);
                codes.resize(len, 0);
                unpack_into(format.bits as usize, &block[head..], &mut codes);
                numbers.extend(codes.iter().map(|code| format.number(*code) as i64));
            }
        }
    }
    if !whole {
        packed = Tensor::from_i64(dtype, shape, &numbers)?.as_bytes().to_vec();
    }
    let groups = [rows, depth.div_ceil(group)];
    let zero_points = Tensor::from_i64(dtype, &groups, &zero_points)?;
    Ok(vec![
        packed,
        Tensor::from_vec1(&scales).as_bytes().to_vec(),
        zero_points.as_bytes().to_vec(),
    ])
}
