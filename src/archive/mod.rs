//! Bundles: a file with everything it needs in one archive, for another machine.
//!
//! From outside: [`write()`] packs [`Contents`], [`Opened::unpack`] lays a bundle out in a directory that counts only when
//! every byte of it was verified, and [`Opened::install`] puts its results into a store. The archive is a tar, compressed
//! or not; its first entry, the [`Index`], names every other one with digest and size, and nothing that it does not
//! name is read. Equal contents give equal bytes.

mod error;
mod index;
mod read;
mod write;

pub use error::ArchiveError;
pub use index::{Entry, Index, LeftOut};
pub use read::{Opened, unpack};
pub use write::{Contents, Packed, write};

/// Version of the layout.
pub const VERSION: u32 = 1;

/// Name of the index in the archive, and in a directory that was unpacked.
pub const INDEX: &str = "bundle.json";
