//! The seam to burn: a [`Kernel`] works on host arrays; [`apply`] runs it on tensors and enters its backward into
//! burn's tape.

use std::fmt::Debug;
use std::marker::PhantomData;

use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, DispatchDevice, Flex};
use burn::tensor::{Bytes, DType, Shape, Tensor};

/// An array in host memory. Kernels only ever see contiguous ones.
pub type Array = FlexTensor;

/// An array that may have a place in burn's tape.
type Variable = FloatTensor<Autodiff<Flex>>;

/// An operation on host arrays with its derivative. Optional inputs come last and may be left out.
pub trait Kernel: Debug + Clone + Send + 'static {
    /// What the forward keeps for the backward.
    type Saved: Debug + Clone + Send + 'static;

    /// The result, and what the backward needs to give gradients of the `tracked` inputs (nothing when none is).
    fn forward(&self, inputs: Vec<Array>, tracked: &[bool]) -> (Array, Self::Saved);

    /// Gradients with respect to the `needed` inputs, in the order of the inputs.
    fn backward(&self, saved: Self::Saved, gradient: Array, needed: &[bool]) -> Vec<Option<Array>>;
}

/// One input of a kernel: a tensor of any rank, on autodiff or not.
pub enum Input {
    Plain(Array),
    Autodiff(Variable),
}

impl<const D: usize> From<Tensor<D>> for Input {
    fn from(tensor: Tensor<D>) -> Self {
        if tensor.device().is_autodiff() {
            match tensor.try_into_primitive::<Autodiff<Flex>>() {
                Ok(tensor) => Self::Autodiff(tensor),
                Err(error) => panic!("an op of the CPU was given another device's tensor: {error:?}"),
            }
        } else {
            Self::Plain(plain(tensor))
        }
    }
}

/// Whether a tensor is one that kernels can work on: 32-bit floats in host memory.
pub fn on_host<const D: usize>(tensor: &Tensor<D>) -> bool {
    #[allow(unreachable_patterns)] // Flex is the only device of a build without `cuda`.
    match tensor.device().without_autodiff().as_dispatch() {
        DispatchDevice::Flex(_) => tensor.dtype() == DType::F32,
        _ => false,
    }
}

/// The array of a tensor that is not on autodiff.
pub fn plain<const D: usize>(tensor: Tensor<D>) -> Array {
    match tensor.try_into_primitive::<Flex>() {
        Ok(array) => contiguous(array),
        Err(error) => panic!("an op of the CPU was given another device's tensor: {error:?}"),
    }
}

/// A tensor, not on autodiff, of an array.
pub fn tensor<const D: usize>(array: Array) -> Tensor<D> {
    Tensor::from_primitive::<Flex>(array)
}

/// Runs a kernel. The result is on autodiff if any input is; only tracked inputs cost anything.
pub fn apply<K: Kernel, const N: usize, const D: usize>(kernel: K, inputs: [Input; N]) -> Tensor<D> {
    let tracked = inputs.each_ref().map(|input| matches!(input, Input::Autodiff(tensor) if tensor.is_tracked()));
    if inputs.iter().all(|input| matches!(input, Input::Plain(_))) {
        let arrays = inputs.into_iter().map(|input| match input {
            Input::Plain(array) => array,
            Input::Autodiff(tensor) => tensor.into_primitive(),
        });
        let (output, _) = kernel.forward(arrays.collect(), &tracked);
        return tensor(output);
    }

    let mut arrays = Vec::with_capacity(N);
    let nodes = inputs.map(|input| {
        let (array, node) = match input {
            Input::Plain(array) => Variable::new(array),
            Input::Autodiff(tensor) => tensor,
        }
        .into_parts();
        arrays.push(contiguous(array));
        node
    });
    let (output, saved) = kernel.forward(arrays, &tracked);
    let output = if tracked.contains(&true) {
        match Step::<K, N>(PhantomData).prepare::<NoCheckpointing>(nodes).compute_bound().stateful() {
            OpsKind::Tracked(step) => step.finish((kernel, saved), output),
            OpsKind::UnTracked(step) => step.finish(output),
        }
    } else {
        // Nothing to differentiate: a fresh constant leaves no trace in the tape.
        Variable::new(output)
    };
    Tensor::from_primitive::<Autodiff<Flex>>(output)
}

/// A kernel's place in the tape.
#[derive(Debug)]
struct Step<K, const N: usize>(PhantomData<K>);

impl<K: Kernel, const N: usize> Backward<Flex, N> for Step<K, N> {
    type State = (K, K::Saved);

    fn backward(self, ops: Ops<Self::State, N>, gradients: &mut Gradients, _: &mut Checkpointer) {
        let gradient = contiguous(gradients.consume::<Flex>(&ops.node));
        let needed = ops.parents.each_ref().map(Option::is_some);
        let (kernel, saved) = ops.state;
        for (parent, gradient) in ops.parents.into_iter().zip(kernel.backward(saved, gradient, &needed)) {
            if let (Some(parent), Some(gradient)) = (parent, gradient) {
                gradients.register::<Flex>(parent.id, gradient);
            }
        }
    }
}

/// An array of computed values.
pub fn array<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Array {
    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
    Array::new(Bytes::from_elems(values), Layout::contiguous(Shape::from(shape)), DType::F32)
}

/// Memory for `count` values, for kernels that write every one of them: filling it with zeros first would be one thread's
/// work.
pub fn space(count: usize) -> Vec<f32> {
    let mut values = Vec::with_capacity(count);
    // SAFETY: the capacity was just asked for; every pattern of bits is a float, and the callers read none before they
    // have written it.
    #[allow(clippy::uninit_vec)]
    unsafe {
        values.set_len(count);
    }
    values
}

/// The values of a contiguous array.
pub fn values(array: &Array) -> &[f32] {
    array.as_slice().expect("kernels see contiguous arrays of 32-bit floats")
}

/// The values of a contiguous array, to overwrite; copied first if someone else holds them too.
pub fn values_mut(array: &mut Array) -> &mut [f32] {
    array.storage_mut()
}

/// The lengths of the two axes of a matrix.
pub fn rows_columns(array: &Array) -> (usize, usize) {
    match array.layout().shape().as_slice() {
        [rows, columns] => (*rows, *columns),
        shape => panic!("expected a matrix, got an array of shape {shape:?}"),
    }
}

/// The array itself when its values fill its whole buffer in order, else a copy that does.
fn contiguous(array: Array) -> Array {
    let size = array.layout().num_elements() * size_of::<f32>();
    if array.is_contiguous() && array.layout().start_offset() == 0 && array.bytes().len() == size {
        array
    } else {
        array.to_contiguous()
    }
}
