//! Activations between the two linear maps of a feed-forward block, named as in `config.json`.

use burn::tensor::{Tensor, activation};

use super::error::ModelError;
use super::settings::Settings;
use crate::nn::ops;

/// `hidden_act`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// `x Phi(x)` (Hendrycks & Gimpel 2016), the erf form.
    Gelu,
    /// Its approximation by tanh.
    GeluTanh,
    Relu,
    Silu,
}

impl Activation {
    pub(super) fn read(settings: &Settings, keys: &[&'static str]) -> Result<Self, ModelError> {
        Ok(match settings.text(keys, "gelu")? {
            "gelu" | "gelu_python" => Self::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_python_tanh" | "gelu_fast" => Self::GeluTanh,
            "relu" => Self::Relu,
            "silu" | "swish" => Self::Silu,
            other => {
                return Err(ModelError::UnsupportedSetting {
                    key: keys[0].into(),
                    value: other.into(),
                    help: "supported: gelu, gelu_new, gelu_pytorch_tanh, gelu_fast, relu, silu".into(),
                });
            }
        })
    }

    /// Element by element. x `[T, d]` -> `[T, d]`.
    pub fn apply(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Gelu => ops::gelu(x),
            Self::GeluTanh => activation::gelu_approximate(x),
            Self::Relu => activation::relu(x),
            Self::Silu => activation::silu(x),
        }
    }
}
