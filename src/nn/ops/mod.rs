//! Operations where training spends its time, each with a hand-written backward.
//!
//! On the CPU they run on plain slices through burn's extension mechanism (`extension`); on other devices, and as the
//! oracle in tests, each has a twin of ordinary burn tensor operations, in the same file. Shapes: `T` tokens of a packed
//! batch, `d` features.
//!
//! The same bits come out whatever the number of threads: work is split at bounds fixed by the shapes (`parallel`), and
//! partial sums are added in order.

mod adamw;
mod attention;
mod cross_entropy;
mod dropout;
mod embedding;
mod extension;
mod gated;
mod gelu;
mod layer_norm;
mod linear;
mod masked;
mod math;
mod matmul;
#[cfg(test)]
mod oracle;
mod parallel;
mod prepend;

pub use adamw::{AdamW, squared_sum};
pub use attention::{Bounds, attention};
pub use cross_entropy::cross_entropy;
pub use dropout::{Dropout, dropout};
pub use embedding::{add_rows, embedding, gather, sum_rows};
pub use extension::on_host;
pub use gated::{Gated, add_open_slope, gated, logistic};
pub use gelu::gelu;
pub use layer_norm::layer_norm;
pub use linear::linear;
pub use masked::{Kept, masked};
pub use matmul::{Precision, tiles};
pub use prepend::prepend;
