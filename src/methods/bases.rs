//! Whole models that deltas lie over, each read once.

use indexmap::IndexMap;

use super::bundle::{ATTACHED, Bundle, CONFIG, DELTA, PREPARED, TRAINED, WEIGHTS, deltas_of, stored_tokenizer};
use super::interchange::Apart;
use crate::hub;
use crate::hub::tensors::Tensors;
use crate::lang::world::Digest;
use crate::nn::models::layout::Part;
use crate::nn::models::{Head, Model};
use crate::plan::spec::StageFailure;
use crate::store::{Store, StoredArtifact};

/// Opens models from the store.
#[derive(Default)]
pub struct Bases {
    /// Weights of whole models that are kept for the next one, by the digest of their file: results that were made of one
    /// model of the user's share it.
    kept: Option<IndexMap<Digest, Tensors>>,
}

impl Bases {
    /// Keeps the weights of whole models, so that the next result over one does not read it again.
    pub fn keeping() -> Self {
        Self { kept: Some(IndexMap::new()) }
    }

    /// A model from the store: the nearest whole model below the artifact, with every delta above laid over it.
    ///
    /// # Errors
    /// When something of it is gone or damaged.
    pub fn open(&mut self, store: &Store, output: &Digest) -> Result<Bundle, StageFailure> {
        let (artifact, above) = Self::layers(store, output)?;
        let mut bundle = self.whole(&artifact)?;
        for (height, artifact) in above.iter().enumerate().rev() {
            if artifact.has(PREPARED) {
                let prepared = hub::read_safetensors(&artifact.path(PREPARED)?)?;
                // Once they were trained over, the values lie beside the model like any delta's.
                if height == 0 { bundle.prepared = prepared } else { bundle.tensors.extend(prepared) }
            }
            if artifact.has(DELTA) {
                bundle.lay(artifact)?;
            }
        }
        // A model of the user's, taken in with a saved delta that is attached to it.
        if above.is_empty() && artifact.has(PREPARED) {
            bundle.prepared = hub::read_safetensors(&artifact.path(PREPARED)?)?;
        }
        bundle.deltas = deltas_of(above.first().unwrap_or(&artifact), ATTACHED);
        bundle.origin = Some(output.clone());
        Ok(bundle)
    }

    /// A result taken apart: its delta, its configuration, and the model below it. `None` for what is no delta.
    ///
    /// # Errors
    /// As [`Bases::open`].
    pub fn apart(
        &mut self,
        store: &Store,
        output: &Digest,
    ) -> Result<Option<(Apart, serde_json::Value, Bundle)>, StageFailure> {
        let (_, above) = Self::layers(store, output)?;
        let Some(artifact) = above.iter().find(|artifact| artifact.has(DELTA)) else { return Ok(None) };
        let below = match &artifact.manifest.base {
            Some(base) => self.open(store, base)?,
            None => return Ok(None),
        };
        let config = hub::read_json(&artifact.path(CONFIG)?)?;
        let head = Head::from_config(&config);
        let task = match &head {
            Some(Head::Sequence(task)) => Some(task.clone()),
            _ => None,
        };
        let layout = Model::layout_of(&config, head.as_ref().unwrap_or(&Head::MaskedLm))?;
        let is_head = |name: &String| {
            layout.slots.iter().any(|slot| slot.name == *name && matches!(slot.part, Part::Head | Part::Pooler))
        };
        let (head, own) =
            hub::read_safetensors(&artifact.path(DELTA)?)?.into_iter().partition(|(name, _)| is_head(name));
        Ok(Some((Apart { specs: deltas_of(artifact, TRAINED), own, head, task }, config, below)))
    }

    /// The digest of the weights that an artifact lies over.
    ///
    /// # Errors
    /// As [`Bases::open`].
    pub fn below(store: &Store, output: &Digest) -> Result<Digest, StageFailure> {
        Ok(Self::layers(store, output)?.0.manifest.files[WEIGHTS].digest.clone())
    }

    /// The output digest of the whole model that an artifact lies over.
    ///
    /// # Errors
    /// As [`Bases::open`].
    pub fn whole_below(store: &Store, output: &Digest) -> Result<Digest, StageFailure> {
        Ok(Self::layers(store, output)?.0.manifest.output)
    }

    /// The nearest whole model below an artifact, and what lies over it, from the artifact down.
    fn layers(store: &Store, output: &Digest) -> Result<(StoredArtifact, Vec<StoredArtifact>), StageFailure> {
        let mut above = vec![];
        let mut artifact = store.artifact(output)?;
        while !artifact.has(WEIGHTS) {
            let output = &artifact.manifest.output;
            let base = artifact.manifest.base.clone().ok_or_else(|| {
                let message = format!("the artifact {output} has neither weights nor a base");
                StageFailure::new("ftp::store::no_weights", message)
            })?;
            above.push(std::mem::replace(&mut artifact, store.artifact(&base)?));
        }
        Ok((artifact, above))
    }

    fn whole(&mut self, artifact: &StoredArtifact) -> Result<Bundle, StageFailure> {
        let digest = artifact.manifest.files[WEIGHTS].digest.clone();
        let known = self.kept.as_ref().and_then(|kept| kept.get(&digest));
        let tensors = match known {
            Some(tensors) => tensors.clone(),
            None => hub::read_safetensors(&artifact.path(WEIGHTS)?)?,
        };
        if let Some(kept) = &mut self.kept
            && !kept.contains_key(&digest)
        {
            kept.insert(digest, tensors.clone());
        }
        let (config, tokenizer) = (hub::read_json(&artifact.path(CONFIG)?)?, stored_tokenizer(artifact)?);
        Ok(Bundle { config, tensors, tokenizer, deltas: vec![], prepared: Tensors::new(), origin: None })
    }
}
