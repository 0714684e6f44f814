//! The training loop.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoint::{self, Place, Writer};
use super::error::TrainError;
use super::evaluation::{Evaluation, Scores, deciding_metric, evaluate};
use super::metrics;
use super::objective::{Objective, Rows};
use super::optimizer::{clip_coefficient, global_norm};
use super::progress::Meter;
use super::reader::Reader;
use super::resume::{self, Position, State};
use super::selection::Selection;
use super::settings::{Keep, Settings};
use super::stability::{At, Beginning, Techniques};
use super::step::{Draws, accumulate};
use super::turns::{Turn, Turns};
use crate::data::order::{self, Budget};
use crate::data::set::Target;
use crate::event::{Event, Notice};
use crate::nn::models::Model;
use crate::nn::parameters::Parameters;
use crate::random::Key;

/// What training found out. Holds no times: the same training gives the same record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fitted {
    /// Optimizer steps taken.
    pub steps: u64,
    /// Passes over the rows, the last one perhaps in part.
    pub epochs: f64,
    /// Where the weights come from that were kept: the best evaluation's, or the last step's; the last too where it is their
    /// mean that is kept.
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

/// What training has around it: who listens, and what a later attempt can go on from.
#[derive(Clone, Copy)]
pub struct Surroundings<'a> {
    /// The name events go under.
    pub stage: &'a str,
    /// Told of progress a few times a second, of every evaluation, and of what is odd.
    pub sink: &'a dyn Fn(Event),
    /// Where checkpoints are written and looked for; `None` for none.
    pub checkpoint: Option<&'a Place>,
    /// Where a training that ends with a part of its steps leaves its state, and finds that of the part before.
    pub relay: Option<&'a Place>,
    /// Of a process in which other trainings go on: when it is this one's turn.
    pub turns: Option<&'a Turns>,
}

impl Surroundings<'_> {
    fn evaluated(&self, found: Evaluation, objective: &dyn Objective, targets: &[Target], epoch: f64) -> Scores {
        let confusion = objective.task().and_then(|task| metrics::confusion(task, &found.predictions, targets));
        let scores = found.scores;
        (self.sink)(Event::Evaluated {
            stage: self.stage.to_owned(),
            split: "dev".to_owned(),
            epoch,
            loss: scores.loss,
            metrics: scores.metrics.clone(),
            confusion,
        });
        scores
    }

    fn notice(&self, notice: Notice) {
        (self.sink)(Event::Notice { stage: self.stage.to_owned(), notice });
    }
}

/// Trains a model's trainable parameters in place.
///
/// Order, dropout and masks depend on the seed only. Each epoch ends with an evaluation on the dev rows if there are
/// any; at the end the model has the best or the last weights, as `settings.keep` says. A checkpoint of an earlier attempt
/// at the same training is gone on from, and the result has the same bits as without the interruption.
pub fn fit(
    model: &mut Model,
    objective: &dyn Objective,
    train: Rows,
    dev: Option<Rows>,
    settings: &Settings,
    around: Surroundings,
) -> Result<Fitted, TrainError> {
    settings.check()?;
    if train.is_empty() {
        return Err(TrainError::NoRows { purpose: "train" });
    }
    let dev = dev.filter(|rows| !rows.is_empty());
    for rows in [Some(train), dev].into_iter().flatten() {
        for notice in objective.check(rows)? {
            around.notice(notice);
        }
    }
    if dev.is_none() && (settings.patience.is_some() || settings.metric.is_some()) {
        let message = "there are no dev rows, so patience and metric have no effect: the last weights are kept";
        around.notice(Notice::new("ftp::train::no_dev", message));
    }
    let (trained_parameters, total_parameters) = count(&model.parameters);
    if trained_parameters == 0 {
        return Err(TrainError::NothingTrains);
    }
    let trained: Vec<String> =
        model.parameters.iter().filter(|(_, parameter)| parameter.trainable).map(|(name, _)| name.clone()).collect();

    let steps = settings.total_steps(train.len());
    let steps_per_epoch = settings.steps_per_epoch(train.len()) as f64;
    let warmup = settings.warmup.steps(steps);
    let rows_of_pass = settings.micro_batch_size.unwrap_or(settings.batch_size);
    let budget = Budget { rows: rows_of_pass, tokens: settings.micro_batch_tokens };
    let [masks, dropout] = ["mask", "dropout"].map(|purpose| Key::new(settings.seed, purpose));

    let metric = deciding_metric(objective, settings.metric.as_deref())?;
    let fresh = |model: &Model| {
        let (read, seed, learning_rate) = (Reader(&settings.stability), settings.seed, settings.learning_rate);
        let steps_per_epoch = settings.steps_per_epoch(train.len());
        let epochs = steps as f64 / steps_per_epoch as f64;
        let (rows, labelled) = (train.len(), train.len() - train.unlabelled);
        let notices = Vec::new();
        let mut beginning =
            Beginning { read, model, seed, learning_rate, epochs, steps, steps_per_epoch, rows, labelled, notices };
        let techniques = Techniques::begin(&mut beginning)?;
        Ok((State::new(Selection::new(metric.clone(), settings), techniques, settings), beginning.notices))
    };
    let (mut state, notices) = resume::find(fresh, around, model, &trained, steps)?;
    let end = state.techniques.end().unwrap_or(steps);
    notices.into_iter().for_each(|notice| around.notice(notice));

    let now = Instant::now();
    let mut writer = Writer::new(around.checkpoint, settings.checkpoint_every, settings.checkpoint_steps, now);
    let mut meter = Meter::new(end, settings.log_interval, now).after(state.position.step, now);
    let mut stopped_early = false;
    let mut turn = Turn::of(around.turns);
    loop {
        let epoch = state.position.epoch;
        let batches = order::epoch(train.len(), settings.batch_size, settings.seed, epoch);
        for chosen in batches.iter().skip(state.position.batch) {
            if state.position.step == end {
                break;
            }
            let step = state.position.step + 1;
            let at = At { step, steps, epochs: (step - 1) as f64 / steps_per_epoch };
            let schedule = |done| settings.schedule.factor(done, warmup, steps);
            let learning_rate = settings.learning_rate * state.techniques.factor(at, schedule);
            state.techniques.before(model, at);

            turn.begin();
            let draws = Draws { masks: masks.at(epoch), dropout: dropout.at(step) };
            let regularizer = state.techniques.regularizer();
            let mut sum = accumulate(model, objective, train, chosen, budget, draws, regularizer)?;
            let targets = sum.targets.max(1) as f64;
            state.techniques.differentiated(model, &mut sum.gradients, targets);
            finite("loss", sum.loss / targets, step)?;
            let norm = global_norm(&sum.gradients) / targets;
            finite("gradient norm", norm, step)?;
            let scale = clip_coefficient(norm, settings.max_grad_norm) / targets;
            if let Err(why) = writer.settle() {
                around.notice(resume::unwritten(&why));
            }
            let rate = |name: &str| learning_rate * state.techniques.rate(name);
            state.optimizer.update(&mut model.parameters, sum.gradients, rate, scale as f32);
            state.techniques.updated(model, at);
            turn.step_done();

            state.position.step = step;
            state.position.batch += 1;
            state.position.tokens += sum.tokens;
            state.position.epoch_loss += sum.loss;
            state.position.epoch_targets += sum.targets;
            let now = Instant::now();
            if let Some(report) = meter.count(sum.loss, sum.targets, sum.tokens, now) {
                (around.sink)(Event::Progress {
                    stage: around.stage.to_owned(),
                    epoch: step as f64 / steps_per_epoch,
                    epochs: end as f64 / steps_per_epoch,
                    step,
                    steps: end,
                    loss: report.loss,
                    learning_rate,
                    tokens_per_second: report.tokens_per_second,
                    eta_seconds: report.eta_seconds,
                });
            }
            if writer.due(step, now) {
                writer.begin(step, state.snapshot(&model.parameters, &trained), now);
            }
            if let Some(relay) = around.relay.filter(|_| step == end)
                && let Err(why) = checkpoint::write(relay, step, state.snapshot(&model.parameters, &trained))
            {
                around.notice(resume::unwritten(&why.to_string()));
            }
        }

        turn.end();
        let step = state.position.step;
        let mut record = EpochRecord {
            epoch: step as f64 / steps_per_epoch,
            step,
            train_loss: state.position.epoch_loss / state.position.epoch_targets.max(1) as f64,
            dev: None,
        };
        if let Some(dev) = dev {
            let found = evaluate(model, objective, dev, settings.seed)?;
            let scores = around.evaluated(found, objective, dev.targets, record.epoch);
            stopped_early = state.techniques.settled()
                && state.selection.offer(&model.parameters, &trained, &scores, record.epoch)
                && step < end;
            record.dev = Some(scores);
            meter.restart(Instant::now());
        }
        state.position.history.push(record);
        if step == end || stopped_early {
            break;
        }
        state.position = std::mem::take(&mut state.position).next_epoch();
    }
    if let Err(why) = writer.settle() {
        around.notice(resume::unwritten(&why));
    }

    let mut notices = Vec::new();
    let replaced = state.techniques.finish(model, &mut notices);
    notices.into_iter().for_each(|notice| around.notice(notice));
    let Position { step, tokens, history, .. } = state.position;
    let last = history.last().expect("an epoch has been trained");
    let (train_loss, last_epoch, last_scores) = (last.train_loss, last.epoch, last.dev.clone());
    let (best_epoch, scores) = match state.selection.best {
        _ if replaced => {
            let scores = dev.map(|dev| evaluate(model, objective, dev, settings.seed)).transpose()?;
            let targets = dev.map_or(&[][..], |dev| dev.targets);
            (last_epoch, scores.map(|found| around.evaluated(found, objective, targets, last_epoch)))
        }
        Some(best) if settings.keep == Keep::Best && state.techniques.end().is_none() => {
            for (name, weight) in best.weights {
                model.parameters[&name].weight = weight;
            }
            (best.found.epoch, Some(best.found.scores))
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
