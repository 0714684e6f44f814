//! How good predictions are, by the names of `lang::metric`; numbers as scikit-learn and SciPy give them.
//!
//! On degenerate input the metrics are defined rather than NaN: `matthews`, `pearson` and `spearman` are 0 when the
//! predictions or the targets are all the same, a class that is never predicted adds an F1 of 0, and everything is 0
//! for no rows at all.

use super::prediction::Prediction;
use crate::data::set::Target;
use crate::lang::metric;
use crate::lang::world::Task;

/// All metrics of a task, in the order of `lang::metric`.
pub fn compute(task: &Task, predictions: &[Prediction], targets: &[Target]) -> Vec<(String, f64)> {
    let value = |name: &str| match task {
        Task::Classification { labels } => {
            let counts = Confusion::new(labels.len(), predictions, targets);
            match name {
                "accuracy" | "micro_f1" => counts.accuracy(),
                "macro_f1" => counts.macro_f1(),
                "matthews" => counts.matthews(),
                _ => f64::NAN,
            }
        }
        Task::Regression => {
            let (predicted, wanted) = scores(predictions, targets);
            match name {
                "pearson" => pearson(&predicted, &wanted),
                "spearman" => spearman(&predicted, &wanted),
                "mean_squared_error" => mean_squared_error(&predicted, &wanted),
                _ => f64::NAN,
            }
        }
    };
    metric::of(task).iter().map(|&name| (name.to_owned(), value(name))).collect()
}

/// With more labels, a confusion matrix is nothing to look at.
const MOST_CONFUSED: usize = 64;

/// How often rows of each label (first index) were given each label; `None` for a regression, and for very many labels.
pub fn confusion(task: &Task, predictions: &[Prediction], targets: &[Target]) -> Option<Vec<Vec<u64>>> {
    match task {
        Task::Classification { labels } if (1..=MOST_CONFUSED).contains(&labels.len()) => {
            let counts = Confusion::new(labels.len(), predictions, targets).counts;
            Some(counts.chunks(labels.len()).map(<[u64]>::to_vec).collect())
        }
        Task::Classification { .. } | Task::Regression => None,
    }
}

/// How often each class was predicted for each class.
#[derive(Debug, Clone)]
pub struct Confusion {
    classes: usize,
    /// `[wanted * classes + predicted]`.
    counts: Vec<u64>,
}

impl Confusion {
    pub fn new(classes: usize, predictions: &[Prediction], targets: &[Target]) -> Self {
        let mut counts = vec![0; classes * classes];
        for pair in predictions.iter().zip(targets) {
            if let (Prediction::Class { class, .. }, Target::Class(wanted)) = pair {
                counts[*wanted as usize * classes + *class as usize] += 1;
            }
        }
        Self { classes, counts }
    }

    fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn right(&self, class: usize) -> u64 {
        self.counts[class * self.classes + class]
    }

    fn wanted(&self, class: usize) -> u64 {
        self.counts[class * self.classes..(class + 1) * self.classes].iter().sum()
    }

    fn predicted(&self, class: usize) -> u64 {
        self.counts.iter().skip(class).step_by(self.classes).sum()
    }

    /// Share of right answers; with one label a row it is also the micro-averaged F1.
    pub fn accuracy(&self) -> f64 {
        ratio((0..self.classes).map(|class| self.right(class)).sum::<u64>() as f64, self.total() as f64)
    }

    /// Mean F1 of the classes that occur among targets or predictions (scikit-learn's default).
    pub fn macro_f1(&self) -> f64 {
        let f1: Vec<f64> = (0..self.classes)
            .map(|class| (self.right(class), self.wanted(class) + self.predicted(class)))
            .filter(|&(_, occurrences)| occurrences > 0)
            .map(|(right, occurrences)| 2.0 * right as f64 / occurrences as f64)
            .collect();
        ratio(f1.iter().sum(), f1.len() as f64)
    }

    /// Matthews' correlation coefficient for any number of classes (Gorodkin 2004, R_K).
    pub fn matthews(&self) -> f64 {
        let total = self.total() as f64;
        let (mut right, mut chance, mut predicted_squares, mut wanted_squares) = (0.0, 0.0, 0.0, 0.0);
        for class in 0..self.classes {
            let (predicted, wanted) = (self.predicted(class) as f64, self.wanted(class) as f64);
            right += self.right(class) as f64;
            chance += predicted * wanted;
            predicted_squares += predicted * predicted;
            wanted_squares += wanted * wanted;
        }
        let spread = (total * total - predicted_squares) * (total * total - wanted_squares);
        ratio(right * total - chance, spread.sqrt())
    }
}

/// Pearson's correlation coefficient.
pub fn pearson(x: &[f64], y: &[f64]) -> f64 {
    // Means of equal numbers need not be that number exactly, so constancy is asked for, not a spread of 0.
    if constant(x) || constant(y) {
        return 0.0;
    }
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (x, y) in x.iter().zip(y) {
        let (x, y) = (x - mean_x, y - mean_y);
        xy += x * y;
        xx += x * x;
        yy += y * y;
    }
    ratio(xy, xx.sqrt() * yy.sqrt()).clamp(-1.0, 1.0)
}

/// Spearman's rank correlation; equal values share the mean of their ranks.
pub fn spearman(x: &[f64], y: &[f64]) -> f64 {
    pearson(&ranks(x), &ranks(y))
}

pub fn mean_squared_error(predicted: &[f64], wanted: &[f64]) -> f64 {
    ratio(predicted.iter().zip(wanted).map(|(a, b)| (a - b) * (a - b)).sum(), wanted.len() as f64)
}

/// What the simplest answer scores, to compare a model with.
#[derive(Debug, Clone, PartialEq)]
pub struct Baseline {
    /// The most frequent class of the training rows (the first of equals), or the mean of their scores.
    pub answer: Prediction,
    pub metrics: Vec<(String, f64)>,
}

/// Scores the constant answer that training targets suggest on other targets.
pub fn baseline(task: &Task, train: &[Target], test: &[Target]) -> Baseline {
    let answer = match task {
        Task::Classification { labels } => {
            let mut counts = vec![0u64; labels.len()];
            for target in train {
                if let Target::Class(class) = target {
                    counts[*class as usize] += 1;
                }
            }
            let shares = counts.iter().map(|&count| ratio(count as f64, train.len() as f64) as f32).collect();
            Prediction::from_probabilities(shares)
        }
        Task::Regression => {
            let known: Vec<f64> = train.iter().filter_map(score).collect();
            Prediction::Score(mean(&known) as f32)
        }
    };
    let metrics = compute(task, &vec![answer.clone(); test.len()], test);
    Baseline { answer, metrics }
}

fn scores(predictions: &[Prediction], targets: &[Target]) -> (Vec<f64>, Vec<f64>) {
    let pairs = predictions.iter().zip(targets).filter_map(|(prediction, target)| match prediction {
        Prediction::Score(predicted) => Some((f64::from(*predicted), score(target)?)),
        Prediction::Class { .. } => None,
    });
    pairs.unzip()
}

fn score(target: &Target) -> Option<f64> {
    match target {
        Target::Score(score) => Some(f64::from(*score)),
        Target::Class(_) => None,
    }
}

/// Ranks from 1; ties share their mean.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut below = 0;
    for tied in order.chunk_by(|&a, &b| values[a] == values[b]) {
        for &index in tied {
            ranks[index] = below as f64 + (tied.len() as f64 + 1.0) / 2.0;
        }
        below += tied.len();
    }
    ranks
}

fn constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

fn mean(values: &[f64]) -> f64 {
    ratio(values.iter().sum(), values.len() as f64)
}

/// `a / b`, 0 where b is 0.
fn ratio(a: f64, b: f64) -> f64 {
    if b == 0.0 { 0.0 } else { a / b }
}
