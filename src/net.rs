//! What all clients of a network share: ciphers, and how long they wait.

use std::sync::Once;
use std::time::Duration;

/// A server that does not take a connection within this time is out of reach.
pub const CONNECT: Duration = Duration::from_secs(5);

/// So is one that says nothing for this long.
pub const SILENCE: Duration = Duration::from_secs(30);

/// What servers are told they talk to.
pub const AGENT: &str = concat!("ftp/", env!("CARGO_PKG_VERSION"));

/// TLS asks for a provider of its ciphers once in a process.
pub fn use_ring() {
    static ONCE: Once = Once::new();
    // Another part of the process may have chosen one; that one serves as well.
    ONCE.call_once(|| drop(rustls::crypto::ring::default_provider().install_default()));
}
