//! `p_tuning`: virtual tokens that a small network makes.

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
        name: "p_tuning",
        kind: Kind::Delta,
        version: 1,
        summary: "train virtual tokens through an encoder of their own",
        docs: "P-tuning (Liu et al. 2021, arXiv 2103.10385): as `prompt`, virtual tokens stand before every text, but a small network makes them of trained embeddings `E` \
`[P, d]`, which ties them together: `W_3 relu(W_2 relu(W_1 E))`, two layers of `encoder_hidden_size`, each map with a bias. That is the `MLP` encoder of `peft`, its default; the \
paper's LSTM is not there. Learning rates: 1e-4 to 1e-3.\n\n\
First values are those of `peft`: embeddings from N(0, 1), maps uniform in +-1 / sqrt(in). Where the tokens stand, what the head reads and how the result is kept is told \
under `prompt`. The result holds the encoder too, so that a later stage can go on training it.\n\n\
```ftp\npipeline small = base -> peft(p_tuning, num_virtual_tokens = 20) -> finetune(target, learning_rate = 5e-4)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![
            super::parameters::virtual_tokens(),
            Parameter::optional(
                "encoder_hidden_size",
                ParameterType::Int { min: 1, max: 65_536 },
                Value::None,
                "Width of the encoder's inner layers; by default the model's hidden size.",
            ),
        ],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// What `peft` calls P-tuning.
fn saved_as(_: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    Ok(Library::Peft)
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::{Tensor, activation};

    use crate::methods::StageFailure;
    use crate::methods::virtual_tokens::{add_linear, free_prefix, normal};
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::Role;
    use crate::nn::pass::Pass;
    use crate::plan::spec::DeltaSpec;

    /// The network's parameters are `{0}embedding.weight` and those of the maps `{0}mlp_head.{0,2,4}`.
    #[derive(Debug)]
    struct Encoder(String);

    impl SiteDelta for Encoder {
        fn tokens(&self, pass: &Pass) -> Option<Tensor<2>> {
            let map = |number: usize, x| pass.linear(&format!("{}mlp_head.{number}", self.0), x);
            let embedding = pass.matrix(&format!("{}embedding.weight", self.0));
            let inner = activation::relu(map(0, embedding)); // [P, encoder_hidden_size]
            Some(map(4, activation::relu(map(2, inner))))
        }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let tokens = spec.int("num_virtual_tokens") as usize;
        model.add_tokens(tokens)?;
        let hidden = model.hidden_size();
        let inner = spec.optional_int("encoder_hidden_size").map_or(hidden, |inner| inner as usize);
        let prefix = free_prefix(model, "prompts");
        let name = format!("{prefix}embedding.weight");
        let embedding = normal(seed, &name, [tokens, hidden]);
        model.add_parameter(name, Role::Weight, &embedding);
        for (map, shape) in [(0, [inner, hidden]), (2, [inner, inner]), (4, [hidden, inner])] {
            add_linear(model, seed, &format!("{prefix}mlp_head.{map}"), shape);
        }
        model.set_delta(model.word_embeddings().to_owned(), Arc::new(Encoder(prefix)));
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{DeltaSpec, oracle};
    use super::*;
    use crate::nn::models::layout::Part;

    fn spec() -> DeltaSpec {
        let inner = ("encoder_hidden_size", Value::Int(5));
        oracle::spec("p_tuning", &[("num_virtual_tokens", Value::Int(3)), inner])
    }

    #[test]
    fn the_embeddings_and_three_maps_train() {
        let model = oracle::attached(&spec());
        let count = model.layout().count(|slot| slot.part == Part::Delta);
        assert_eq!(count, 3 * 8 + (5 * 8 + 5) + (5 * 5 + 5) + (8 * 5 + 8));
        let whole = oracle::attached(&oracle::spec("p_tuning", &[("num_virtual_tokens", Value::Int(3))]));
        assert_eq!(whole.parameters["prompts.0.mlp_head.2.weight"].weight.shape(), [8, 8]);
    }

    #[test]
    fn gradients_of_the_encoder_are_those_of_finite_differences() {
        oracle::has_gradients(&spec(), 7);
    }

    #[test]
    fn training_the_encoder_learns_more_than_the_head_alone() {
        let tokens = ("num_virtual_tokens", Value::Int(6));
        oracle::learns_to(&oracle::spec("p_tuning", &[tokens]), 3e-2, 0.95);
    }
}
