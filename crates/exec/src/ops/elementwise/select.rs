//! Where and Dropout.

use bantam_graph::ops::Dropout;
use bantam_tensor::{DType, Tensor};

use crate::inputs::Inputs;
use crate::operator::Outputs;
use crate::ops::broadcast::Broadcast;
use crate::ops::units::{self, Unit, in_unit};
use crate::{Context, OpError};
use bantam_kernels::chunks::for_chunks;

/// Element-wise choice: condition, where true, where false; of any type.
pub(in crate::ops) fn select(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    in_unit!(inputs.required(1)?.dtype(), U => select_units::<U>(inputs, context))
}

fn select_units<U: Unit>(inputs: &Inputs<'_>, context: &Context) -> Result<Tensor, OpError> {
    let condition = inputs.required(0)?;
    let truths = condition.bools().map_err(|_| OpError::Type {
        index: 0,
        got: condition.dtype(),
    })?;
    let dtype = inputs.required(1)?.dtype();
    let (yes, no) = (
        units::read::<U>(inputs, 1, dtype)?,
        units::read::<U>(inputs, 2, dtype)?,
    );
    let layout = Broadcast::new([
        condition.shape(),
        inputs.required(1)?.shape(),
        inputs.required(2)?.shape(),
    ])?;
    let [step, step_yes, step_no] = layout.steps();
    U::build(context, dtype, &layout.shape, |y| {
        for_chunks(y, |start, y| {
            layout.for_runs(start, y.len(), |run| {
                let y = &mut y[run.start..run.start + run.length];
                let [start, start_yes, start_no] = run.sources;
                for (i, y) in y.iter_mut().enumerate() {
                    let source = match truths[start + i * step] {
                        0 => &no[start_no + i * step_no],
                        _ => &yes[start_yes + i * step_yes],
                    };
                    y.clone_from(source);
                }
            });
        });
        Ok(())
    })
}

/// The input and a mask of what was kept (all), as at inference.
pub(in crate::ops) fn dropout(
    _: &Dropout,
    inputs: &mut Inputs<'_>,
    outputs: usize,
    context: &Context,
) -> Result<Outputs, OpError> {
    let training = match inputs.optional(2) {
        Some(mode) => mode
            .bools()
            .map_err(|_| OpError::Type {
                index: 2,
                got: mode.dtype(),
            })?
            .contains(&1),
        None => false,
    };
    let drops = match inputs.optional(1) {
        Some(ratio) => ratio.to_f64()?.into_iter().any(|ratio| ratio != 0.0),
        None => true,
    };
    if training && drops {
        return Err(OpError::Unsupported(
            "Dropout in training mode (it draws random numbers)".to_owned(),
        ));
    }
    let x = inputs.keep(0)?;
    let mask = if outputs > 1 {
        let mut mask = context.uninitialized(DType::Bool, x.shape())?;
        mask.bytes_mut().fill(1);
        Some(mask)
    } else {
        None
    };
    Ok(vec![Some(x), mask])
}

#[cfg(test)]
mod tests {
    use bantam_graph::ops::{Dropout, Where};
    use bantam_tensor::Tensor;

    use crate::ops::testing::{run, run_one};

    #[test]
    fn choices_of_numbers_and_strings() {
        let condition = Tensor::from_bools(&[2, 1], &[true, false]).unwrap();
        let yes = Tensor::from_vec1(&[1.0f32, 2.0]);
        let y = run_one(
            Where {},
            &[condition.clone(), yes.clone(), Tensor::scalar(9.0f32)],
        );
        assert_eq!(y, Tensor::from_slice(&[2, 2], &[1.0f32, 2.0, 9.0, 9.0]).unwrap());
        let text = |text: &str| Tensor::from_strings(&[1], vec![text.as_bytes().to_vec()]).unwrap();
        let y = run_one(Where {}, &[condition.clone(), text("yes"), text("no")]);
        assert_eq!(y.strings().unwrap(), [b"yes".to_vec(), b"no".to_vec()]);
        assert!(run(Where {}, &[condition, yes, Tensor::scalar(9.0f64)]).is_err());
    }

    #[test]
    fn dropout_keeps_everything() {
        let x = Tensor::from_vec1(&[1.0f32, 2.0]);
        let (none, half) = (Tensor::scalar(0.0f32), Tensor::scalar(0.5f32));
        let mode = |training| Tensor::from_bools(&[], &[training]).unwrap();
        let op = Dropout { seed: None };
        for inputs in [
            vec![x.clone()],
            vec![x.clone(), half.clone()],
            vec![x.clone(), none, mode(true)],
        ] {
            let outputs = run(op.clone(), &inputs).unwrap();
            assert_eq!(
                outputs,
                [x.clone(), Tensor::from_bools(&[2], &[true, true]).unwrap()]
            );
        }
        assert!(run(op, &[x, half, mode(true)]).is_err());
    }
}
