//! The seam to burn: an operation on plain CPU tensors with a hand-written backward becomes a differentiable one.

use burn::backend::autodiff::NodeId;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Flex};
use burn::tensor::{Device, Tensor, TensorData};

/// A plain tensor on the CPU.
pub(super) type Plain = FloatTensor<Flex>;
type Tracked = FloatTensor<Autodiff<Flex>>;

/// A CPU operation of `N` inputs. It must be a pure function of its inputs and fields.
pub(super) trait Kernel<const N: usize>: std::fmt::Debug + Clone + Send + 'static {
    /// What the backward needs beside the gradient. Sharing input tensors costs nothing.
    type Saved: std::fmt::Debug + Clone + Send + 'static;

    /// Inputs are contiguous. `needs` tells which inputs a gradient may be asked for: what only the others need is not
    /// worth saving. All false: nothing is.
    fn forward(&self, inputs: [&Plain; N], needs: [bool; N]) -> (Plain, Self::Saved);

    /// Gradients of the inputs that need one, from the gradient of the output (contiguous).
    fn backward(&self, saved: Self::Saved, gradient: Plain, needs: [bool; N]) -> [Option<Plain>; N];
}

/// Whether fast CPU kernels can run where this tensor lies.
pub(super) fn on_cpu<const D: usize>(x: &Tensor<D>) -> bool {
    x.device() == Device::flex()
}

/// An input of a kernel, of any rank.
pub(super) struct Operand(Result<Plain, Tracked>);

impl<const D: usize> From<Tensor<D>> for Operand {
    fn from(tensor: Tensor<D>) -> Self {
        Self(if tensor.is_autodiff() {
            Err(tensor.try_into_primitive::<Autodiff<Flex>>().expect("an autodiff tensor on the CPU"))
        } else {
            Ok(tensor.try_into_primitive::<Flex>().expect("a plain tensor on the CPU"))
        })
    }
}

/// Runs a kernel. The result is tracked if any input is.
pub(super) fn apply<K: Kernel<N>, const N: usize, const D: usize>(kernel: K, inputs: [Operand; N]) -> Tensor<D> {
    if inputs.iter().all(|input| input.0.is_ok()) {
        let inputs = inputs.map(|input| contiguous(input.0.expect("all are plain")));
        let (output, _) = kernel.forward(inputs.each_ref(), [false; N]);
        return Tensor::from_primitive::<Flex>(output);
    }
    let inputs = inputs.map(|input| input.0.map_or_else(|tracked| tracked, Tracked::new));
    let needs = inputs.each_ref().map(Tracked::is_tracked);
    let nodes = inputs.each_ref().map(Tracked::node);
    let plain = inputs.map(|input| contiguous(input.into_primitive()));
    let output = match Step::<K>(std::marker::PhantomData).prepare::<NoCheckpointing>(nodes).compute_bound().stateful()
    {
        OpsKind::Tracked(prepared) => {
            let (output, saved) = kernel.forward(plain.each_ref(), needs);
            prepared.finish((kernel, saved), output)
        }
        OpsKind::UnTracked(prepared) => prepared.finish(kernel.forward(plain.each_ref(), needs).0),
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// The backward step of a kernel on burn's tape.
struct Step<K>(std::marker::PhantomData<fn() -> K>);

impl<K> std::fmt::Debug for Step<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::any::type_name::<K>())
    }
}

impl<K: Kernel<N>, const N: usize> Backward<Flex, N> for Step<K> {
    type State = (K, K::Saved);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let parents: [Option<NodeId>; N] = ops.parents.each_ref().map(|parent| parent.as_ref().map(|node| node.id));
        let (kernel, saved) = ops.state;
        let found = kernel.backward(saved, gradient, parents.map(|parent| parent.is_some()));
        for (parent, gradient) in parents.into_iter().zip(found) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent, gradient);
            }
        }
    }
}

fn contiguous(tensor: Plain) -> Plain {
    if tensor.as_slice::<f32>().is_some_and(|values| values.len() == tensor.storage::<f32>().len()) {
        tensor
    } else {
        tensor.to_contiguous()
    }
}

/// The elements of a contiguous tensor, row-major.
pub(super) fn values(tensor: &Plain) -> &[f32] {
    tensor.storage::<f32>()
}

/// Rows and columns of a matrix.
pub(super) fn dims(tensor: &Plain) -> [usize; 2] {
    let shape = tensor.layout().shape();
    [shape[0], shape[1]]
}

/// A tensor of these elements.
pub(super) fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Plain {
    Plain::from_data(TensorData::new(values, shape))
}
