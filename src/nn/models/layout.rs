//! What parameters a model has: names, shapes, roles and first values, before anything is allocated.

/// What a parameter is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Of a linear map, `[out, in]`.
    Weight,
    /// Of a linear map, `[out]`.
    Bias,
    LayerNormWeight,
    LayerNormBias,
    /// `[rows, hidden_size]`.
    Embedding,
}

/// Where a parameter sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Embeddings and layers: what pre-training makes and every head shares.
    Encoder,
    /// BERT's map of the first token's state, part of the base model but used by some heads only.
    Pooler,
    /// What is on top for one objective or task.
    Head,
    /// What a delta method added.
    Delta,
}

/// The linear maps of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Map {
    Query,
    Key,
    Value,
    AttentionOutput,
    Intermediate,
    Output,
}

impl Map {
    pub const ALL: [Self; 6] =
        [Self::Query, Self::Key, Self::Value, Self::AttentionOutput, Self::Intermediate, Self::Output];
}

/// First values of a parameter a file does not hold, as `_init_weights` of `transformers` draws them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    Zeros,
    Ones,
    /// N(0, initializer_range), with one row of zeros for the padding token.
    Normal {
        padding: Option<usize>,
    },
    /// Fixed waves of each position (Vaswani et al. 2017, section 3.5).
    Sinusoidal,
}

/// One parameter of a layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    pub name: String,
    pub shape: Vec<usize>,
    pub role: Role,
    pub part: Part,
    /// The layer it belongs to, from 0; none of embeddings, poolers and heads.
    pub layer: Option<usize>,
    /// Which of the layer's linear maps it belongs to.
    pub map: Option<Map>,
    pub init: Init,
    /// Whether the first dimension is the number of labels: a file with another number holds another task's head.
    pub per_label: bool,
}

impl Slot {
    /// Number of elements.
    pub fn count(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it is a bias, of a linear map or of a LayerNorm: what BitFit (Ben-Zaken et al. 2021) trains.
    pub fn is_bias(&self) -> bool {
        matches!(self.role, Role::Bias | Role::LayerNormBias)
    }

    pub fn is_layer_norm(&self) -> bool {
        matches!(self.role, Role::LayerNormWeight | Role::LayerNormBias)
    }
}

/// Another name of a parameter in files: a tied weight or a duplicate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alias {
    pub name: String,
    /// The parameter's own name.
    pub of: String,
    /// Whether `transformers` writes it too.
    pub saved: bool,
}

/// The parameters of a model, in the order of its modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    pub slots: Vec<Slot>,
    pub aliases: Vec<Alias>,
}

impl Layout {
    /// Number of layers.
    pub fn layers(&self) -> usize {
        self.slots.iter().filter_map(|slot| slot.layer).max().map_or(0, |last| last + 1)
    }

    /// Number of elements of the parameters a predicate holds for.
    pub fn count(&self, of: impl Fn(&Slot) -> bool) -> usize {
        self.slots.iter().filter(|slot| of(slot)).map(Slot::count).sum()
    }

    pub(super) fn add_delta(&mut self, name: String, role: Role, shape: &[usize]) {
        let layer = layer_of(&name);
        self.add(Part::Delta, role, name, shape).layer = layer;
    }

    /// `{site}.weight` `[outputs, inputs]` and `{site}.bias`.
    pub(super) fn linear(&mut self, part: Part, site: &str, inputs: usize, outputs: usize) {
        let weight = self.add(part, Role::Weight, format!("{site}.weight"), &[outputs, inputs]);
        weight.init = Init::Normal { padding: None };
        self.bias(part, format!("{site}.bias"), outputs);
    }

    /// A linear map of a layer.
    pub(super) fn layer_map(&mut self, layer: usize, map: Map, site: &str, inputs: usize, outputs: usize) {
        self.linear(Part::Encoder, site, inputs, outputs);
        for slot in self.slots.iter_mut().rev().take(2) {
            (slot.layer, slot.map) = (Some(layer), Some(map));
        }
    }

    /// A LayerNorm of a layer.
    pub(super) fn layer_norm_of(&mut self, layer: usize, site: &str, size: usize) {
        self.layer_norm(Part::Encoder, site, size);
        self.slots.iter_mut().rev().take(2).for_each(|slot| slot.layer = Some(layer));
    }

    /// A linear map onto the labels.
    pub(super) fn classifier(&mut self, site: &str, inputs: usize, labels: usize) {
        self.linear(Part::Head, site, inputs, labels);
        self.slots.iter_mut().rev().take(2).for_each(|slot| slot.per_label = true);
    }

    pub(super) fn bias(&mut self, part: Part, name: String, outputs: usize) {
        self.add(part, Role::Bias, name, &[outputs]);
    }

    /// A matrix of `[outputs, inputs]` without a bias of its own.
    pub(super) fn weight(&mut self, part: Part, name: String, inputs: usize, outputs: usize) {
        self.add(part, Role::Weight, name, &[outputs, inputs]).init = Init::Normal { padding: None };
    }

    /// `{site}.weight` and `{site}.bias`, both `[size]`.
    pub(super) fn layer_norm(&mut self, part: Part, site: &str, size: usize) {
        self.add(part, Role::LayerNormWeight, format!("{site}.weight"), &[size]).init = Init::Ones;
        self.add(part, Role::LayerNormBias, format!("{site}.bias"), &[size]);
    }

    /// `{site}.weight` `[rows, size]`.
    pub(super) fn embedding(&mut self, site: &str, rows: usize, size: usize, init: Init) {
        self.add(Part::Encoder, Role::Embedding, format!("{site}.weight"), &[rows, size]).init = init;
    }

    pub(super) fn alias(&mut self, name: impl Into<String>, of: impl Into<String>, saved: bool) {
        self.aliases.push(Alias { name: name.into(), of: of.into(), saved });
    }

    fn add(&mut self, part: Part, role: Role, name: String, shape: &[usize]) -> &mut Slot {
        let slot = Slot {
            name,
            shape: shape.to_vec(),
            role,
            part,
            layer: None,
            map: None,
            init: Init::Zeros,
            per_label: false,
        };
        self.slots.push(slot);
        self.slots.last_mut().expect("one was pushed")
    }
}

/// The layer that a delta's parameter, or a site, is in by its name: 3 of `adapters.0.layer.3.output.up` and of
/// `bert.encoder.layer.3.output.dense`.
pub(super) fn layer_of(name: &str) -> Option<usize> {
    let mut modules = name.split('.').skip_while(|module| *module != "layer").skip(1);
    modules.next()?.parse().ok()
}
