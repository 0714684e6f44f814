//! The training loop.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use super::evaluation::{Scores, better, deciding_metric, evaluate};
use super::objective::{Objective, Rows};
use super::optimizer::{Optimizer, clip_coefficient, global_norm};
use super::progress::Meter;
use super::settings::{Keep, Settings};
use super::step::{Draws, accumulate};
use crate::data::order::{self, Budget};
use crate::event::{Event, Notice};
use crate::nn::models::Model;
use crate::nn::parameters::{Parameters, Weight};
use crate::random::Key;

/// What training found out. Holds no times: the same training gives the same record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// Optimizer steps taken.
    pub steps: u64,
    /// Passes over the rows, the last one perhaps in part.
    pub epochs: f64,
    /// Where the weights come from that were kept: the best evaluation's, or the last step's.
    pub best_epoch: f64,
    /// Training ended because `patience` ran out.
    pub stopped_early: bool,
    /// Mean loss a target over the last epoch.
    pub train_loss: f64,
    /// Scores of the weights that were kept, if there are dev rows.
    pub dev: Option<Scores>,
    /// One entry an epoch.
    pub history: Vec<EpochRecord>,
    /// Parameters (numbers, not tensors) that trained.
    pub trained_parameters: u64,
    pub total_parameters: u64,
    /// Tokens seen in training, repeats counted.
    pub tokens: u64,
}

/// The state at the end of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochRecord {
    pub epoch: f64,
    pub step: u64,
    /// Mean loss a target over this epoch's steps.
    pub train_loss: f64,
    pub dev: Option<Scores>,
}

/// Trains a model's trainable parameters in place.
///
/// Order, dropout and masks depend on the seed only. Each epoch ends with an evaluation on the dev rows if there are
/// any; at the end the model has the best or the last weights, as `settings.keep` says. Events go to `sink` under the
/// name `stage`: progress a few times a second, and every evaluation.
pub fn fit(
    model: &mut Model,
    objective: &dyn Objective,
    train: Rows,
    dev: Option<Rows>,
    settings: &Settings,
    stage: &str,
    sink: &dyn Fn(Event),
) -> Result<Fitted, TrainError> {
    settings.check()?;
    if train.is_empty() {
        return Err(TrainError::NoRows { purpose: "train" });
    }
    let dev = dev.filter(|rows| !rows.is_empty());
    for rows in [Some(train), dev].into_iter().flatten() {
        for notice in objective.check(rows)? {
            sink(Event::Notice { stage: stage.to_owned(), notice });
        }
    }
    if dev.is_none() && (settings.patience.is_some() || settings.metric.is_some()) {
        let message = "there are no dev rows, so patience and metric have no effect: the last weights are kept";
        sink(Event::Notice { stage: stage.to_owned(), notice: Notice::new("ftp::train::no_dev", message) });
    }
    let (trained_parameters, total_parameters) = count(&model.parameters);
    if trained_parameters == 0 {
        return Err(TrainError::NothingTrains);
    }

    let steps = settings.total_steps(train.len());
    let steps_per_epoch = settings.steps_per_epoch(train.len()) as f64;
    let epochs = steps as f64 / steps_per_epoch;
    let warmup = settings.warmup.steps(steps);
    let rows_of_pass = settings.micro_batch_size.unwrap_or(settings.batch_size);
    let budget = Budget { rows: rows_of_pass, tokens: settings.micro_batch_tokens };
    let [masks, dropout] = ["mask", "dropout"].map(|purpose| Key::new(settings.seed, purpose));

    let mut optimizer = Optimizer::new(settings);
    let mut selection = Selection::new(deciding_metric(objective, settings.metric.as_deref())?, settings);
    let mut meter = Meter::new(steps, settings.log_interval, Instant::now());
    let mut history: Vec<EpochRecord> = Vec::new();
    let (mut step, mut tokens, mut stopped_early) = (0, 0, false);

    for epoch in 0.. {
        let (mut epoch_loss, mut epoch_targets) = (0.0, 0);
        for chosen in &order::epoch(train.len(), settings.batch_size, settings.seed, epoch) {
            let learning_rate = settings.learning_rate * settings.schedule.factor(step, warmup, steps);
            step += 1;

            let draws = Draws { masks: masks.at(epoch), dropout: dropout.at(step) };
            let sum = accumulate(model, objective, train, chosen, budget, draws)?;
            let targets = sum.targets.max(1) as f64;
            finite("loss", sum.loss / targets, step)?;
            let norm = global_norm(&sum.gradients) / targets;
            finite("gradient norm", norm, step)?;
            let scale = clip_coefficient(norm, settings.max_grad_norm) / targets;
            optimizer.update(&mut model.parameters, sum.gradients, learning_rate, scale as f32);

            tokens += sum.tokens;
            epoch_loss += sum.loss;
            epoch_targets += sum.targets;
            if let Some(report) = meter.count(sum.loss, sum.targets, sum.tokens, Instant::now()) {
                sink(Event::Progress {
                    stage: stage.to_owned(),
                    epoch: step as f64 / steps_per_epoch,
                    epochs,
                    step,
                    steps,
                    loss: report.loss,
                    learning_rate,
                    tokens_per_second: report.tokens_per_second,
                    eta_seconds: report.eta_seconds,
                });
            }
            if step == steps {
                break;
            }
        }

        let mut record = EpochRecord {
            epoch: step as f64 / steps_per_epoch,
            step,
            train_loss: epoch_loss / epoch_targets.max(1) as f64,
            dev: None,
        };
        if let Some(dev) = dev {
            let scores = evaluate(model, objective, dev, settings.seed)?.scores;
            sink(Event::Evaluated {
                stage: stage.to_owned(),
                split: "dev".to_owned(),
                epoch: record.epoch,
                loss: scores.loss,
                metrics: scores.metrics.clone(),
            });
            stopped_early = selection.offer(&model.parameters, &scores, record.epoch) && step < steps;
            record.dev = Some(scores);
            meter.restart(Instant::now());
        }
        history.push(record);
        if step == steps || stopped_early {
            break;
        }
    }

    let last = history.last().expect("an epoch has been trained");
    let (train_loss, last_epoch, last_scores) = (last.train_loss, last.epoch, last.dev.clone());
    let (best_epoch, scores) = match selection.best {
        Some(best) if settings.keep == Keep::Best => {
            restore(&mut model.parameters, best.weights);
            (best.epoch, Some(best.scores))
        }
        _ => (last_epoch, last_scores),
    };
    Ok(Fitted {
        steps: step,
        epochs: last_epoch,
        best_epoch,
        stopped_early,
        train_loss,
        dev: scores,
        history,
        trained_parameters,
        total_parameters,
        tokens,
    })
}

/// Remembers the best evaluation and counts those that were not better.
struct Selection {
    metric: String,
    keep: Keep,
    patience: Option<u64>,
    without_improvement: u64,
    best: Option<Best>,
}

struct Best {
    value: f64,
    epoch: f64,
    scores: Scores,
    /// Only what trains: sharing tensors, the copy costs memory for no more than that.
    weights: Vec<(String, Weight)>,
}

impl Selection {
    fn new(metric: String, settings: &Settings) -> Self {
        Self { metric, keep: settings.keep, patience: settings.patience, without_improvement: 0, best: None }
    }

    /// Looks at an evaluation; true if it is time to stop. Of equals the earlier one stays the best.
    fn offer(&mut self, parameters: &Parameters, scores: &Scores, epoch: f64) -> bool {
        let value = scores.get(&self.metric).unwrap_or(scores.loss);
        if self.best.as_ref().is_none_or(|best| better(&self.metric, value, best.value)) {
            let weights = match self.keep {
                Keep::Best => trainable(parameters),
                Keep::Last => Vec::new(),
            };
            self.best = Some(Best { value, epoch, scores: scores.clone(), weights });
            self.without_improvement = 0;
        } else {
            self.without_improvement += 1;
        }
        self.patience.is_some_and(|patience| self.without_improvement >= patience)
    }
}

fn trainable(parameters: &Parameters) -> Vec<(String, Weight)> {
    let trainable = parameters.iter().filter(|(_, parameter)| parameter.trainable);
    trainable.map(|(name, parameter)| (name.clone(), parameter.weight.clone())).collect()
}

fn restore(parameters: &mut Parameters, weights: Vec<(String, Weight)>) {
    for (name, weight) in weights {
        if let Some(parameter) = parameters.get_mut(&name) {
            parameter.weight = weight;
        }
    }
}

/// Numbers that train, and all numbers.
fn count(parameters: &Parameters) -> (u64, u64) {
    parameters.values().fold((0, 0), |(trained, total), parameter| {
        let numbers = parameter.weight.count() as u64;
        (trained + if parameter.trainable { numbers } else { 0 }, total + numbers)
    })
}

fn finite(quantity: &'static str, value: f64, step: u64) -> Result<(), TrainError> {
    if value.is_finite() { Ok(()) } else { Err(TrainError::Diverged { quantity, value, step }) }
}
