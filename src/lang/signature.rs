//! What a method says about itself: plain data, read by the checker, the documentation and the command line.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::value::Value;

/// What flows between stages, and what may follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Artifact {
    /// Unlabelled documents.
    Text,
    /// Rows with a text (or a pair of texts) and a label or score, in splits.
    Labelled,
    /// Architecture, weights, tokenizer, and heads.
    Model,
    /// A delta that `peft` or `adapters` saved, without the model it belongs to.
    Delta,
    /// A model with a delta method attached that the next training stage will train.
    Parametrised,
    /// A model with a saved delta attached, which may be trained further or used as it is.
    Loaded,
    /// Several models, as `each(..)` and `[a, b]` make them.
    Models,
    /// Several models that answer together.
    Ensemble,
}

impl Artifact {
    /// As messages name it, with its article.
    pub fn phrase(self) -> &'static str {
        match self {
            Artifact::Text => "unlabelled text",
            Artifact::Labelled => "a labelled set",
            Artifact::Model => "a model",
            Artifact::Delta => "a saved delta",
            Artifact::Parametrised => "a model with a delta attached",
            Artifact::Loaded => "a model with a saved delta attached",
            Artifact::Models => "a list of models",
            Artifact::Ensemble => "an ensemble",
        }
    }
}

/// How a parameter enters the key of a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// Changes what is computed. Hashed.
    Semantic,
    /// Changes rounding only. Hashed.
    Numeric,
    /// Changes neither: time limits, log intervals. Not hashed.
    Operational,
}

/// What kind of thing a signature describes, which decides where its name may be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Declares data or a model from files: `text("..")`, `labelled("..")`, `pairs("..")`, `hf("..")`. Not run.
    Source,
    /// A stage of a chain: `pretrain`, `adapt(..)`, `peft(..)`, `finetune(..)`.
    Stage,
    /// A delta method, the first argument of `peft`: `bitfit`.
    Delta,
}

/// The type of a parameter's value as written in the language.
#[derive(Debug, Clone, PartialEq)]
pub enum ParameterType {
    Bool,
    Int {
        min: i64,
        max: i64,
    },
    /// Bounds are inclusive unless `above` (then `min` itself is excluded).
    Float {
        min: f64,
        max: f64,
        above: bool,
    },
    /// A fraction, written `0.1` or `10 %`; in [0, 1]. Resolves to [`Value::Float`].
    Ratio,
    String,
    /// `3`, `3 epochs`, `0.5 epochs`; > 0. Resolves to [`Value::Epochs`].
    Epochs,
    /// `500`, `500 steps`; > 0. Resolves to [`Value::Steps`].
    Steps,
    /// A fraction of the steps (`10 %`, `0.1`, resolves to [`Value::Float`]) or a count (`100 steps`, [`Value::Steps`]).
    StepsOrRatio,
    /// `30 min`, `2 h`, `45 s`. Resolves to [`Value::Seconds`].
    Duration,
    /// `500 MB`, `8 GB`, `8 GiB`. Resolves to [`Value::Bytes`].
    Size,
    /// One of these names. Resolves to [`Value::Name`].
    Choice(&'static [&'static str]),
    /// A list of strings.
    Strings,
    /// `secret("HF_TOKEN")`, never the secret itself. Resolves to [`Value::Secret`]. Part of no key.
    Secret,
    /// Another artifact of the program: becomes an input of the node, not a parameter of it.
    Artifact(Artifact),
    /// A delta method by name; the remaining named arguments are that method's.
    Delta,
    /// A delta method by name alone: a recipe's parameter.
    DeltaName,
    /// A recipe or a stage that takes the model left of its arrow and these, and makes a model.
    Recipe(Vec<Artifact>),
}

/// What a parameter has when the file does not say.
#[derive(Debug, Clone, PartialEq)]
pub enum Default {
    Required,
    Value(Value),
    /// As the `.ftp` file that declares a recipe says.
    Written,
}

/// The libraries whose directories deltas are read from and written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Library {
    Peft,
    Adapters,
}

impl Library {
    pub fn name(self) -> &'static str {
        match self {
            Library::Peft => "peft",
            Library::Adapters => "adapters",
        }
    }
}

/// Of a delta: the library whose directories hold it. With the values of its parameters: why none can, and what would help.
pub type SavedAs = fn(&dyn Fn(&str) -> Value) -> Result<Library, [&'static str; 2]>;

/// One parameter of a method or, with names from a `.ftp` file, of a recipe.
#[derive(Debug, Clone)]
pub struct Formal<'a> {
    pub name: &'a str,
    pub ty: ParameterType,
    pub default: Default,
    pub class: Class,
    /// May be given without its name, in the order of the positional parameters.
    pub positional: bool,
    /// One or two sentences: what it does, its unit, when to change it.
    pub doc: &'a str,
    /// Where it acts, if not everywhere.
    pub beside: Option<Beside>,
}

/// The parameter that another one belongs to: it acts where this has one of these values or, when none are named, any at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beside {
    pub parameter: &'static str,
    pub values: &'static [&'static str],
}

/// One parameter of a method.
pub type Parameter = Formal<'static>;

impl<'a> Formal<'a> {
    pub fn new(name: &'a str, ty: ParameterType, default: Default, doc: &'a str) -> Self {
        Self { name, ty, default, class: Class::Semantic, positional: false, doc, beside: None }
    }

    /// A parameter with a default.
    pub fn optional(name: &'a str, ty: ParameterType, default: Value, doc: &'a str) -> Self {
        Self::new(name, ty, Default::Value(default), doc)
    }

    pub fn required(name: &'a str, ty: ParameterType, doc: &'a str) -> Self {
        Self::new(name, ty, Default::Required, doc)
    }

    pub fn positional(mut self) -> Self {
        self.positional = true;
        self
    }

    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// One that acts only where another has one of these values; with none named, where it is given at all.
    pub fn beside(mut self, parameter: &'static str, values: &'static [&'static str]) -> Self {
        self.beside = Some(Beside { parameter, values });
        self
    }
}

impl Beside {
    pub fn acts(self, value: &Value) -> bool {
        match self.values {
            [] => *value != Value::None,
            values => value.as_name().is_some_and(|name| values.contains(&name)),
        }
    }
}

/// Everything the language knows about a method.
pub type Signature = Interface<'static>;

/// What can be called: a method or, with names from a `.ftp` file, a recipe.
#[derive(Debug, Clone)]
pub struct Interface<'a> {
    /// As written in the language.
    pub name: &'a str,
    pub kind: Kind,
    /// Semantic version: raised whenever the same inputs and parameters would give another result.
    pub version: u32,
    /// One line for lists.
    pub summary: &'a str,
    /// The manual page's body, Markdown: what it does, when to use it, formula, source, an example.
    pub docs: &'a str,
    /// What stands left of the arrow: none of these fits = the stage begins a chain. Empty for sources. Of a delta,
    /// [`Artifact::Parametrised`] where it may be trained together with others, and nothing where it stands alone.
    pub input: &'static [Artifact],
    pub output: Artifact,
    pub parameters: Vec<Formal<'a>>,
    /// Names of the metrics the stage reports on a labelled set, for `expect`; empty if none.
    pub reports: bool,
    /// Of a delta: whose directories can hold it; none where nobody's can.
    pub saved_as: Option<SavedAs>,
}

impl<'a> Interface<'a> {
    pub fn parameter(&self, name: &str) -> Option<&Formal<'a>> {
        self.parameters.iter().find(|parameter| parameter.name == name)
    }
}

/// All methods, by name, in the order to list them. Built once by `methods::registry()`.
#[derive(Debug, Clone, std::default::Default)]
pub struct Registry {
    signatures: IndexMap<&'static str, Signature>,
}

impl Registry {
    pub fn new(signatures: impl IntoIterator<Item = Signature>) -> Self {
        Self { signatures: signatures.into_iter().map(|signature| (signature.name, signature)).collect() }
    }

    pub fn get(&self, name: &str) -> Option<&Signature> {
        self.signatures.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Signature> {
        self.signatures.values()
    }

    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Signature> {
        self.iter().filter(move |signature| signature.kind == kind)
    }
}
