//! `invertible`: a reversible change of the embeddings, undone before words are predicted.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Library, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::virtual_tokens::delta(run::attach)),
};

fn signature() -> Signature {
    Signature {
        name: "invertible",
        kind: Kind::Delta,
        version: 1,
        summary: "train a reversible change of the embeddings, for another language",
        docs: "The invertible adapter of MAD-X (Pfeiffer et al. 2020, arXiv 2005.00052, section 3.2.2), which lets a model read words of a language its embeddings were not made for. \
The states that enter the layers are cut into halves, `y1 = x1 + F(x2)` and `y2 = x2 + G(y1)`; before the masked-language-model head predicts words, the same is undone: \
`x2 = y2 - G(y1)`, `x1 = y1 - F(x2)`. `F` and `G` are bottlenecks of width `d / 2 / reduction_factor`, `W_up relu(W_down x + b) + b`: NICE (Dinh et al. 2015, arXiv 1410.8516).\n\n\
It belongs to a language adapter, trained on text: `peft(stack(adapter(reduction_factor = 2), invertible)) -> adapt(text)`. A task adapter is then trained over it, and `swap` puts another \
language's adapters in its place. First values are those of `adapters`: deviation 0.02, biases 0. It stays beside its model, as `adapter` does.\n\n\
```ftp\nlet english = base -> peft(stack(adapter(reduction_factor = 2), invertible)) -> adapt(domain, learning_rate = 1e-4)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![
            Parameter::optional(
                "reduction_factor",
                ParameterType::Int { min: 1, max: 4096 },
                Value::Int(2),
                "Half the hidden size divided by the bottlenecks': 2 makes 192 of 768.",
            ),
            Parameter::optional(
                "activation",
                ParameterType::Choice(&["relu", "gelu", "swish"]),
                Value::Name("relu".into()),
                "Between the two maps of a bottleneck.",
            ),
        ],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// The `inv_adapter` of `adapters`, which calls it NICE.
fn saved_as(_: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    Ok(Library::Adapters)
}

#[cfg(feature = "train")]
pub(super) use run::WIDTH;

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::hub::tensors::HostTensor;
    use crate::methods::StageFailure;
    use crate::methods::adapter::activation;
    use crate::methods::virtual_tokens::{free_prefix, normal};
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::activation::Activation;
    use crate::nn::models::layout::Role;
    use crate::nn::pass::Pass;
    use crate::plan::spec::DeltaSpec;

    /// Of a delta that was made elsewhere, in place of `reduction_factor` where no factor gives it: the bottlenecks' width.
    pub const WIDTH: &str = "width";

    /// Standard deviation of first weights.
    const DEVIATION: f32 = 0.02;

    /// The maps are `{prefix}{f,g}.{down,up}`.
    #[derive(Debug, Clone)]
    struct Nice {
        prefix: String,
        activation: Activation,
    }

    impl Nice {
        fn bottleneck(&self, pass: &Pass, which: &str, x: Tensor<2>) -> Tensor<2> {
            let inner = self.activation.apply(pass.linear(&format!("{}{which}.down", self.prefix), x));
            pass.linear(&format!("{}{which}.up", self.prefix), inner)
        }

        pub fn forward(&self, pass: &Pass, x: Tensor<2>) -> Tensor<2> {
            let [x1, x2] = halves(x);
            let y1 = x1 + self.bottleneck(pass, "f", x2.clone());
            let y2 = x2 + self.bottleneck(pass, "g", y1.clone());
            Tensor::cat(vec![y1, y2], 1)
        }

        pub fn inverse(&self, pass: &Pass, y: Tensor<2>) -> Tensor<2> {
            let [y1, y2] = halves(y);
            let x2 = y2 - self.bottleneck(pass, "g", y1.clone());
            let x1 = y1 - self.bottleneck(pass, "f", x2.clone());
            Tensor::cat(vec![x1, x2], 1)
        }
    }

    /// `[N, d]` -> twice `[N, d / 2]`.
    fn halves(x: Tensor<2>) -> [Tensor<2>; 2] {
        let half = x.dims()[1] / 2;
        [x.clone().narrow(1, 0, half), x.narrow(1, half, half)]
    }

    /// Where states enter the layers.
    #[derive(Debug)]
    struct Forward(Nice);

    impl SiteDelta for Forward {
        fn input(&self, pass: &Pass, _: &str, x: Tensor<2>) -> Tensor<2> {
            self.0.forward(pass, x)
        }
    }

    /// At the map onto the vocabulary.
    #[derive(Debug)]
    struct Inverse(Nice);

    impl SiteDelta for Inverse {
        fn input(&self, pass: &Pass, _: &str, y: Tensor<2>) -> Tensor<2> {
            self.0.inverse(pass, y)
        }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let hidden = model.hidden_size();
        if !hidden.is_multiple_of(2) {
            let message = format!("states of {hidden} numbers can't be cut into halves");
            return Err(StageFailure::new("ftp::peft::odd_size", message).help("leave `invertible` out for this model"));
        }
        let (half, prefix) = (hidden / 2, free_prefix(model, "invertibles"));
        let width = spec.optional_int(WIDTH).map(|width| width as usize);
        let bottleneck = width.unwrap_or_else(|| half.div_ceil(spec.int("reduction_factor") as usize));
        for which in ["f", "g"] {
            for (map, shape) in [("down", [bottleneck, half]), ("up", [half, bottleneck])] {
                let name = format!("{prefix}{which}.{map}.weight");
                let mut weight = normal(seed, &name, shape);
                weight.data.iter_mut().for_each(|value| *value *= DEVIATION);
                model.add_parameter(name, Role::Weight, &weight);
                let zeros = HostTensor { shape: vec![shape[0]], data: vec![0.0; shape[0]] };
                model.add_parameter(format!("{prefix}{which}.{map}.bias"), Role::Bias, &zeros);
            }
        }
        let nice = Nice { prefix, activation: activation(spec) };
        let (entrance, decoder) = (model.entrance().to_owned(), model.decoder().to_owned());
        model.set_delta(entrance, Arc::new(Forward(nice.clone())));
        model.set_delta(decoder, Arc::new(Inverse(nice)));
        Ok(())
    }

    #[cfg(test)]
    pub fn there_and_back(model: &Model, x: Tensor<2>) -> [Tensor<2>; 2] {
        let nice = Nice { prefix: "invertibles.0.".into(), activation: Activation::Gelu };
        let pass = model.evaluating_pass();
        let y = nice.forward(&pass, x);
        [y.clone(), nice.inverse(&pass, y)]
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{DeltaSpec, oracle};
    use super::*;
    use crate::nn::models::layout::Part;
    use crate::nn::parameters::Weight;

    fn spec() -> DeltaSpec {
        oracle::spec("invertible", &[("activation", Value::Name("gelu".into()))])
    }

    /// Pfeiffer et al. 2020, appendix: two bottlenecks of `d / 4` between halves. Here d = 8.
    #[test]
    fn as_many_parameters_train_as_two_bottlenecks_have() {
        let model = oracle::attached(&spec());
        let count = model.layout().count(|slot| slot.part == Part::Delta);
        assert_eq!(count, 2 * (2 * 4 + 2 + 4 * 2 + 4));
    }

    #[test]
    fn the_inverse_gives_back_what_went_in() {
        let model = oracle::moved(&spec());
        let words = model.parameters["bert.embeddings.word_embeddings.weight"].weight.clone();
        let Weight::Matrix(x) = words else { unreachable!("a matrix") };
        let [there, back] = run::there_and_back(&model, x.clone());
        let [x, there, back] = [x, there, back].map(|x| Weight::Matrix(x).to_host().data);
        oracle::assert_close(&back, &x, 1e-5);
        assert!(there.iter().zip(&x).any(|(there, x)| (there - x).abs() > 0.1));
    }

    #[test]
    fn gradients_of_the_bottlenecks_are_those_of_finite_differences() {
        oracle::has_gradients(&spec(), 8);
    }

    /// The same through the masked-language-model head, where the inverse acts.
    #[test]
    fn gradients_through_the_inverse_are_those_of_finite_differences() {
        oracle::has_word_gradients(&spec(), 8);
    }

    #[test]
    fn training_the_bottlenecks_learns_more_than_the_head_alone() {
        oracle::learns_to(&spec(), 5e-2, 0.9);
    }
}
