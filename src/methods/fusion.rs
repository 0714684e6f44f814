//! `fusion`: an attention over the adapters of several models.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Attaching(
        run::fuse,
        super::Delta { attach: run::attach, trains: run::trains, fold: None, pack: None, head_alone: false },
    ),
};

fn signature() -> Signature {
    Signature {
        name: "fusion",
        kind: Kind::Stage,
        version: 2,
        summary: "combine the adapters of several models by an attention that the next stage trains",
        docs: "AdapterFusion (Pfeiffer et al. 2021, arXiv 2005.00247): adapters that were trained apart, one for each task, stand side by side in every layer, and an attention decides for each \
token how much of each is used: `h + sum_n s_n V z_n` with `s = softmax_n(Q u . K z_n)`, where `z_n` is what adapter n adds to `h`, and `u = LN(h + x)` what it sees. The next training stage \
trains `Q`, `K` and `V` `[d, d]` of every layer and a new head; the adapters and the model stay as they are.\n\n\
The models are results of `peft(adapter)` over one and the same model, in the `pfeiffer` style, without other deltas. Which task each was trained for does not matter: heads are left behind. \
First values are those of `adapters`: `Q` and `K` with deviation 0.02 and biases 0, `V` the identity without a bias, with 1e-6 beside its diagonal. The paper also draws `V` towards the identity by a \
penalty of 0.01; that is not done here. Learning rates: 5e-5 to 1e-4.\n\n\
The adapters are stored once, with this stage; the result of the training holds the attention and the head only. It stays beside its model, as `adapter` does.\n\n\
```ftp\npipeline inference = base -> peft(adapter) -> intermediate(task = mnli)\npipeline sentiment = base -> peft(adapter) -> finetune(target)\n\
pipeline fused     = [inference, sentiment] -> fusion -> finetune(target, learning_rate = 5e-5)\n```",
        input: &[Artifact::Models],
        output: Artifact::Parametrised,
        parameters: vec![],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::{Tensor, activation};
    use serde_json::json;

    use crate::hub::tensors::{HostTensor, Tensors};
    use crate::lang::value::Value;
    use crate::methods::adapter::{WIDTH, activation_named};
    use crate::methods::bases::Bases;
    use crate::methods::bundle::{self, Bundle};
    use crate::methods::stage::Stage;
    use crate::methods::virtual_tokens::{free_prefix, normal};
    use crate::methods::{StageFailure, beside};
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::activation::Activation;
    use crate::nn::models::layout::{Part, Role, Slot};
    use crate::nn::pass::Pass;
    use crate::plan::spec::{DeltaSpec, Outcome};

    /// Standard deviation of the first queries' and keys' maps.
    const DEVIATION: f32 = 0.02;

    /// Of the values' map, beside its diagonal of ones.
    const OFF_DIAGONAL: f32 = 1e-6;

    /// The adapters of one layer, and the attention over them.
    #[derive(Debug)]
    struct Fused {
        /// The site of each adapter, whose maps are `{site}.down` and `{site}.up`, and what is between them.
        adapters: Vec<(String, Activation)>,
        /// The maps of the attention are `{site}.query`, `.key` and `.value`.
        site: String,
    }

    impl SiteDelta for Fused {
        fn before_norm(&self, pass: &Pass, h: Tensor<2>, norm: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
            let seen = norm(h.clone()); // [N, d]
            let map = |name: &str, x| pass.linear(&format!("{}.{name}", self.site), x);
            let query = map("query", seen.clone());
            let added: Vec<Tensor<2>> = self
                .adapters
                .iter()
                .map(|(adapter, activation)| {
                    let inner = activation.apply(pass.linear(&format!("{adapter}.down"), seen.clone()));
                    pass.linear(&format!("{adapter}.up"), inner)
                })
                .collect();
            let scores = added.iter().map(|added| (query.clone() * map("key", added.clone())).sum_dim(1)).collect();
            let shares = activation::softmax(Tensor::cat(scores, 1), 1); // [N, adapters]
            let values = added.into_iter().enumerate();
            values.fold(h, |sum, (number, added)| sum + shares.clone().narrow(1, number, 1) * map("value", added))
        }
    }

    /// The adapters stay as they are.
    pub fn trains(_: &DeltaSpec, _: usize, parameter: &Slot) -> bool {
        parameter.part == Part::Delta && !parameter.name.contains(".adapter.")
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let (hidden, prefix) = (model.hidden_size(), free_prefix(model, "fusions"));
        let members: Vec<(usize, Activation)> = list(spec, "reduction_factors")
            .iter()
            .zip(list(spec, "activations"))
            .map(|(factor, activation)| {
                let factor = factor.as_int().unwrap_or(1).max(1) as usize;
                (hidden.div_ceil(factor), activation_named(activation.as_name().unwrap_or_default()))
            })
            .collect();
        let norms: Vec<String> = model.norms().map(|[_, norm]| norm.to_owned()).collect();
        for (layer, norm) in norms.into_iter().enumerate() {
            let mut adapters = vec![];
            for (number, (bottleneck, activation)) in members.iter().enumerate() {
                let site = format!("{prefix}adapter.{number}.layer.{layer}");
                for (map, shape) in [("down", [*bottleneck, hidden]), ("up", [hidden, *bottleneck])] {
                    add(model, &format!("{site}.{map}"), Role::Weight, zeros(&shape));
                    add_bias(model, &format!("{site}.{map}"), shape[0]);
                }
                adapters.push((site, *activation));
            }
            let site = format!("{prefix}layer.{layer}");
            for map in ["query", "key"] {
                let mut weight = normal(seed, &format!("{site}.{map}.weight"), [hidden, hidden]);
                weight.data.iter_mut().for_each(|value| *value *= DEVIATION);
                add(model, &format!("{site}.{map}"), Role::Weight, weight);
                add_bias(model, &format!("{site}.{map}"), hidden);
            }
            let mut value = zeros(&[hidden, hidden]);
            for (at, entry) in value.data.iter_mut().enumerate() {
                *entry = if at % (hidden + 1) == 0 { 1.0 } else { OFF_DIAGONAL };
            }
            add(model, &format!("{site}.value"), Role::Weight, value);
            model.set_delta(norm, Arc::new(Fused { adapters, site }));
        }
        Ok(())
    }

    fn list<'a>(spec: &'a DeltaSpec, name: &str) -> &'a [Value] {
        match spec.parameters.get(name) {
            Some(Value::List(values)) => values,
            _ => &[],
        }
    }

    fn zeros(shape: &[usize]) -> HostTensor {
        HostTensor { shape: shape.to_vec(), data: vec![0.0; shape.iter().product()] }
    }

    fn add(model: &mut Model, site: &str, role: Role, value: HostTensor) {
        model.add_parameter(format!("{site}.weight"), role, &value);
    }

    fn add_bias(model: &mut Model, site: &str, size: usize) {
        model.add_parameter(format!("{site}.bias"), Role::Bias, &zeros(&[size]));
    }

    /// Takes the adapters of every model together. The artifact holds them, and says that the next stage trains the attention
    /// over them.
    pub fn fuse(stage: &Stage) -> Result<Outcome, StageFailure> {
        let mut prepared = Tensors::new();
        let (mut factors, mut activations) = (vec![], vec![]);
        let mut first: Option<Bundle> = None;
        for number in 0..stage.model_count() {
            let differs = |what: &str| {
                let message = format!("model {} of the list {what}", number + 1);
                StageFailure::new("ftp::fusion::different_models", message).help(
                    "fuse results of `base -> peft(adapter) -> ..` over one and the same `base`, and of nothing else",
                )
            };
            let member = stage.model_of(number)?;
            let [spec] = &beside::of(&member.config)[..] else {
                return Err(differs("has not just one adapter beside it"));
            };
            if crate::methods::freeze::layers(spec).is_some() {
                return Err(differs("has an adapter that was kept out of some layers"));
            }
            if spec.method != "adapter" || spec.name("style") != "pfeiffer" || spec.optional_int(WIDTH).is_some() {
                return Err(differs("has another delta beside it than an adapter of the `pfeiffer` style"));
            }
            let own = |name: &str| name.strip_prefix("adapters.0.").map(|rest| rest.replace(".output.", "."));
            for (name, tensor) in &member.tensors {
                if let Some(rest) = own(name) {
                    prepared.insert(format!("fusions.0.adapter.{number}.{rest}"), tensor.clone());
                }
            }
            factors.push(Value::Int(spec.int("reduction_factor")));
            activations.push(Value::Name(spec.name("activation").to_owned()));
            match &first {
                None => first = Some(member),
                Some(first) => {
                    let encoder = bundle::encoder_names(&member.config)?;
                    if let Some(name) =
                        encoder.iter().find(|name| first.tensors.get(*name) != member.tensors.get(*name))
                    {
                        return Err(differs(&format!("is not over the model of the first, whose `{name}` differs")));
                    }
                }
            }
        }
        let origin = first.and_then(|first| first.origin).ok_or_else(|| {
            StageFailure::new("ftp::fusion::different_models", "the first model of the list is no result of the store")
        })?;
        let base = Bases::whole_below(stage.store, &origin)?;
        let parameters = [("reduction_factors", Value::List(factors)), ("activations", Value::List(activations))];
        let parameters = parameters.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let spec = DeltaSpec { method: "fusion".into(), version: stage.spec.version, parameters };
        crate::hub::write_safetensors(&stage.file(bundle::PREPARED), &prepared)?;
        let summary = json!({ bundle::ATTACHED: spec });
        Ok(Outcome { files: vec![bundle::PREPARED.into()], base: Some(base), summary, notices: vec![] })
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use indexmap::IndexMap;

    use super::super::oracle;
    use crate::lang::value::Value;
    use crate::nn::models::layout::Part;
    use crate::plan::spec::DeltaSpec;

    fn spec(adapters: usize) -> DeltaSpec {
        let repeat = |value: Value| Value::List(vec![value; adapters]);
        let parameters = IndexMap::from([
            ("reduction_factors".to_owned(), repeat(Value::Int(3))),
            ("activations".to_owned(), repeat(Value::Name("gelu".into()))),
        ]);
        DeltaSpec { method: "fusion".into(), version: 1, parameters }
    }

    /// One adapter has all the attention: with the identity for values, fusing it changes nothing.
    #[test]
    fn one_adapter_alone_computes_what_it_does_without_fusion() {
        let adapter =
            oracle::spec("adapter", &[("reduction_factor", Value::Int(3)), ("activation", Value::Name("gelu".into()))]);
        let alone = oracle::moved(&adapter);
        let mut fused = oracle::attached(&spec(1));
        for layer in 0..2 {
            for map in ["down.weight", "down.bias", "up.weight", "up.bias"] {
                let value = alone.parameters[&format!("adapters.0.layer.{layer}.output.{map}")].weight.to_host();
                oracle::set(&mut fused, &format!("fusions.0.adapter.0.layer.{layer}.{map}"), &value);
            }
        }
        oracle::assert_close(&oracle::evaluated(&fused), &oracle::evaluated(&alone), 1e-4);
    }

    /// Pfeiffer et al. 2021, section 3.2: `3 d d` for each layer, here with biases of queries and keys.
    #[test]
    fn the_attention_trains_and_the_adapters_do_not() {
        let model = oracle::attached(&spec(2));
        let trained = model.layout().count(|slot| super::run::trains(&spec(2), 2, slot));
        assert_eq!(trained, 2 * (3 * 8 * 8 + 2 * 8));
        let all = model.layout().count(|slot| slot.part == Part::Delta);
        assert_eq!(all, trained + 2 * 2 * (2 * 3 * 8 + 3 + 8));
    }

    #[test]
    fn gradients_of_the_attention_are_those_of_finite_differences() {
        oracle::has_gradients(&spec(3), 2 * 5);
    }
}
