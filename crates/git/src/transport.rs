//! libgit2's smart protocol over our own https, so that trust anchors, credentials and limits
//! belong to one remote instead of the process.

use std::{
    io::{self, Cursor, Read, Write},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use git2::{
    ErrorClass, ErrorCode,
    transport::{Service, SmartSubtransport, SmartSubtransportStream, Transport},
};

use crate::{
    exchange::ExchangeError,
    http::{Budget, Client, Post, Received, cause},
    pktline,
    poll::ask,
    remote::BranchRef,
};

/// The address under which libgit2 finds the transport; the real one is the client's.
pub(crate) const ADDRESS: &str = "writ://fetch/";
/// The largest request body: what we have, 50 bytes per commit in rounds of at most 256, and one
/// capability line, with room for 20,000 more.
const MAX_NEGOTIATION_BYTES: usize = 1 << 20;

/// What the server can do in version 0: every one that has version 2 can.
const CAPABILITIES: &str = "multi_ack_detailed side-band-64k thin-pack ofs-delta";

/// One fetch: connection, budget, and the first thing that went wrong. libgit2 passes on only text.
pub(crate) struct Session {
    client: Client,
    reference: BranchRef,
    budget: Budget,
    requests: AtomicU64,
    failure: Mutex<Option<ExchangeError>>,
}

impl Session {
    pub(crate) fn new(client: Client, reference: BranchRef, budget: Budget) -> Arc<Self> {
        Arc::new(Self { client, reference, budget, requests: AtomicU64::new(0), failure: Mutex::new(None) })
    }

    /// Remembers `error` if it is the first.
    pub(crate) fn fail(&self, error: ExchangeError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// The first thing that went wrong.
    pub(crate) fn failure(&self) -> Option<ExchangeError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn received(&self) -> u64 {
        self.budget.received()
    }
}

/// Makes `session` what [`ADDRESS`] leads to. Once per process.
#[expect(unsafe_code, reason = "registering a transport is a process-wide act")]
pub(crate) fn register(session: &Arc<Session>) -> Result<(), git2::Error> {
    let session = Arc::clone(session);
    // SAFETY: the fetch child has one thread and calls this once, before its only remote is made.
    unsafe {
        git2::transport::register("writ", move |remote| {
            Transport::smart(remote, true, Subtransport { session: Arc::clone(&session) })
        })
    }
}

struct Subtransport {
    session: Arc<Session>,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let session = Arc::clone(&self.session);
        match action {
            Service::UploadPackLs => Ok(Box::new(Stream { session, state: State::Listing })),
            Service::UploadPack => Ok(Box::new(Stream { session, state: State::Asking(Vec::new()) })),
            Service::ReceivePackLs | Service::ReceivePack => {
                Err(git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, "a mirror never pushes"))
            }
        }
    }

    fn close(&self) -> Result<(), git2::Error> {
        Ok(())
    }
}

enum State {
    Listing,
    Listed(Cursor<Vec<u8>>),
    Asking(Vec<u8>),
    Answering(Box<Received>),
    Broken,
}

/// One request and its answer: what is written is the body, the first read sends it.
struct Stream {
    session: Arc<Session>,
    state: State,
}

impl Stream {
    /// What there is to read next.
    fn answer(&mut self) -> io::Result<&mut dyn Read> {
        let next = match &self.state {
            State::Listing => Some(State::Listed(Cursor::new(self.list()?))),
            State::Asking(body) => Some(State::Answering(Box::new(self.send(body)?))),
            State::Listed(_) | State::Answering(_) | State::Broken => None,
        };
        if let Some(next) = next {
            self.state = next;
        }
        match &mut self.state {
            State::Listed(list) => Ok(list),
            State::Answering(received) => Ok(received),
            _ => Err(io::Error::other(ExchangeError::Truncated)),
        }
    }

    fn send(&self, body: &[u8]) -> io::Result<Received> {
        self.session.requests.fetch_add(1, Ordering::Relaxed);
        let post = Post { body, protocol: None };
        self.session.client.upload_pack(&post, &self.session.budget).map_err(io::Error::other)
    }

    /// Version 0's list of refs, with the one that is fetched: the server has told where that is in version 2, for it lists
    /// all refs in version 0, and others can make as many as they like.
    fn list(&self) -> io::Result<Vec<u8>> {
        let Session { client, reference, budget, requests, .. } = &*self.session;
        requests.fetch_add(1, Ordering::Relaxed);
        let head = ask(client, reference, budget).map_err(io::Error::other)?;
        let mut list = Vec::new();
        // A ref has at most 255 bytes, so every packet fits.
        let _ = pktline::write(&mut list, b"# service=git-upload-pack\n");
        pktline::write_flush(&mut list);
        if let Some(head) = head {
            let _ = pktline::write(&mut list, format!("{head} {reference}\0{CAPABILITIES}\n").as_bytes());
        }
        pktline::write_flush(&mut list);
        Ok(list)
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.answer().and_then(|answer| answer.read(buffer));
        if let Err(error) = &result {
            self.session.fail(cause(error));
            self.state = State::Broken;
        }
        result
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.state {
            State::Asking(body) if body.len().saturating_add(bytes.len()) <= MAX_NEGOTIATION_BYTES => {
                body.extend_from_slice(bytes);
                Ok(bytes.len())
            }
            _ => {
                let detail = "the negotiation is too long".to_owned();
                self.session.fail(ExchangeError::Protocol { detail: detail.clone() });
                Err(io::Error::other(detail))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
