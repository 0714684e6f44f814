pub mod tensors;
