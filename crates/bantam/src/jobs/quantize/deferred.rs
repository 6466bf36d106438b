//! Weights in groups by the range of each group: codes are made while the file is written, so that memory holds some rows of
//! weights, whatever the size of the model.

use std::ops::Range;

use bantam_compress::plan::Plan;
use bantam_compress::quantize::groups::{
    DeferredGroups, DeferredWeight, GroupError, GroupFormat, StandIns, TableGroups, deferred_groups,
};
use bantam_formats::Writing;
use bantam_formats::onnx::{Deferred, NarrowCodes, save_deferred};
use bantam_graph::Model;
use bantam_graph::passes::fold_casts_by;
use bantam_tensor::formats::blocks::{GroupGrid, IntegerGroups};
use bantam_tensor::formats::unpack_into;
use bantam_tensor::{BlockFormat, DType, NumberFormat, Tensor, prefetch, release};
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
                GroupFormat::Integers(format) => integers(format, &part, weight.codes.dtype()),
                GroupFormat::Table(table) => looked_up(table, &part, weight.codes.dtype()),
            };
            forget(own, rows);
            made
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

/// Codes, scales and zero points of rows, each as a file holds them.
fn integers(format: &IntegerGroups, part: &Tensor, dtype: DType) -> Result<Vec<Vec<u8>>, Error> {
    let blocks = blocks::encode(format, part, None).map_err(wrong)?;
    let grids = Blocks::of(format, format.header_bytes(), format.bits, &blocks, part.shape());
    let codes = grids.codes(dtype, |code| format.number(code) as i64)?;
    let grids: Vec<GroupGrid> = grids.each().map(|(block, _)| format.load(block)).collect();
    let zero_points: Vec<i64> = grids.iter().map(|grid| grid.zero_point as i64).collect();
    let scales: Vec<f32> = grids.iter().map(|grid| divisor(grid.scale)).collect();
    let shape = [part.shape()[0], part.shape()[1].div_ceil(format.group_len())];
    let zero_points = Tensor::from_i64(dtype, &shape, &zero_points)?;
    Ok(vec![
        codes,
        Tensor::from_vec1(&scales).as_bytes().to_vec(),
        zero_points.as_bytes().to_vec(),
    ])
}

/// Codes of a table and scales of 16 bits of rows.
fn looked_up(table: &TableGroups, part: &Tensor, dtype: DType) -> Result<Vec<Vec<u8>>, Error> {
    let codebook = table.codebook();
    let format = table.blocks(&codebook);
    let blocks = blocks::encode(&format, part, None).map_err(wrong)?;
    let all = Blocks::of(
        &format,
        format.scale_bytes(),
        codebook.bits(),
        &blocks,
        part.shape(),
    );
    let codes = all.codes(dtype, i64::from)?;
    let scales = all
        .each()
        .map(|(block, _)| f16::from_f32(divisor(format.load_scale(block))));
    let scales: Vec<f16> = scales.collect();
    Ok(vec![codes, Tensor::from_vec1(&scales).as_bytes().to_vec()])
}

/// A group of zeros has no scale.
fn divisor(scale: f32) -> f32 {
    if scale > 0.0 { scale } else { 1.0 }
}

/// Rows of blocks, which are a head and packed codes.
struct Blocks<'a> {
    bytes: &'a [u8],
    row_bytes: usize,
    block_bytes: usize,
    head: usize,
    bits: usize,
    group: usize,
    shape: &'a [usize],
}

impl<'a> Blocks<'a> {
    fn of(
        format: &dyn BlockFormat,
        head: usize,
        bits: u32,
        bytes: &'a [u8],
        shape: &'a [usize],
    ) -> Blocks<'a> {
        Blocks {
            bytes,
            row_bytes: format.row_bytes(shape[1]).unwrap_or(0).max(1),
            block_bytes: format.block_bytes(),
            head,
            bits: bits as usize,
            group: format.block_len(),
            shape,
        }
    }

    /// Each block with the number of its elements.
    fn each(&self) -> impl Iterator<Item = (&'a [u8], usize)> {
        let (depth, group, size) = (self.shape[1], self.group, self.block_bytes);
        let rows = self.bytes.chunks_exact(self.row_bytes);
        rows.flat_map(move |row| {
            let blocks = row.chunks(size).enumerate();
            blocks.map(move |(index, block)| (block, group.min(depth - index * group)))
        })
    }

    /// The numbers of all codes, in this type.
    fn codes(&self, dtype: DType, number: impl Fn(u8) -> i64) -> Result<Vec<u8>, Error> {
        // Codes of such groups lie as files have them.
        if self.bits == dtype.bits() && self.group.is_multiple_of(2) && self.shape[1].is_multiple_of(2) {
            let mut packed = Vec::with_capacity(self.bytes.len());
            (self.each()).for_each(|(block, _)| packed.extend_from_slice(&block[self.head..]));
            return Ok(packed);
        }
        let (mut numbers, mut codes) = (Vec::new(), Vec::new());
        for (block, len) in self.each() {
            codes.resize(len, 0);
            unpack_into(self.bits, &block[self.head..], &mut codes);
            numbers.extend(codes.iter().map(|code| number(*code)));
        }
        Ok(Tensor::from_i64(dtype, self.shape, &numbers)?.as_bytes().to_vec())
    }
}
