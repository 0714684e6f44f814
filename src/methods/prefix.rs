//! `prefix`: trained keys and values before those of every text, in every layer.

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
        name: "prefix",
        kind: Kind::Delta,
        version: 2,
        summary: "train keys and values before every text, in every layer",
        docs: "Prefix tuning (Li & Liang 2021, arXiv 2101.00190), for understanding tasks P-tuning v2 (Liu et al. 2021, arXiv 2110.07602): in every layer `num_virtual_tokens` keys \
and values train, and every text's queries see them before its own: `softmax(q [P_k; k]^T) [P_v; v]`. The model stays as it is. They are `2 L P d` numbers: 368,640 for BERT-base \
and 20 tokens, 0.3 % of the model. Learning rates: 5e-3 to 2e-2, with `prefix_projection` 1e-4 to 1e-3.\n\n\
`prefix_projection = true` makes them of embeddings `E` `[P, d]` in training, `W_2 tanh(W_1 E)`, as Li & Liang found more stable and P-tuning v2 did not need: `W_2` maps to all \
layers' keys and values. The result holds that network too.\n\n\
First values are those of `peft`: N(0, 1), maps uniform in +-1 / sqrt(in). As there, and in `transformers` behind a cache, a text's positions begin after the virtual tokens, so the \
longest text is shorter by as many. In a packed batch the keys and values are put before each text's own; queries stay as they are.\n\n\
The prefix stays beside its model, as with `adapter`; `publish` writes it `as adapter`, for `peft`.\n\n\
```ftp\npipeline small = base -> peft(prefix, num_virtual_tokens = 20) -> finetune(target, learning_rate = 1e-2)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![
            super::parameters::virtual_tokens(),
            Parameter::optional(
                "prefix_projection",
                ParameterType::Bool,
                Value::Bool(false),
                "Make the keys and values through a network that all layers share in part.",
            ),
            Parameter::optional(
                "encoder_hidden_size",
                ParameterType::Int { min: 1, max: 65_536 },
                Value::None,
                "Width of that network's inner layer; by default the model's hidden size.",
            ),
        ],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// What `peft` calls prefix tuning.
fn saved_as(_: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    Ok(Library::Peft)
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::methods::StageFailure;
    use crate::methods::virtual_tokens::{add_linear, free_prefix, normal};
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::Role;
    use crate::nn::pass::Pass;
    use crate::plan::spec::DeltaSpec;

    /// The keys and values of one layer.
    #[derive(Debug)]
    struct Own {
        key: String,
        value: String,
    }

    impl SiteDelta for Own {
        fn keys_and_values(&self, pass: &Pass) -> Option<(Tensor<2>, Tensor<2>)> {
            Some((pass.matrix(&self.key), pass.matrix(&self.value)))
        }
    }

    /// The keys and values of one layer, made of embeddings by two maps; the first is the same for all layers.
    #[derive(Debug)]
    struct Projected {
        embedding: String,
        first: String,
        key: String,
        value: String,
    }

    impl SiteDelta for Projected {
        fn keys_and_values(&self, pass: &Pass) -> Option<(Tensor<2>, Tensor<2>)> {
            let inner = pass.linear(&self.first, pass.matrix(&self.embedding)).tanh(); // [P, encoder_hidden_size]
            Some((pass.linear(&self.key, inner.clone()), pass.linear(&self.value, inner)))
        }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let (tokens, projected) = (spec.int("num_virtual_tokens") as usize, spec.bool("prefix_projection"));
        model.skip_positions(tokens)?;
        let hidden = model.hidden_size();
        let inner = spec.optional_int("encoder_hidden_size").map_or(hidden, |inner| inner as usize);
        let prefix = free_prefix(model, "prefixes");
        let (embedding, first) = (format!("{prefix}embedding.weight"), format!("{prefix}transform.0"));
        if projected {
            model.add_parameter(embedding.clone(), Role::Weight, &normal(seed, &embedding, [tokens, hidden]));
            add_linear(model, seed, &first, [inner, hidden]);
        }
        let sites: Vec<String> = model.attentions().map(str::to_owned).collect();
        for (layer, site) in sites.into_iter().enumerate() {
            let [key, value] = ["key", "value"].map(|kind| format!("{prefix}layer.{layer}.{kind}"));
            for name in [&key, &value] {
                match projected {
                    true => add_linear(model, seed, name, [hidden, inner]),
                    false => model.add_parameter(name.clone(), Role::Weight, &normal(seed, name, [tokens, hidden])),
                }
            }
            let delta: Arc<dyn SiteDelta> = match projected {
                true => Arc::new(Projected { embedding: embedding.clone(), first: first.clone(), key, value }),
                false => Arc::new(Own { key, value }),
            };
            model.set_delta(site, delta);
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{DeltaSpec, oracle};
    use super::*;
    use crate::nn::models::layout::Part;

    fn spec(projected: bool) -> DeltaSpec {
        let projection = ("prefix_projection", Value::Bool(projected));
        let tokens = ("num_virtual_tokens", Value::Int(3));
        oracle::spec("prefix", &[tokens, projection, ("encoder_hidden_size", Value::Int(5))])
    }

    /// Li & Liang 2021, section 4.2: a prefix of P has `P dim(h)` parameters, `h` all layers' keys and values.
    #[test]
    fn as_many_numbers_train_as_the_paper_counts() {
        let count = |projected| oracle::attached(&spec(projected)).layout().count(|slot| slot.part == Part::Delta);
        assert_eq!(count(false), 2 * 2 * 3 * 8);
        assert_eq!(count(true), 3 * 8 + (5 * 8 + 5) + 2 * 2 * (8 * 5 + 8));
        assert_eq!(oracle::attached(&spec(false)).max_tokens(), 16 - 3);
    }

    /// Keys far from every query, with values that would show: the softmax gives them nothing. Only the positions differ.
    #[test]
    fn keys_that_no_query_is_near_change_nothing_but_the_positions() {
        let far = |fill: f32| {
            let mut model = oracle::attached(&spec(false));
            let names: Vec<String> = model.parameters.keys().filter(|name| name.ends_with(".value")).cloned().collect();
            for name in names {
                let mut value = model.parameters[&name].weight.to_host();
                value.data.fill(fill);
                oracle::set(&mut model, &name, &value);
                // Each query's product with its own negative, a thousand times, is far below all others.
                let key = name.replace(".value", ".key");
                let (layer, mut keys) = (name.split('.').nth(3).unwrap().to_owned(), value.clone());
                let bias_name = format!("bert.encoder.layer.{layer}.attention.self.query.bias");
                let mut bias = model.parameters[&bias_name].weight.to_host();
                bias.data.fill(30.0);
                keys.data.fill(-100.0);
                oracle::set(&mut model, &bias_name, &bias);
                oracle::set(&mut model, &key, &keys);
            }
            oracle::evaluated(&model)
        };
        oracle::assert_close(&far(0.0), &far(50.0), 1e-5);
    }

    #[test]
    fn gradients_of_keys_and_values_are_those_of_finite_differences() {
        oracle::has_gradients(&spec(false), 2 * 2);
        oracle::has_gradients(&spec(true), 1 + 2 + 2 * 2 * 2);
    }

    #[test]
    fn training_keys_and_values_learns_more_than_the_head_alone() {
        for (projected, rate) in [(false, 0.1), (true, 0.03)] {
            let projection = ("prefix_projection", Value::Bool(projected));
            oracle::learns(&oracle::spec("prefix", &[("num_virtual_tokens", Value::Int(6)), projection]), rate);
        }
    }
}
