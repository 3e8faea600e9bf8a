//! Who is let in: so many connections, each for so long, whatever it does.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use crate::visit::Visit;

/// Connections at once; others wait in the kernel. Each may fill a buffer of 400 KiB with headers: 13 MiB.
pub(super) const MAX_CONNECTIONS: usize = 32;
/// From the first byte to the last of the answer. A forge sends at once; who sends a byte now and then keeps one of the
/// connections for this long.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);
/// How long nobody is let in after the kernel could not (no file descriptors, mostly).
const RETRY: Duration = Duration::from_millis(500);

/// Listens.
pub(super) struct Door {
    listener: TcpListener,
    room: Arc<Semaphore>,
    deadline: Duration,
}

impl Door {
    pub(super) fn new(listener: TcpListener, deadline: Duration) -> Self {
        Self { listener, room: Arc::new(Semaphore::new(MAX_CONNECTIONS)), deadline }
    }
}

impl Listener for Door {
    type Io = Visit<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit<TcpStream>, SocketAddr) {
        // Nobody ever closes the semaphore.
        let room = self.room.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    return (Visit::new(stream, room, self.deadline), address);
                }
                Err(error) => {
                    tracing::debug!(error = %error, "a connection to the webhooks was not accepted");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use axum::{Router, routing::get};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn who_sends_slowly_is_shown_out_and_who_waited_gets_in() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/", get(|| async { "in" }));
        let (begin, deadline) = (Instant::now(), Duration::from_secs(1));
        tokio::spawn(async move { axum::serve(Door::new(listener, deadline), router).await.unwrap() });
        let mut slow = Vec::new();
        for _ in 0..MAX_CONNECTIONS {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost:").await.unwrap();
            slow.push(stream);
        }
        let mut late = TcpStream::connect(address).await.unwrap();
        late.write_all(b"GET / HTTP/1.1\r\nHost: writ\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        late.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("in"), "{answer}");
        assert!(begin.elapsed() >= deadline, "there was room for one more after {:?}", begin.elapsed());
        for mut stream in slow {
            // Whether it is told why or not, it is over.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest).await.ok();
            assert!(!String::from_utf8_lossy(&rest).contains("200 OK"));
        }
    }
}
