//! `prompt`: trained embeddings before every text.

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
        name: "prompt",
        kind: Kind::Delta,
        version: 1,
        summary: "train virtual tokens before every text",
        docs: "Prompt tuning (Lester et al. 2021, arXiv 2104.08691): `num_virtual_tokens` embeddings `[P, d]` train and stand before the word embeddings of every text; the \
model stays as it is. They are `P d` numbers: 15,360 for BERT-base and 20 tokens, 0.01 % of the model. Learning rates are far higher than for full fine-tuning: the paper's is \
0.3, for BERT 1e-2 to 3e-2 is a place to begin. Small models gain less than large ones: there `prefix` and `lora` are stronger.\n\n\
Virtual tokens have positions and belong to the first text, as `peft` has it: the longest text is shorter by so many tokens, and a classification head reads the first virtual \
token where it read the first token. In a packed batch they are rows of their own at each text's start.\n\n\
No weights of the usual shape compute the same, so the prompt stays beside its model, as with `adapter`: stored as a delta, used by later stages and evaluations; `publish` \
writes it `as adapter`, for `peft`. `last_layers` can't follow.\n\n\
```ftp\npipeline small = base -> peft(prompt, num_virtual_tokens = 20) -> finetune(target, learning_rate = 2e-2)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![
            super::parameters::virtual_tokens(),
            Parameter::optional(
                "prompt_tuning_init",
                ParameterType::Choice(&["sample_vocab", "random"]),
                Value::Name("sample_vocab".into()),
                "First values: word embeddings of tokens drawn from the vocabulary, better in the paper than random ones, or draws from N(0, 1), the default of `peft`.",
            ),
        ],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// What `peft` calls prompt tuning.
fn saved_as(_: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    Ok(Library::Peft)
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::hub::tensors::HostTensor;
    use crate::methods::StageFailure;
    use crate::methods::virtual_tokens::{free_prefix, normal};
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::Role;
    use crate::nn::pass::{Pass, site_index};
    use crate::plan::spec::DeltaSpec;
    use crate::random::Key;

    /// The name of its parameter.
    #[derive(Debug)]
    struct Prompt(String);

    impl SiteDelta for Prompt {
        fn tokens(&self, pass: &Pass) -> Option<Tensor<2>> {
            Some(pass.matrix(&self.0))
        }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let tokens = spec.int("num_virtual_tokens") as usize;
        model.add_tokens(tokens)?;
        let (site, hidden) = (model.word_embeddings().to_owned(), model.hidden_size());
        let name = format!("{}embedding.weight", free_prefix(model, "prompts"));
        let value = match spec.name("prompt_tuning_init") {
            "random" => normal(seed, &name, [tokens, hidden]),
            _ => {
                let words = model.parameters[&format!("{site}.weight")].weight.to_host();
                let (key, rows) = (Key::new(seed, "init").at(site_index(&name)), words.shape[0] as u32);
                let row = |token: u64| key.below(token, rows) as usize * hidden;
                let data = (0..tokens as u64).flat_map(|token| words.data[row(token)..][..hidden].to_vec());
                HostTensor { shape: vec![tokens, hidden], data: data.collect() }
            }
        };
        model.add_parameter(name.clone(), Role::Weight, &value);
        model.set_delta(site, Arc::new(Prompt(name)));
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{DeltaSpec, oracle};
    use super::*;
    use crate::nn::models::layout::Part;

    fn spec(init: &str) -> DeltaSpec {
        let init = ("prompt_tuning_init", Value::Name(init.into()));
        oracle::spec("prompt", &[("num_virtual_tokens", Value::Int(3)), init])
    }

    /// Lester et al. 2021, section 2: `P e` parameters.
    #[test]
    fn as_many_numbers_train_as_tokens_have() {
        let model = oracle::attached(&spec("random"));
        assert_eq!(model.layout().count(|slot| slot.part == Part::Delta), 3 * 8);
        assert_eq!(model.max_tokens(), 16 - 3);
    }

    #[test]
    fn sampled_tokens_begin_as_rows_of_the_word_embeddings() {
        let model = oracle::attached(&spec("sample_vocab"));
        let words = model.parameters["bert.embeddings.word_embeddings.weight"].weight.to_host();
        let prompt = model.parameters["prompts.0.embedding.weight"].weight.to_host();
        assert!(prompt.data.chunks(8).all(|token| words.data.chunks(8).any(|word| word == token)));
    }

    #[test]
    fn more_tokens_than_positions_are_an_error() {
        let many = oracle::spec("prompt", &[("num_virtual_tokens", Value::Int(10))]);
        let error = run::attach(&many, &mut oracle::model(), 0).unwrap_err();
        assert_eq!(error.code, "ftp::model::no_positions");
        assert!(error.message.contains("16 positions"), "{}", error.message);
    }

    #[test]
    fn gradients_of_the_tokens_are_those_of_finite_differences() {
        oracle::has_gradients(&spec("random"), 1);
    }

    #[test]
    fn training_the_tokens_learns_more_than_the_head_alone() {
        let tokens = ("num_virtual_tokens", Value::Int(6));
        oracle::learns_to(&oracle::spec("prompt", &[tokens]), 2e-2, 0.95);
    }
}
