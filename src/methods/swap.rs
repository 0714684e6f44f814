//! `swap`: one language's adapters in the place of another's.

use super::Method;
use super::parameters::evaluated;
use crate::lang::signature::{Artifact, Kind, Parameter, ParameterType, Signature};

pub(super) const METHOD: Method = Method {
    signature,
    #[cfg(feature = "train")]
    action: super::Action::Stage(run),
};

fn signature() -> Signature {
    let adapters = Parameter::required(
        "adapters",
        ParameterType::Artifact(Artifact::Model),
        "The model whose adapters take the place of those of the same kind and number: another language's, made of the same model in the same way.",
    );
    Signature {
        name: "swap",
        kind: Kind::Stage,
        version: 1,
        summary: "put another language's adapters under a task's",
        docs: "Zero-shot transfer with adapters (MAD-X, Pfeiffer et al. 2020, arXiv 2005.00052): language adapters are trained on text of each language, a task adapter over those of a \
language with labels, and then the language adapters below it are exchanged. Nothing is trained, and no number of the task's adapters or head changes.\n\n\
Both models must come from one and the same model, and the one given must have been made with the same deltas, in the same order, as the lowest of this one: `adapter`, `invertible` and \
others that stay beside their model. The result is evaluated on `target`, where one is given.\n\n\
```ftp\nlet english = base -> peft(stack(adapter(reduction_factor = 2), invertible)) -> adapt(domain)\n\
let german  = base -> peft(stack(adapter(reduction_factor = 2), invertible)) -> adapt(general)\n\
pipeline task = english -> peft(adapter) -> finetune(target)\n\
pipeline zero_shot = task -> swap(german, target)\n```",
        input: &[Artifact::Model],
        output: Artifact::Model,
        parameters: [vec![adapters.positional()], evaluated()].concat(),
        reports: true,
        saved_as: None,
    }
}

#[cfg(feature = "train")]
fn run(stage: &super::stage::Stage) -> Result<crate::plan::spec::Outcome, crate::plan::spec::StageFailure> {
    use burn::tensor::Device;

    use super::{beside, bundle};
    use crate::hub::tensors::Tensors;
    use crate::nn::models::Head;
    use crate::nn::models::layout::Part;
    use crate::plan::spec::StageFailure;

    let differs = |what: &str| {
        StageFailure::new("ftp::swap::different_models", format!("the adapters can't take the others' place: {what}"))
            .help("make both of one model with the same `peft(..)`, one for each language, and train the task in deltas that stay beside it")
    };
    let (mut model, other) = (stage.model()?, stage.model_in("adapters")?);
    let (own, given) = (beside::of(&model.config), beside::of(&other.config));
    if given.is_empty() {
        return Err(differs("the model given has none"));
    }
    if own.get(..given.len()) != Some(&given) {
        return Err(differs("the lowest deltas beside this model were made in another way"));
    }
    let Some(head @ Head::Sequence(_)) = Head::from_config(&model.config) else {
        return Err(differs("the model left of the arrow was not trained for a task"));
    };
    let (attached, _) = other.model(&head, 0, &Device::flex())?;
    let of_part = |part: Part| attached.layout().slots.iter().filter(move |slot| slot.part == part);
    if let Some(slot) =
        of_part(Part::Encoder).find(|slot| model.tensors.get(&slot.name) != other.tensors.get(&slot.name))
    {
        return Err(differs(&format!("they are not over the same model, whose `{}` differs", slot.name)));
    }
    let mut changed: Tensors =
        of_part(Part::Delta).map(|slot| (slot.name.clone(), other.tensors[&slot.name].clone())).collect();
    model.tensors.extend(changed.clone());
    let mut notices = vec![];
    let summary = super::panel::report(stage, &mut notices, std::iter::once(Ok(&model)))?;
    let heads =
        of_part(Part::Head).filter_map(|slot| Some((slot.name.clone(), model.tensors.get(&slot.name)?.clone())));
    changed.extend(heads);
    let base = model.origin.clone().ok_or_else(|| differs("this model is not a result of the store"))?;
    bundle::write_delta(stage, base, &model.config, &changed, summary, notices)
}
