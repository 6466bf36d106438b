//! Nodes whose activations are quantized at run time.

use bantam_graph::ops::{Binary, Cast, Conv, ConvInteger, DynamicQuantizeLinear, Gather, MatMulInteger};
use bantam_graph::{Node, NodeId, Op, ValueId, ValueType};
use bantam_tensor::{DType, QParams, Tensor, TensorError};

use super::{RewriteError, Rewriter, dequantization};

/// A node, its constant as codes, and how they were made.
struct Site<'a> {
    name: &'a str,
    id: NodeId,
    codes: Tensor,
    params: &'a QParams,
}

impl Site<'_> {
    fn of(&self, suffix: &str) -> String {
        format!("{}_{suffix}", self.name)
    }
}

impl Rewriter<'_> {
    /// Replaces one node by integer ops that find the scale of its input themselves.
    pub(super) fn dynamic(&mut self, name: &str, format: &str, params: &QParams) -> Result<(), RewriteError> {
        let id = self.node(name)?;
        let node = self.graph.node(id);
        let unsupported = || RewriteError::Dynamic {
            node: name.to_owned(),
        };
        let position = usize::from(!matches!(node.op, Op::Gather(_)));
        let constant = node.input(position).ok_or_else(unsupported)?;
        let codes = self.codes(&self.graph.value(constant).name.clone(), format, params)?;
        let site = Site {
            name,
            id,
            codes,
            params,
        };
        let done = match &node.op {
            Op::MatMul(_) => self.product(&site),
            Op::Gemm(gemm) if gemm.transB && site.codes.rank() == 2 => {
                let codes = transpose(&site.codes)?;
                self.product(&Site { codes, ..site })
            }
            Op::Gemm(_) => self.product(&site),
            Op::Conv(conv) => self.convolution(&site, conv)?,
            Op::Gather(gather) => self.lookup(&site, gather),
            _ => None,
        };
        done.ok_or_else(unsupported)?;
        self.patch.remove_node(id);
        Ok(())
    }

    /// `x * w + bias` as `cast(quantize(x) * codes(w)) * (scale(x) * scale(w)) + bias`.
    fn product(&mut self, site: &Site<'_>) -> Option<()> {
        let node = self.graph.node(site.id);
        let weight = self
            .patch
            .add_constant(&site.of("weight_quantized"), site.codes.clone());
        let (w_scale, w_zero) = self
            .parameters(&site.of("weight"), site.params, site.codes.shape())
            .ok()?;
        let [x, x_scale, x_zero] = self.quantized_at_run_time(site, node.input(0)?);
        let sums = self.add_value(&site.of("sums"), ValueType::Unknown);
        let inputs = [x, weight, x_zero, w_zero];
        self.patch.add_node(Node::new(
            site.of("product"),
            MatMulInteger {}.into(),
            &inputs,
            &[sums],
        ));
        self.rescaled(site, (sums, x_scale, w_scale), node.input(2), node.output(0)?);
        Some(())
    }

    /// The same for a convolution, whose channels lie before the spatial axes.
    fn convolution(&mut self, site: &Site<'_>, conv: &Conv) -> Result<Option<()>, TensorError> {
        let node = self.graph.node(site.id);
        let bias = node.input(2).map(|bias| self.graph.constant(bias));
        let (Some(input), Some(output), false) = (node.input(0), node.output(0), bias == Some(None)) else {
            return Ok(None);
        };
        let Some((scale, zero)) = kernel_parameters(site)? else {
            return Ok(None);
        };
        let bias = match bias.flatten() {
            Some(bias) => {
                let bias = bias.reshape(&before_spatial(&site.codes))?;
                Some(self.patch.add_constant(&site.of("bias"), bias))
            }
            None => None,
        };
        let weight = self
            .patch
            .add_constant(&site.of("weight_quantized"), site.codes.clone());
        let w_scale = self.patch.add_constant(&site.of("weight_scale"), scale);
        let w_zero = self.patch.add_constant(&site.of("weight_zero_point"), zero);
        let [x, x_scale, x_zero] = self.quantized_at_run_time(site, input);
        let sums = self.add_value(&site.of("sums"), ValueType::Unknown);
        let (op, inputs) = (integer(conv).into(), [x, weight, x_zero, w_zero]);
        self.patch
            .add_node(Node::new(site.of("product"), op, &inputs, &[sums]));
        self.rescaled(site, (sums, x_scale, w_scale), bias, output);
        Ok(Some(()))
    }

    /// Rows of codes, dequantized after they were looked up.
    fn lookup(&mut self, site: &Site<'_>, gather: &Gather) -> Option<()> {
        let node = self.graph.node(site.id);
        let (indices, output) = (node.input(1)?, node.output(0)?);
        site.params.axis.is_none().then_some(())?;
        let table = self
            .patch
            .add_constant(&site.of("table_quantized"), site.codes.clone());
        let (scale, zero_point) = self
            .parameters(&site.of("table"), site.params, site.codes.shape())
            .ok()?;
        let rows = self.add_value(&site.of("quantized"), ValueType::Unknown);
        let inputs = [table, indices];
        self.patch.add_node(Node::new(
            site.of("lookup"),
            gather.clone().into(),
            &inputs,
            &[rows],
        ));
        let inputs = [rows, scale, zero_point];
        let op = dequantization(site.params).into();
        self.patch
            .add_node(Node::new(site.of("dequantize"), op, &inputs, &[output]));
        Some(())
    }

    /// Codes, scale and zero point of a value, found at run time.
    fn quantized_at_run_time(&mut self, site: &Site<'_>, value: ValueId) -> [ValueId; 3] {
        let outputs = ["input_quantized", "input_scale", "input_zero_point"]
            .map(|suffix| self.add_value(&site.of(suffix), ValueType::Unknown));
        let op = DynamicQuantizeLinear {}.into();
        self.patch
            .add_node(Node::new(site.of("quantize"), op, &[value], &outputs));
        outputs
    }

    /// Sums as floats: times both scales, plus the bias.
    fn rescaled(
        &mut self,
        site: &Site<'_>,
        (sums, x_scale, w_scale): (ValueId, ValueId, ValueId),
        bias: Option<ValueId>,
        output: ValueId,
    ) {
        let [floats, scales] =
            ["sums_float", "scales"].map(|suffix| self.add_value(&site.of(suffix), ValueType::Unknown));
        let product = match bias {
            Some(_) => self.add_value(&site.of("product"), ValueType::Unknown),
            None => output,
        };
        let cast = Cast {
            saturate: true,
            to: DType::F32,
            round_mode: "up".to_owned(),
        };
        let mut nodes = vec![
            Node::new(site.of("cast"), cast.into(), &[sums], &[floats]),
            Node::new(
                site.of("scale"),
                Binary::Mul.into(),
                &[x_scale, w_scale],
                &[scales],
            ),
            Node::new(
                site.of("rescale"),
                Binary::Mul.into(),
                &[floats, scales],
                &[product],
            ),
        ];
        nodes.extend(
            bias.map(|bias| Node::new(site.of("bias"), Binary::Add.into(), &[product, bias], &[output])),
        );
        nodes.into_iter().for_each(|node| self.patch.add_node(node));
    }
}

/// Scales of a kernel so that they multiply the channels of the result, and the one zero point that ConvInteger takes.
fn kernel_parameters(site: &Site<'_>) -> Result<Option<(Tensor, Tensor)>, TensorError> {
    let zero_points = &site.params.zero_point;
    let Some(&first) = zero_points.first().filter(|_| site.codes.rank() > 2) else {
        return Ok(None);
    };
    if zero_points.iter().any(|zero| *zero != first) {
        return Ok(None);
    }
    let mut scale = site.params.scale_tensor(site.codes.shape())?;
    if site.params.axis.is_some() {
        scale = scale.reshape(&before_spatial(&site.codes))?;
    }
    let zero = Tensor::from_i64(site.codes.dtype(), &[], &[i64::from(first)])?;
    Ok(Some((scale, zero)))
}

/// The shape `[M, 1, ...]` of numbers for the output channels of a kernel `[M, C, spatial...]`.
fn before_spatial(kernel: &Tensor) -> Vec<usize> {
    let mut shape = vec![1; kernel.rank().max(2) - 1];
    shape[0] = kernel.shape().first().copied().unwrap_or(1);
    shape
}

/// The integer form of a convolution.
fn integer(conv: &Conv) -> ConvInteger {
    ConvInteger {
        auto_pad: conv.auto_pad,
        dilations: conv.dilations.clone(),
        group: conv.group,
        kernel_shape: conv.kernel_shape.clone(),
        pads: conv.pads.clone(),
        strides: conv.strides.clone(),
    }
}

/// The transpose of a matrix of codes.
fn transpose(codes: &Tensor) -> Result<Tensor, TensorError> {
    let (rows, columns) = (codes.shape()[0], codes.shape()[1]);
    let values = codes.to_i64()?;
    let moved: Vec<i64> = (0..rows * columns)
        .map(|i| values[i % rows * columns + i / rows])
        .collect();
    Tensor::from_i64(codes.dtype(), &[columns, rows], &moved)
}
