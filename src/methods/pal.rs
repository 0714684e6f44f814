//! `pal`: a small attention beside every layer.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::virtual_tokens::delta(run::attach)),
};

fn signature() -> Signature {
    Signature {
        name: "pal",
        kind: Kind::Delta,
        version: 2,
        summary: "train a small attention beside every layer",
        docs: "Projected attention layers (Stickland & Murray 2019, arXiv 1902.02671): beside every layer a narrow multi-head attention sees what the layer sees, and is added before \
the norm that ends it: `LN(a + FFN(a) + TS(x))` with `TS(x) = gelu(V_D MHA(V_E x))`, x the layer's input and a its attention block's output. `V_E` `[m, d]` and `V_D` `[d, m]` are the \
same in all layers, queries, keys and values `[m, m]` are each layer's own, and there is no output map inside. All have biases. With `m = 204` that is 1.8 million numbers for BERT-base, \
1.7 % of the model.\n\n\
The paper trains the model along with one set of these for each of several tasks; here the model stays as it is and one set trains, for one task. To train the model too, leave a \
`finetune(..)` without `peft` behind it. `V_D` starts at 0, so training starts from the pretrained model; the other maps start with deviation 0.02. Learning rates: 1e-4 to 1e-3.\n\n\
The layers stay beside their model, as with `adapter`; `publish` refuses them.\n\n\
```ftp\npipeline small = base -> peft(pal, hidden_size_aug = 204) -> finetune(target, learning_rate = 5e-4)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![
            Parameter::optional(
                "hidden_size_aug",
                ParameterType::Int { min: 1, max: 65_536 },
                Value::Int(204),
                "Width of the small attention, `m`; the heads divide it.",
            ),
            Parameter::optional(
                "num_attention_heads",
                ParameterType::Int { min: 1, max: 1024 },
                Value::Int(12),
                "Heads of the small attention.",
            ),
        ],
        reports: false,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::data::batch::Tokens;
    use crate::hub::tensors::HostTensor;
    use crate::methods::StageFailure;
    use crate::methods::virtual_tokens::free_prefix;
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::layout::Role;
    use crate::nn::ops::{self, Bounds};
    use crate::nn::pass::{Pass, site_index};
    use crate::plan::spec::DeltaSpec;
    use crate::random::Key;

    /// Standard deviation of first weights, as the paper's code draws them.
    const DEVIATION: f32 = 0.02;

    /// The small attention of one layer. Its maps are `{layer}.query`, `.key` and `.value`, the shared ones `{prefix}encode`
    /// and `{prefix}decode`.
    #[derive(Debug)]
    struct Projected {
        prefix: String,
        layer: String,
        heads: usize,
        dropout: f32,
    }

    impl SiteDelta for Projected {
        fn beside_layer(
            &self,
            pass: &Pass,
            x: Tensor<2>,
            wanted: Option<&Tokens>,
            bounds: Bounds,
        ) -> Option<Tensor<2>> {
            let map = |name: &str, x| pass.linear(&format!("{}.{name}", self.layer), x);
            let narrow = pass.linear(&format!("{}encode", self.prefix), x); // [T, m]
            let (key, value) = (map("key", narrow.clone()), map("value", narrow.clone()));
            let seen = match wanted {
                None => narrow,
                Some(tokens) => ops::gather(narrow, tokens.rows.clone()),
            };
            let mixed = pass.attention(&self.layer, map("query", seen), key, value, self.heads, bounds, self.dropout);
            Some(ops::gelu(pass.linear(&format!("{}decode", self.prefix), mixed))) // [N, d]
        }
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let (width, heads) = (spec.int("hidden_size_aug") as usize, spec.int("num_attention_heads") as usize);
        if !width.is_multiple_of(heads) {
            let message = format!("{heads} heads do not divide an attention of width {width}");
            return Err(StageFailure::new("ftp::peft::heads", message)
                .help("change `num_attention_heads`, or make `hidden_size_aug` a multiple of it"));
        }
        let (hidden, prefix) = (model.hidden_size(), free_prefix(model, "pals"));
        add(model, seed, &format!("{prefix}encode"), [width, hidden], DEVIATION);
        add(model, seed, &format!("{prefix}decode"), [hidden, width], 0.0);
        let dropout = model.attention_dropout();
        let norms: Vec<String> = model.norms().map(|[_, norm]| norm.to_owned()).collect();
        for (number, norm) in norms.into_iter().enumerate() {
            let layer = format!("{prefix}layer.{number}");
            for map in ["query", "key", "value"] {
                add(model, seed, &format!("{layer}.{map}"), [width, width], DEVIATION);
            }
            model.set_delta(norm, Arc::new(Projected { prefix: prefix.clone(), layer, heads, dropout }));
        }
        Ok(())
    }

    /// Adds `{site}.weight` `[outputs, inputs]` of this deviation and `{site}.bias`, zero.
    fn add(model: &mut Model, seed: u64, site: &str, [outputs, inputs]: [usize; 2], deviation: f32) {
        let name = format!("{site}.weight");
        let key = Key::new(seed, "init").at(site_index(&name));
        let data = (0..(outputs * inputs) as u64).map(|at| deviation * key.normal(at)).collect();
        model.add_parameter(name, Role::Weight, &HostTensor { shape: vec![outputs, inputs], data });
        let zeros = HostTensor { shape: vec![outputs], data: vec![0.0; outputs] };
        model.add_parameter(format!("{site}.bias"), Role::Bias, &zeros);
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::{DeltaSpec, oracle};
    use super::*;
    use crate::nn::models::layout::Part;

    fn spec() -> DeltaSpec {
        oracle::spec("pal", &[("hidden_size_aug", Value::Int(6)), ("num_attention_heads", Value::Int(3))])
    }

    #[test]
    fn the_model_is_the_same_until_the_layers_have_been_trained() {
        assert_eq!(oracle::evaluated(&oracle::attached(&spec())), oracle::evaluated(&oracle::model()));
    }

    /// Stickland & Murray 2019, section 3.2: `2 d m` for the shared maps and `3 m m` for each layer, here with biases.
    #[test]
    fn as_many_parameters_train_as_the_paper_counts() {
        let model = oracle::attached(&spec());
        let count = model.layout().count(|slot| slot.part == Part::Delta);
        assert_eq!(count, (2 * 8 * 6 + 6 + 8) + 2 * 3 * (6 * 6 + 6));
    }

    #[test]
    fn heads_that_do_not_divide_the_width_are_an_error() {
        let wrong = oracle::spec("pal", &[("hidden_size_aug", Value::Int(6)), ("num_attention_heads", Value::Int(4))]);
        assert_eq!(run::attach(&wrong, &mut oracle::model(), 0).unwrap_err().code, "ftp::peft::heads");
    }

    /// The reading of some tokens only, which skips the others' work in the last layer, and the reading of all.
    #[test]
    fn what_is_computed_for_some_tokens_is_what_is_computed_for_all() {
        let model = oracle::moved(&spec());
        oracle::assert_close(&oracle::evaluated(&model), &oracle::evaluated_whole(&model), 1e-5);
    }

    #[test]
    fn gradients_of_the_layers_are_those_of_finite_differences() {
        oracle::has_gradients(&spec(), 4 + 2 * 6);
    }

    #[test]
    fn training_the_layers_learns_more_than_the_head_alone() {
        oracle::learns(&spec(), 2e-2);
    }
}
