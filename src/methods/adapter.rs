//! `adapter`: bottlenecks inside every layer, beside the frozen model.

use super::Method;
use crate::lang::signature::{Artifact, Kind, Library, Parameter, ParameterType, Signature};
use crate::lang::value::Value;

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Delta(super::Delta {
        attach: run::attach,
        trains: run::trains,
        fold: None,
        pack: None,
        head_alone: false,
    }),
};

fn signature() -> Signature {
    use Parameter as P;
    Signature {
        name: "adapter",
        kind: Kind::Delta,
        version: 2,
        summary: "train bottlenecks between the layers' maps and norms",
        docs: "A bottleneck is `h + W_up f(W_down u + b_down) + b_up` with `W_down` `[m, d]` and `m = d / reduction_factor`, rounded up. It sits before the residual \
sum and norm that end a block, `LN(h + x)`.\n\n\
`style = houlsby` (Houlsby et al. 2019, arXiv 1902.00751): two in each layer, after the attention and after the feed-forward, `u = h`; all norms train too. Matrices \
start from a normal distribution of deviation 1e-3, cut at two deviations. The paper's `f` is GELU and its `m` 64.\n\n\
`style = pfeiffer` (Pfeiffer et al. 2020, arXiv 2005.00247): one in each layer, after the feed-forward, `u = LN(h + x)` by the block's own norm, which stays as it is. \
Matrices start with deviation 0.02, as `adapters` draws them.\n\n\
Biases start at 0: training starts near the pretrained model, not exactly at it. Learning rates are higher than for full fine-tuning: 1e-4 to 3e-4, or more.\n\n\
Adapters can't be computed into the model's weights, so they stay beside it: stored as a delta, used by later stages and evaluations, trained by a later \
stage without `peft`. A later `peft(..)` keeps them as they are; with another `adapter`, the new ones act after the old. Hugging Face directories of plain \
`transformers` models can't hold them: `publish` writes them `as adapter`, for the library `adapters`.\n\n\
```ftp\npipeline small = base -> peft(adapter, style = houlsby, activation = gelu) -> finetune(target, learning_rate = 3e-4)\n```",
        input: &[Artifact::Parametrised],
        output: Artifact::Parametrised,
        parameters: vec![
            P::optional(
                "style",
                ParameterType::Choice(&["pfeiffer", "houlsby"]),
                Value::Name("pfeiffer".into()),
                "Where adapters sit.",
            ),
            P::optional(
                "reduction_factor",
                ParameterType::Int { min: 1, max: 4096 },
                Value::Int(16),
                "The hidden size divided by the bottleneck's: 16 makes 48 of 768.",
            ),
            P::optional(
                "activation",
                ParameterType::Choice(&["relu", "gelu", "swish"]),
                Value::Name("relu".into()),
                "Between the two maps.",
            ),
            P::optional(
                "layer_norms",
                ParameterType::Bool,
                Value::None,
                "Whether the model's norms train too; by default those of `houlsby` do, those of `pfeiffer` do not.",
            ),
        ],
        reports: false,
        saved_as: Some(saved_as),
    }
}

/// The `seq_bn` and `double_seq_bn` of `adapters`, which have no place for norms.
fn saved_as(value: &dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]> {
    let houlsby = value("style").as_name() == Some("houlsby");
    match value("layer_norms") {
        Value::Bool(false) => Ok(Library::Adapters),
        Value::None if !houlsby => Ok(Library::Adapters),
        _ => Err([
            "a directory of `adapters` has no place for norms that were trained",
            "leave the norms as they are: `adapter(style = houlsby, layer_norms = false)`",
        ]),
    }
}

#[cfg(feature = "train")]
pub(super) use run::{WIDTH, activation, activation_named};

#[cfg(feature = "train")]
mod run {
    use std::sync::Arc;

    use burn::tensor::Tensor;

    use crate::hub::tensors::HostTensor;
    use crate::lang::value::Value;
    use crate::methods::StageFailure;
    use crate::methods::virtual_tokens::free_prefix;
    use crate::nn::delta::SiteDelta;
    use crate::nn::models::Model;
    use crate::nn::models::activation::Activation;
    use crate::nn::models::layout::{Part, Role, Slot};
    use crate::nn::pass::{Pass, site_index};
    use crate::plan::spec::DeltaSpec;
    use crate::random::Key;

    /// Of a delta that was made elsewhere, in place of `reduction_factor` where no factor gives it: the bottleneck's width.
    pub const WIDTH: &str = "width";

    /// One bottleneck. Its maps are `{site}.down` and `{site}.up`.
    #[derive(Debug)]
    struct Bottleneck {
        site: String,
        activation: Activation,
        /// Whether it sees the block's normalised sum instead of what the block adds.
        normed: bool,
    }

    impl SiteDelta for Bottleneck {
        fn before_norm(&self, pass: &Pass, h: Tensor<2>, norm: &dyn Fn(Tensor<2>) -> Tensor<2>) -> Tensor<2> {
            let seen = if self.normed { norm(h.clone()) } else { h.clone() };
            let inner = self.activation.apply(pass.linear(&format!("{}.down", self.site), seen)); // [N, m]
            h + pass.linear(&format!("{}.up", self.site), inner)
        }
    }

    pub fn trains(spec: &DeltaSpec, _: usize, parameter: &Slot) -> bool {
        let norms = match spec.parameters.get("layer_norms") {
            Some(Value::Bool(norms)) => *norms,
            _ => spec.name("style") == "houlsby",
        };
        norms && parameter.part == Part::Encoder && parameter.is_layer_norm() || parameter.part == Part::Delta
    }

    pub fn attach(spec: &DeltaSpec, model: &mut Model, seed: u64) -> Result<(), StageFailure> {
        let houlsby = spec.name("style") == "houlsby";
        let activation = activation(spec);
        let hidden = model.hidden_size();
        let width = spec.optional_int(WIDTH).map(|width| width as usize);
        let bottleneck = width.unwrap_or_else(|| hidden.div_ceil(spec.int("reduction_factor") as usize));
        let prefix = free_prefix(model, "adapters");
        let norms: Vec<[String; 2]> = model.norms().map(|sites| sites.map(str::to_owned)).collect();
        for (layer, [attention, output]) in norms.into_iter().enumerate() {
            for (place, norm) in [("attention", attention), ("output", output)] {
                if place == "attention" && !houlsby {
                    continue;
                }
                let site = format!("{prefix}layer.{layer}.{place}");
                for (map, outputs, inputs) in [("down", bottleneck, hidden), ("up", hidden, bottleneck)] {
                    let name = format!("{site}.{map}.weight");
                    let key = Key::new(seed, "init").at(site_index(&name));
                    let draw = |at| if houlsby { 1e-3 * cut_normal(key, at) } else { 0.02 * key.normal(at) };
                    let data = (0..(outputs * inputs) as u64).map(draw).collect();
                    model.add_parameter(name, Role::Weight, &HostTensor { shape: vec![outputs, inputs], data });
                    let zeros = HostTensor { shape: vec![outputs], data: vec![0.0; outputs] };
                    model.add_parameter(format!("{site}.{map}.bias"), Role::Bias, &zeros);
                }
                model.set_delta(norm, Arc::new(Bottleneck { site, activation, normed: !houlsby }));
            }
        }
        Ok(())
    }

    /// Of `activation`.
    pub fn activation(spec: &DeltaSpec) -> Activation {
        activation_named(spec.name("activation"))
    }

    pub fn activation_named(name: &str) -> Activation {
        match name {
            "gelu" => Activation::Gelu,
            "swish" => Activation::Silu,
            _ => Activation::Relu,
        }
    }

    /// A standard normal draw within two deviations: the first of a few that is, 5 % are not.
    fn cut_normal(key: Key, at: u64) -> f32 {
        const DRAWS: u64 = 8;
        let mut draws = (0..DRAWS).map(|draw| key.normal(at * DRAWS + draw));
        draws.find(|value| value.abs() <= 2.0).unwrap_or(0.0)
    }
}

#[cfg(all(test, feature = "train"))]
mod tests {
    use super::super::oracle;
    use super::*;
    use crate::nn::models::layout::Part;
    use crate::plan::spec::DeltaSpec;

    const STYLES: [(&str, usize); 2] = [("pfeiffer", 1), ("houlsby", 2)];

    fn spec(style: &str) -> DeltaSpec {
        let style = ("style", Value::Name(style.into()));
        let smooth = ("activation", Value::Name("gelu".into()));
        oracle::spec("adapter", &[style, ("reduction_factor", Value::Int(3)), smooth])
    }

    /// 2 m d + m + d an adapter: Houlsby et al. 2019, section 2.1. Here d = 8, m = 8 / 3 rounded up.
    #[test]
    fn as_many_parameters_are_added_as_the_paper_counts() {
        for (style, places) in STYLES {
            let model = oracle::attached(&spec(style));
            let added = model.layout().count(|slot| slot.part == Part::Delta);
            assert_eq!(added, 2 * places * (2 * 3 * 8 + 3 + 8), "{style}");
        }
    }

    #[test]
    fn training_starts_near_the_model_and_exactly_at_it_where_the_second_map_is_zero() {
        let before = oracle::evaluated(&oracle::model());
        for (style, _) in STYLES {
            let mut model = oracle::attached(&spec(style));
            oracle::assert_close(&oracle::evaluated(&model), &before, 0.05);
            assert_ne!(oracle::evaluated(&model), before, "{style}");
            let names: Vec<String> =
                model.parameters.keys().filter(|name| name.ends_with("up.weight")).cloned().collect();
            for name in names {
                let mut zero = model.parameters[&name].weight.to_host();
                zero.data.fill(0.0);
                oracle::set(&mut model, &name, &zero);
            }
            oracle::assert_close(&oracle::evaluated(&model), &before, 1e-6);
        }
    }

    #[test]
    fn gradients_of_adapters_are_those_of_finite_differences() {
        oracle::has_gradients(&spec("pfeiffer"), 2 * 4);
        // The norms of two layers and of the embeddings train too.
        oracle::has_gradients(&spec("houlsby"), 2 * 2 * 4 + 2 * 5);
    }

    #[test]
    fn training_adapters_learns_more_than_the_head_alone() {
        for (style, _) in STYLES {
            oracle::learns(&spec(style), 2e-2);
        }
    }
}
