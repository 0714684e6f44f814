//! Whole models that deltas lie over, each read once.

use indexmap::IndexMap;

use super::bundle::{ATTACHED, Bundle, CONFIG, DELTA, WEIGHTS, deltas_of, stored_tokenizer};
use crate::hub;
use crate::hub::tensors::Tensors;
use crate::lang::world::Digest;
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
        let mut bundle = self.whole(&artifact)?;
        for delta in above.iter().rev().filter(|artifact| artifact.has(DELTA)) {
            bundle.lay(delta)?;
        }
        bundle.deltas = deltas_of(above.first().unwrap_or(&artifact), ATTACHED);
        bundle.origin = Some(output.clone());
        Ok(bundle)
    }

    /// The digest of the weights that an artifact lies over.
    ///
    /// # Errors
    /// As [`Bases::open`].
    pub fn below(store: &Store, output: &Digest) -> Result<Option<Digest>, StageFailure> {
        let mut next = Some(output.clone());
        while let Some(output) = next {
            let manifest = store.artifact(&output)?.manifest;
            if let Some(file) = manifest.files.get(WEIGHTS) {
                return Ok(Some(file.digest.clone()));
            }
            next = manifest.base;
        }
        Ok(None)
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
        Ok(Bundle { config, tensors, tokenizer, deltas: vec![], origin: None })
    }
}
