//! Who is let in: so many connections, each for so long, whatever it does.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::serve::Listener;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Sleep,
};

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
    type Io = Visit;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Visit, SocketAddr) {
        // Nobody ever closes the semaphore.
        let room = self.room.clone().acquire_owned().await.ok();
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let end = Box::pin(tokio::time::sleep(self.deadline));
                    return (Visit { stream, end, _room: room }, address);
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

/// A connection that ends at its deadline.
pub(super) struct Visit {
    stream: TcpStream,
    end: Pin<Box<Sleep>>,
    _room: Option<OwnedSemaphorePermit>,
}

impl Visit {
    fn poll<T>(
        &mut self,
        context: &mut Context<'_>,
        work: impl FnOnce(Pin<&mut TcpStream>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if self.end.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        work(Pin::new(&mut self.stream), context)
    }
}

impl AsyncRead for Visit {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_read(context, to))
    }
}

impl AsyncWrite for Visit {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll(context, |stream, context| stream.poll_write(context, bytes))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_flush(context))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll(context, |stream, context| stream.poll_shutdown(context))
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
