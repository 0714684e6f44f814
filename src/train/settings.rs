//! The parameters every training method shares, under the names the language uses.

use indexmap::IndexMap;

use super::error::TrainError;
use super::reader::{Reader, wrong};
use super::schedule::{Schedule, Warmup};
use super::stability;
use crate::lang::value::Value;
use crate::nn::ops::Precision;

/// Which weights a stage hands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Those with the best value of `metric` on the dev split; the last ones where there is no dev split.
    Best,
    /// Those after the last step.
    Last,
}

/// How to train. Field names are the parameter names of the language.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// Passes over the training rows; fractions allowed. Default 3.
    pub epochs: f64,
    /// Optimizer steps. Given, it takes the place of `epochs`: training goes through the rows as often as it needs.
    /// Default none.
    pub steps: Option<u64>,
    /// Rows of an optimizer step. The last step of an epoch has what is left. Default 32.
    pub batch_size: usize,
    /// Most rows of one forward and backward pass; smaller ones need less memory and give the same result up to
    /// rounding. Default: `batch_size`.
    pub micro_batch_size: Option<usize>,
    /// Most tokens of one forward and backward pass, which bounds its memory. Default 16,384.
    pub micro_batch_tokens: usize,
    /// The highest learning rate, reached at the end of the warm-up. Default 5e-5; 1e-3 suits BitFit.
    pub learning_rate: f64,
    /// What the learning rate does after the warm-up: `linear` (to 0), `cosine` (to 0) or `constant`. Default `linear`.
    pub schedule: Schedule,
    /// How long the learning rate rises from 0: a fraction of all steps or a number of steps. Default 10 %.
    pub warmup: Warmup,
    /// Decoupled weight decay (AdamW); never on biases and norms. Default 0.01.
    pub weight_decay: f64,
    /// Decay of Adam's mean of gradients. Default 0.9.
    pub adam_beta1: f64,
    /// Decay of Adam's mean of squared gradients. Default 0.999.
    pub adam_beta2: f64,
    /// Added to the root of the mean of squares in Adam's denominator. Default 1e-8.
    pub adam_epsilon: f64,
    /// Correct Adam's means for starting at 0. Without it the first steps are about three times as large, as in the
    /// original BERT code; small sets then often fail (Zhang et al. 2021, arXiv:2006.05987). Default true.
    pub bias_correction: bool,
    /// Gradients whose global norm is larger are scaled down to it; 0 or none for no clipping. Default 1.
    pub max_grad_norm: Option<f64>,
    /// How the factors of the linear maps' matrix products are rounded: `f32`, `f32_strict` or `bf16`. Default `f32`.
    pub precision: Precision,
    /// Seed of data order, dropout, masks and new weights. Default 0.
    pub seed: u64,
    /// Stop after this many evaluations in a row without a better `metric` on the dev split. Default none: never.
    pub patience: Option<u64>,
    /// What `keep` and `patience` go by: a metric of the task, or `loss`. Default: the task's first metric, for
    /// language modelling the loss.
    pub metric: Option<String>,
    /// `best` or `last`. Default `best`.
    pub keep: Keep,
    /// Least seconds between two progress events; 0 for one every step. Changes nothing in the result. Default 0.25.
    pub log_interval: f64,
    /// Seconds of training between two checkpoints, from which a later attempt goes on; 0 for none by time. Changes nothing
    /// in the result. Default 300.
    pub checkpoint_every: f64,
    /// A checkpoint also after every so many steps. Changes nothing in the result. Default none.
    pub checkpoint_steps: Option<u64>,
    /// Parameters of the techniques in [`stability`](super::stability), which read their own. Default none of them.
    pub stability: IndexMap<String, Value>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 3.0,
            steps: None,
            batch_size: 32,
            micro_batch_size: None,
            micro_batch_tokens: 16_384,
            learning_rate: 5e-5,
            schedule: Schedule::Linear,
            warmup: Warmup::Ratio(0.1),
            weight_decay: 0.01,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            bias_correction: true,
            max_grad_norm: Some(1.0),
            precision: Precision::F32,
            seed: 0,
            patience: None,
            metric: None,
            keep: Keep::Best,
            log_interval: 0.25,
            checkpoint_every: 300.0,
            checkpoint_steps: None,
            stability: IndexMap::new(),
        }
    }
}

impl Settings {
    /// Reads a stage's resolved parameters. Missing ones have the defaults above; other names are the method's own
    /// business and left alone.
    pub fn from_parameters(parameters: &IndexMap<String, Value>) -> Result<Self, TrainError> {
        let read = Reader(parameters);
        let default = Self::default();
        let settings = Self {
            epochs: read.number("epochs")?.unwrap_or(default.epochs),
            steps: read.count("steps")?,
            batch_size: read.count("batch_size")?.map_or(default.batch_size, |rows| rows as usize),
            micro_batch_size: read.count("micro_batch_size")?.map(|rows| rows as usize),
            micro_batch_tokens: read
                .count("micro_batch_tokens")?
                .map_or(default.micro_batch_tokens, |tokens| tokens as usize),
            learning_rate: read.number("learning_rate")?.unwrap_or(default.learning_rate),
            schedule: read.name("schedule")?.map_or(Ok(default.schedule), Schedule::from_name)?,
            warmup: read.steps_or_ratio("warmup")?.unwrap_or(default.warmup),
            weight_decay: read.number("weight_decay")?.unwrap_or(default.weight_decay),
            adam_beta1: read.number("adam_beta1")?.unwrap_or(default.adam_beta1),
            adam_beta2: read.number("adam_beta2")?.unwrap_or(default.adam_beta2),
            adam_epsilon: read.number("adam_epsilon")?.unwrap_or(default.adam_epsilon),
            bias_correction: read.switch("bias_correction")?.unwrap_or(default.bias_correction),
            max_grad_norm: match parameters.get("max_grad_norm") {
                None => default.max_grad_norm,
                Some(_) => read.number("max_grad_norm")?.filter(|&norm| norm != 0.0),
            },
            precision: match read.name("precision")? {
                None => default.precision,
                Some("f32") => Precision::F32,
                Some("f32_strict") => Precision::F32Strict,
                Some("bf16") => Precision::Bf16,
                Some(other) => return Err(wrong("precision", format!("`{other}`"), "f32, f32_strict or bf16")),
            },
            seed: read.count("seed")?.unwrap_or(default.seed),
            patience: read.count("patience")?,
            metric: read.name("metric")?.map(str::to_owned),
            keep: match read.name("keep")? {
                None => default.keep,
                Some("best") => Keep::Best,
                Some("last") => Keep::Last,
                Some(other) => return Err(wrong("keep", format!("`{other}`"), "best or last")),
            },
            log_interval: read.number("log_interval")?.unwrap_or(default.log_interval),
            checkpoint_every: read.number("checkpoint_every")?.unwrap_or(default.checkpoint_every),
            checkpoint_steps: read.count("checkpoint_steps")?,
            stability: stability::chosen(parameters),
        };
        settings.check()?;
        Ok(settings)
    }

    /// The same settings for a delta, some of whose parameters say how it trains.
    pub fn with_delta(mut self, delta: &str, parameters: &IndexMap<String, Value>) -> Self {
        self.stability.extend(stability::of_delta(delta, parameters));
        self
    }

    /// Optimizer steps of one pass over `rows` rows.
    pub fn steps_per_epoch(&self, rows: usize) -> u64 {
        rows.div_ceil(self.batch_size) as u64
    }

    /// Optimizer steps of the whole training.
    pub fn total_steps(&self, rows: usize) -> u64 {
        self.steps.unwrap_or_else(|| {
            // As with the warm-up, rounding must not add a step: 0.07 epochs of 100 steps are 7.
            ((self.epochs * self.steps_per_epoch(rows) as f64 - 1e-9).ceil() as u64).max(1)
        })
    }

    /// Refuses values no training makes sense with. [`from_parameters`](Self::from_parameters) and `fit` call it.
    pub fn check(&self) -> Result<(), TrainError> {
        let at_least_0 = |value: f64| value >= 0.0 && value.is_finite();
        let above_0 = |value: f64| value > 0.0 && value.is_finite();
        let decay = |value: f64| (0.0..1.0).contains(&value);
        let rules = [
            ("epochs", self.epochs, above_0(self.epochs), "above 0"),
            ("steps", self.steps.unwrap_or(1) as f64, self.steps != Some(0), "at least 1"),
            ("batch_size", self.batch_size as f64, self.batch_size > 0, "at least 1"),
            ("micro_batch_size", 0.0, self.micro_batch_size != Some(0), "at least 1"),
            ("learning_rate", self.learning_rate, at_least_0(self.learning_rate), "at least 0"),
            ("weight_decay", self.weight_decay, at_least_0(self.weight_decay), "at least 0"),
            ("adam_beta1", self.adam_beta1, decay(self.adam_beta1), "at least 0 and below 1"),
            ("adam_beta2", self.adam_beta2, decay(self.adam_beta2), "at least 0 and below 1"),
            ("adam_epsilon", self.adam_epsilon, at_least_0(self.adam_epsilon), "at least 0"),
            ("max_grad_norm", self.max_grad_norm.unwrap_or(1.0), self.max_grad_norm.is_none_or(above_0), "at least 0"),
            ("patience", 0.0, self.patience != Some(0), "at least 1"),
            ("log_interval", self.log_interval, at_least_0(self.log_interval), "at least 0 seconds"),
            ("checkpoint_every", self.checkpoint_every, at_least_0(self.checkpoint_every), "at least 0 seconds"),
            ("checkpoint_steps", 0.0, self.checkpoint_steps != Some(0), "at least 1"),
        ];
        for (name, value, fine, expected) in rules {
            if !fine {
                return Err(wrong(name, value.to_string(), expected));
            }
        }
        match self.warmup {
            Warmup::Ratio(ratio) if !(0.0..=1.0).contains(&ratio) => {
                Err(wrong("warmup", ratio.to_string(), "a fraction from 0 to 1, or a number of steps"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(pairs: &[(&str, Value)]) -> IndexMap<String, Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn missing_parameters_have_the_defaults_and_foreign_ones_are_left_alone() {
        let read = Settings::from_parameters(&parameters(&[("max_tokens", Value::Int(128))]));
        assert_eq!(read.unwrap(), Settings::default());
    }

    #[test]
    fn every_parameter_reaches_its_field() {
        let read = Settings::from_parameters(&parameters(&[
            ("epochs", Value::Epochs(0.5)),
            ("steps", Value::Steps(70)),
            ("batch_size", Value::Int(8)),
            ("micro_batch_size", Value::Int(2)),
            ("micro_batch_tokens", Value::Int(900)),
            ("learning_rate", Value::Float(1e-3)),
            ("schedule", Value::Name("cosine".into())),
            ("warmup", Value::Steps(9)),
            ("weight_decay", Value::Float(0.0)),
            ("adam_beta1", Value::Float(0.8)),
            ("adam_beta2", Value::Float(0.98)),
            ("adam_epsilon", Value::Float(1e-6)),
            ("bias_correction", Value::Bool(false)),
            ("max_grad_norm", Value::None),
            ("precision", Value::Name("bf16".into())),
            ("seed", Value::Int(5)),
            ("patience", Value::Int(3)),
            ("metric", Value::Name("macro_f1".into())),
            ("keep", Value::Name("last".into())),
            ("log_interval", Value::Seconds(2.0)),
            ("checkpoint_every", Value::Seconds(60.0)),
            ("checkpoint_steps", Value::Steps(500)),
            ("layer_decay", Value::Float(0.9)),
            ("mixout", Value::None),
        ]))
        .unwrap();
        let expected = Settings {
            epochs: 0.5,
            steps: Some(70),
            batch_size: 8,
            micro_batch_size: Some(2),
            micro_batch_tokens: 900,
            learning_rate: 1e-3,
            schedule: Schedule::Cosine,
            warmup: Warmup::Steps(9),
            weight_decay: 0.0,
            adam_beta1: 0.8,
            adam_beta2: 0.98,
            adam_epsilon: 1e-6,
            bias_correction: false,
            max_grad_norm: None,
            precision: Precision::Bf16,
            seed: 5,
            patience: Some(3),
            metric: Some("macro_f1".into()),
            keep: Keep::Last,
            log_interval: 2.0,
            checkpoint_every: 60.0,
            checkpoint_steps: Some(500),
            stability: parameters(&[("layer_decay", Value::Float(0.9))]),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_value_of_the_wrong_type_or_out_of_range_is_named() {
        for (name, value) in [
            ("epochs", Value::Float(0.0)),
            ("batch_size", Value::Int(0)),
            ("learning_rate", Value::Float(f64::NAN)),
            ("schedule", Value::Name("step".into())),
            ("precision", Value::Name("f16".into())),
            ("warmup", Value::Float(1.5)),
            ("bias_correction", Value::Int(1)),
            ("max_grad_norm", Value::Float(-1.0)),
            ("patience", Value::Int(0)),
        ] {
            let error = Settings::from_parameters(&parameters(&[(name, value)])).unwrap_err();
            assert!(error.to_string().contains(name), "{error}");
        }
    }

    #[test]
    fn steps_follow_from_epochs_unless_given() {
        let settings = Settings { epochs: 2.5, batch_size: 4, ..Settings::default() };
        assert_eq!(settings.total_steps(10), 8); // 2.5 epochs of 3 steps
        assert_eq!(Settings { steps: Some(2), ..settings.clone() }.total_steps(10), 2);
        assert_eq!(Settings { epochs: 0.001, ..settings }.total_steps(10), 1);
    }
}
