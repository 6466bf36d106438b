//! Element-wise ops.

use super::error::Problem;
use super::movement::cast;
use super::tape::{Site, Tape};
use crate::ops::{
    ActivationFunction, ActivationGradient, Binary, CastLike, Celu, ClipGradient, Elu, Gelu,
    GeluApproximation, HardSigmoid, LeakyRelu, Selu, Shrink, Swish, ThresholdedRelu, Unary, Variadic,
};
use crate::{Op, ValueId};

type Done = Result<(), Problem>;

/// True for functions that are constant between their jumps, or of truths and bits.
pub(super) fn stops(op: Unary) -> bool {
    use Unary::{BitwiseNot, Ceil, Floor, IsNaN, Not, Round, Sign};
    matches!(op, BitwiseNot | Ceil | Floor | IsNaN | Not | Round | Sign)
}

pub(super) fn unary(tape: &mut Tape, site: &Site, op: Unary) -> Done {
    use ActivationFunction as Function;
    let (x, y, dy) = (site.x(0), site.y(0)?, site.dy()?);
    let of_x = |tape: &mut Tape, function| activation(tape, dy, x, function, 0.0, 0.0);
    let dx = match op {
        Unary::Identity => dy,
        Unary::Neg => tape.neg(dy),
        Unary::Abs => {
            let sign = tape.unary(Unary::Sign, x);
            tape.mul(dy, sign)
        }
        Unary::Exp => tape.mul(dy, y),
        Unary::Log => tape.div(dy, x),
        Unary::Sqrt => {
            let half = tape.times(dy, 0.5);
            tape.div(half, y)
        }
        Unary::Reciprocal => {
            let square = tape.mul(y, y);
            let product = tape.mul(dy, square);
            tape.neg(product)
        }
        Unary::Erf => {
            let square = tape.mul(x, x);
            let negative = tape.neg(square);
            let bell = tape.unary(Unary::Exp, negative);
            let product = tape.mul(dy, bell);
            tape.times(product, std::f64::consts::FRAC_2_SQRT_PI)
        }
        Unary::Relu => activation(tape, dy, y, Function::Relu, 0.0, 0.0),
        Unary::Sigmoid => activation(tape, dy, y, Function::Sigmoid, 0.0, 0.0),
        Unary::Tanh => activation(tape, dy, y, Function::Tanh, 0.0, 0.0),
        Unary::HardSwish => of_x(tape, Function::HardSwish),
        Unary::Mish => of_x(tape, Function::Mish),
        Unary::Softplus => of_x(tape, Function::Softplus),
        Unary::Softsign => of_x(tape, Function::Softsign),
        _ => trigonometric(tape, op, x, y, dy)?,
    };
    tape.give(x, dx);
    Ok(())
}

fn trigonometric(
    tape: &mut Tape,
    op: Unary,
    x: ValueId,
    y: ValueId,
    dy: ValueId,
) -> Result<ValueId, Problem> {
    Ok(match op {
        Unary::Sin | Unary::Cosh | Unary::Sinh => {
            let other = match op {
                Unary::Sin => Unary::Cos,
                Unary::Cosh => Unary::Sinh,
                _ => Unary::Cosh,
            };
            let slope = tape.unary(other, x);
            tape.mul(dy, slope)
        }
        Unary::Cos => {
            let slope = tape.unary(Unary::Sin, x);
            let product = tape.mul(dy, slope);
            tape.neg(product)
        }
        Unary::Tan => {
            let square = tape.mul(y, y);
            let slope = tape.plus(square, 1.0);
            tape.mul(dy, slope)
        }
        _ => inverse(tape, op, x, dy)?,
    })
}

/// Functions whose slope is one over a polynomial of x or its root.
fn inverse(tape: &mut Tape, op: Unary, x: ValueId, dy: ValueId) -> Result<ValueId, Problem> {
    let square = tape.mul(x, x);
    let polynomial = match op {
        Unary::Asin | Unary::Acos | Unary::Atanh => tape.minus_from(1.0, square),
        Unary::Asinh | Unary::Atan => tape.plus(square, 1.0),
        Unary::Acosh => tape.plus(square, -1.0),
        other => return Err(Problem::new(format!("{} has no derivative", other.name()))),
    };
    let divisor = match op {
        Unary::Atan | Unary::Atanh => polynomial,
        _ => tape.unary(Unary::Sqrt, polynomial),
    };
    let quotient = tape.div(dy, divisor);
    Ok(match op {
        Unary::Acos => tape.neg(quotient),
        _ => quotient,
    })
}

/// `dy` times the slope of an activation.
fn activation(
    tape: &mut Tape,
    dy: ValueId,
    value: ValueId,
    function: ActivationFunction,
    alpha: f32,
    beta: f32,
) -> ValueId {
    tape.node(
        ActivationGradient {
            function,
            alpha,
            beta,
        },
        &[dy, value],
    )
}

/// An activation with attributes.
pub(super) fn parametric(tape: &mut Tape, site: &Site) -> Done {
    use ActivationFunction as Function;
    let gelu = |op: &Gelu| match op.approximate {
        GeluApproximation::None => Function::Gelu,
        GeluApproximation::Tanh => Function::GeluTanh,
    };
    let (function, alpha, beta) = match &site.node.op {
        Op::Elu(Elu { alpha }) => (Function::Elu, *alpha, 0.0),
        Op::Selu(Selu { alpha, gamma }) => (Function::Selu, *alpha, *gamma),
        Op::Celu(Celu { alpha }) => (Function::Celu, *alpha, 0.0),
        Op::LeakyRelu(LeakyRelu { alpha }) => (Function::LeakyRelu, *alpha, 0.0),
        Op::HardSigmoid(HardSigmoid { alpha, beta }) => (Function::HardSigmoid, *alpha, *beta),
        Op::ThresholdedRelu(ThresholdedRelu { alpha }) => (Function::ThresholdedRelu, *alpha, 0.0),
        Op::Shrink(Shrink { lambd, .. }) => (Function::Shrink, 0.0, *lambd),
        Op::Gelu(op) => (gelu(op), 0.0, 0.0),
        Op::MsGelu(_) => (Function::Gelu, 0.0, 0.0),
        Op::Swish(Swish { alpha }) => (Function::Swish, *alpha, 0.0),
        Op::QuickGelu(op) => (Function::Swish, op.alpha, 0.0),
        other => return Err(Problem::new(format!("{} is no activation", other.name()))),
    };
    let (x, dy) = (site.x(0), site.dy()?);
    let dx = activation(tape, dy, x, function, alpha, beta);
    tape.give(x, dx);
    Ok(())
}

/// Gelu of x plus a bias.
pub(super) fn biased_gelu(tape: &mut Tape, site: &Site, function: ActivationFunction) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let bias = site.node.input(1);
    let sum = bias.map_or(x, |bias| tape.add(x, bias));
    let dx = activation(tape, dy, sum, function, 0.0, 0.0);
    tape.give(x, dx);
    match tape.wanted(site, 1) {
        Some(bias) => tape.give_summed(site, bias, dx),
        None => Ok(()),
    }
}

pub(super) fn binary(tape: &mut Tape, site: &Site, op: Binary) -> Done {
    for position in [0, 1] {
        let Some(input) = tape.wanted(site, position) else {
            continue;
        };
        if position == 1 && op == Binary::PRelu {
            return slope(tape, site);
        }
        let gradient = binary_part(tape, site, op, position)?;
        tape.give_summed(site, input, gradient)?;
    }
    Ok(())
}

/// The gradient of one side, before it is summed over what was repeated.
fn binary_part(tape: &mut Tape, site: &Site, op: Binary, position: usize) -> Result<ValueId, Problem> {
    let (a, b, y, dy) = (site.x(0), site.x(1), site.y(0)?, site.dy()?);
    Ok(match (op, position) {
        (Binary::Add, _) | (Binary::Sub, 0) => dy,
        (Binary::Sub, _) => tape.neg(dy),
        (Binary::Mul, 0) => tape.mul(dy, b),
        (Binary::Mul, _) => tape.mul(dy, a),
        (Binary::Div, 0) => tape.div(dy, b),
        (Binary::Div, _) => {
            let share = tape.div(y, b);
            let product = tape.mul(dy, share);
            tape.neg(product)
        }
        (Binary::Pow, 0) => power(tape, site)?,
        (Binary::Pow, _) => {
            // Where the base is not positive the power is no smooth function of its exponent.
            let zero = tape.scalar(0.0);
            let positive = tape.node(Binary::Greater, &[a, zero]);
            let one = tape.scalar(1.0);
            let base = tape.choose(positive, a, one);
            let logarithm = tape.unary(Unary::Log, base);
            let product = tape.mul(dy, y);
            let product = tape.mul(product, logarithm);
            let to = tape.dtype_of(b)?;
            tape.node(cast(to), &[product])
        }
        (Binary::PRelu, _) => {
            let negative = negative(tape, a);
            let scaled = tape.mul(dy, b);
            tape.choose(negative, scaled, dy)
        }
        _ => return Err(Problem::new(format!("{} has no derivative", op.name()))),
    })
}

fn negative(tape: &mut Tape, x: ValueId) -> ValueId {
    let zero = tape.scalar(0.0);
    tape.node(Binary::Less, &[x, zero])
}

/// `dy * exponent * base^(exponent - 1)`.
fn power(tape: &mut Tape, site: &Site) -> Result<ValueId, Problem> {
    let (base, exponent, dy) = (site.x(0), site.x(1), site.dy()?);
    let constant = tape
        .graph
        .constant(exponent)
        .filter(|exponent| exponent.len() == 1);
    let constant = constant.and_then(|exponent| exponent.to_f64().ok()?.first().copied());
    if let Some(exponent) = constant {
        let slope = match exponent {
            1.0 => return Ok(dy),
            2.0 => base,
            _ => {
                let less = tape.scalar(exponent - 1.0);
                tape.node(Binary::Pow, &[base, less])
            }
        };
        let product = tape.mul(dy, slope);
        return Ok(tape.times(product, exponent));
    }
    let same_type = tape.dtype_of(exponent)? == tape.dtype_of(base)?;
    let exponent = match same_type {
        true => exponent,
        false => {
            let like = CastLike {
                saturate: true,
                round_mode: "up".to_owned(),
            };
            tape.node(like, &[exponent, base])
        }
    };
    let less = tape.plus(exponent, -1.0);
    let power = tape.node(Binary::Pow, &[base, less]);
    let product = tape.mul(dy, power);
    Ok(tape.mul(product, exponent))
}

/// The slope of PRelu gets `dy * x` where x is negative.
fn slope(tape: &mut Tape, site: &Site) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let negative = negative(tape, x);
    let product = tape.mul(dy, x);
    let zero = tape.scalar(0.0);
    let gradient = tape.choose(negative, product, zero);
    tape.give_summed(site, site.x(1), gradient)
}

/// Sum, Mean, and Max and Min, which share the gradient among equal inputs.
pub(super) fn variadic(tape: &mut Tape, site: &Site, op: Variadic) -> Done {
    let (y, dy) = (site.y(0)?, site.dy()?);
    let inputs: Vec<ValueId> = site.node.inputs.iter().flatten().copied().collect();
    let count = inputs.len();
    if count == 1 || matches!(op, Variadic::Sum | Variadic::Mean) {
        let share = match op {
            Variadic::Mean => tape.times(dy, 1.0 / count as f64),
            _ => dy,
        };
        return inputs
            .into_iter()
            .filter(|&input| tape.needs(input))
            .collect::<Vec<_>>()
            .into_iter()
            .try_for_each(|input| tape.give_summed(site, input, share));
    }
    let masks: Vec<ValueId> = inputs.iter().map(|&input| tape.equal(input, y)).collect();
    let ties = tape.node(Variadic::Sum, &masks);
    let share = tape.div(dy, ties);
    for (input, mask) in inputs.into_iter().zip(masks) {
        if tape.needs(input) {
            let gradient = tape.mul(share, mask);
            tape.give_summed(site, input, gradient)?;
        }
    }
    Ok(())
}

pub(super) fn choose(tape: &mut Tape, site: &Site) -> Done {
    let (condition, dy) = (site.x(0), site.dy()?);
    let zero = tape.scalar(0.0);
    if let Some(yes) = tape.wanted(site, 1) {
        let gradient = tape.choose(condition, dy, zero);
        tape.give_summed(site, yes, gradient)?;
    }
    if let Some(no) = tape.wanted(site, 2) {
        let gradient = tape.choose(condition, zero, dy);
        tape.give_summed(site, no, gradient)?;
    }
    Ok(())
}

pub(super) fn clip(tape: &mut Tape, site: &Site) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    if tape.needs(x) {
        let mut inputs = vec![Some(dy), Some(site.y(0)?)];
        inputs.extend(site.node.inputs.iter().skip(1));
        let dx = tape.node_with(ClipGradient {}, inputs, &[true])[0];
        dx.into_iter().for_each(|dx| tape.give(x, dx));
    }
    for (position, beyond) in [(1, Binary::Less), (2, Binary::Greater)] {
        if let Some(bound) = tape.wanted(site, position) {
            let outside = tape.node(beyond, &[x, bound]);
            let zero = tape.scalar(0.0);
            let gradient = tape.choose(outside, dy, zero);
            tape.give_summed(site, bound, gradient)?;
        }
    }
    Ok(())
}

/// Remainders: `x - q * divisor` with a whole number q.
pub(super) fn modulo(tape: &mut Tape, site: &Site) -> Done {
    let (x, divisor, y, dy) = (site.x(0), site.x(1), site.y(0)?, site.dy()?);
    if tape.needs(x) {
        tape.give_summed(site, x, dy)?;
    }
    if tape.needs(divisor) {
        let multiple = tape.sub(y, x);
        let quotient = tape.div(multiple, divisor);
        let gradient = tape.mul(dy, quotient);
        tape.give_summed(site, divisor, gradient)?;
    }
    Ok(())
}

/// Cast, CastLike: back to the type of x.
pub(super) fn conversion(tape: &mut Tape, site: &Site) -> Done {
    let (x, dy) = (site.x(0), site.dy()?);
    let to = tape.dtype_of(x)?;
    tape.change_dtype(to);
    let dx = tape.node(cast(to), &[dy]);
    tape.give(x, dx);
    Ok(())
}
