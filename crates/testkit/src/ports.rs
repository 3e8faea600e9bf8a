//! Free ports on loopback.

use std::net::TcpListener;

use anyhow::{Result, anyhow};
use rand::Rng;

/// Ports are taken below the kernel's ephemeral range (32768 and up), where outgoing connections of other processes could take
/// the port of a server while it is down.
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// Tries until a port is free: with even half of the range taken, 20 tries fail once in a million.
const TRIES: usize = 20;

/// A listener on 127.0.0.1 with a port that was asked for by its number: the kernel keeps such a port bound while the socket does
/// not listen, which it does not for a port of its own choice.
pub(crate) fn free_port() -> Result<TcpListener> {
    for _ in 0..TRIES {
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", rand::rng().random_range(PORTS))) {
            return Ok(listener);
        }
    }
    Err(anyhow!("no free port among {TRIES} tries in {PORTS:?} on 127.0.0.1"))
}
