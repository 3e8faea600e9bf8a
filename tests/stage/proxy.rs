//! A slow way to the API server: bytes pass unchanged, each after a pause.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};

/// Bytes that one read may take: a watch event or two.
const CHUNK: usize = 16 << 10;

/// A TCP proxy on loopback in front of an API server. TLS passes through it. Its threads end with the process.
pub(crate) struct Proxy {
    address: SocketAddr,
    delay: Arc<AtomicU64>,
}

impl Proxy {
    /// Listens on a free port; `server` is `https://127.0.0.1:PORT`.
    pub(crate) fn start(server: &str) -> Result<Self> {
        let target: SocketAddr = server.strip_prefix("https://").unwrap_or(server).parse().context("not an address")?;
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        let address = listener.local_addr()?;
        let delay = Arc::new(AtomicU64::new(0));
        let shared = Arc::clone(&delay);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is away cuts the connection, as it would without a proxy.
                if let Ok(server) = TcpStream::connect(target) {
                    both_ways(&client, &server, &shared);
                }
            }
        });
        Ok(Self { address, delay })
    }

    /// What stands for the API server's address.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// Every piece of data waits for so long from now on, in each direction.
    pub(crate) fn delay(&self, pause: Duration) {
        self.delay.store(u64::try_from(pause.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

fn both_ways(client: &TcpStream, server: &TcpStream, delay: &Arc<AtomicU64>) {
    for (from, to) in [(client, server), (server, client)] {
        let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { return };
        let delay = Arc::clone(delay);
        std::thread::spawn(move || one_way(from, to, &delay));
    }
}

fn one_way(mut from: TcpStream, mut to: TcpStream, delay: &AtomicU64) {
    let mut buffer = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        // The fault itself, not a wait for something.
        std::thread::sleep(Duration::from_millis(delay.load(Ordering::Relaxed)));
        if buffer.get(..length).is_none_or(|bytes| to.write_all(bytes).is_err()) {
            break;
        }
    }
    // Either end may be gone already; then there is nobody left to tell.
    let _gone = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
