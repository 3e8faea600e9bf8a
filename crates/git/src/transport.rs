//! libgit2's smart protocol over our own https and ssh, so that trust anchors, host keys, credentials and limits
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
    budget::Budget,
    client::Client,
    exchange::{ExchangeError, cause},
    http::{self, Post, Received},
    pktline,
    poll::{Polled, ask},
    remote::Tracked,
    ssh,
};

/// The address under which libgit2 finds the transport; the real one is the client's.
pub(crate) const ADDRESS: &str = "writ://fetch/";
/// The largest request body: what we have, 50 bytes per commit in rounds of at most 256, and one
/// capability line, with room for 20,000 more.
const MAX_NEGOTIATION_BYTES: usize = 1 << 20;

/// What is asked of a server in version 0: every one that has version 2 can do all of it.
const CAPABILITIES: &str = "multi_ack_detailed side-band-64k thin-pack ofs-delta";

/// One fetch: connection, budget, and the first thing that went wrong. libgit2 passes on only text.
pub(crate) struct Session {
    client: Client,
    tracked: Tracked,
    budget: Budget,
    requests: AtomicU64,
    failure: Mutex<Option<ExchangeError>>,
}

impl Session {
    pub(crate) fn new(client: Client, tracked: Tracked, budget: Budget) -> Arc<Self> {
        Arc::new(Self { client, tracked, budget, requests: AtomicU64::new(0), failure: Mutex::new(None) })
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
    // Each request of https stands for itself.
    let stateless = matches!(session.client, Client::Https(_));
    // SAFETY: the fetch child has one thread and calls this once, before its only remote is made.
    unsafe {
        git2::transport::register("writ", move |remote| {
            Transport::smart(remote, stateless, Subtransport { session: Arc::clone(&session) })
        })
    }
}

struct Subtransport {
    session: Arc<Session>,
}

impl SmartSubtransport for Subtransport {
    fn action(&self, _url: &str, action: Service) -> Result<Box<dyn SmartSubtransportStream>, git2::Error> {
        let session = Arc::clone(&self.session);
        let state = match action {
            Service::UploadPackLs => State::Listing,
            Service::UploadPack => State::Asking(Vec::new()),
            Service::ReceivePackLs | Service::ReceivePack => {
                return Err(git2::Error::new(ErrorCode::GenericError, ErrorClass::Net, "a mirror never pushes"));
            }
        };
        match &self.session.client {
            Client::Https(client) => {
                let client = client.clone();
                Ok(Box::new(Stream { session, client, state }))
            }
            // One stream for the whole of it: libgit2 goes on with the one that lists.
            Client::Ssh(client) => {
                let client = client.clone();
                Ok(Box::new(Conversation { session, client, state: Talk::Silent }))
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
    client: http::Client,
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
        self.client.upload_pack(&post, &self.session.budget).map_err(io::Error::other)
    }

    /// Version 0's list of refs, with the one that is fetched: the server has told where that is in version 2, for it lists
    /// all refs in version 0, and others can make as many as they like.
    fn list(&self) -> io::Result<Vec<u8>> {
        let Session { tracked, budget, requests, .. } = &*self.session;
        requests.fetch_add(1, Ordering::Relaxed);
        let head = ask(&self.client, tracked, budget).map_err(io::Error::other)?.found();
        let mut list = Vec::new();
        // Every packet fits.
        let _ = pktline::write(&mut list, b"# service=git-upload-pack\n");
        pktline::write_flush(&mut list);
        list_one(&mut list, &head, tracked, CAPABILITIES);
        Ok(list)
    }
}

/// The list of refs of a server that has one at most.
fn list_one(list: &mut Vec<u8>, polled: &Polled, tracked: &Tracked, capabilities: &str) {
    let Tracked { reference, format } = tracked;
    let tag = polled.tag.map(|tag| tag.to_string());
    if let Some(head) = tag.or_else(|| polled.head.map(|commit| commit.to_string())) {
        // libgit2 reads ids by the format, and looks for a blank after it. A ref has at most 255 bytes, so the packet fits.
        let line = format!("{head} {reference}\0object-format={} {capabilities}\n", format.git_name());
        let _ = pktline::write(list, line.as_bytes());
    }
    pktline::write_flush(list);
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

enum Talk {
    Silent,
    /// The list of refs as libgit2 is to see it, and what comes after it.
    Talking(Cursor<Vec<u8>>, Box<ssh::Session>),
    Broken,
}

/// A fetch over ssh: one command that both sides talk to until the pack is there.
struct Conversation {
    session: Arc<Session>,
    client: ssh::Client,
    state: Talk,
}

impl Conversation {
    fn talk(&mut self) -> Result<(&mut Cursor<Vec<u8>>, &mut ssh::Session), ExchangeError> {
        if matches!(self.state, Talk::Silent) {
            let (list, command) = self.begin()?;
            self.state = Talk::Talking(Cursor::new(list), Box::new(command));
        }
        match &mut self.state {
            Talk::Talking(list, command) => Ok((list, command)),
            Talk::Silent | Talk::Broken => Err(ExchangeError::Truncated),
        }
    }

    /// In version 0, the only one that libgit2 has: the server lists all its refs, of which one is passed on.
    fn begin(&self) -> Result<(Vec<u8>, ssh::Session), ExchangeError> {
        let Session { tracked, budget, requests, .. } = &*self.session;
        requests.fetch_add(1, Ordering::Relaxed);
        let mut command = ssh::Session::open(&self.client, None, budget.clone())?;
        let listed = ssh::advertised(&mut command, tracked);
        let ssh::Advertised { polled, capabilities } = listed.map_err(|error| command.explain(error))?;
        let able = |wanted: &&str| capabilities.split(' ').any(|word| word == *wanted);
        let both: Vec<&str> = CAPABILITIES.split(' ').filter(able).collect();
        let mut list = Vec::new();
        list_one(&mut list, &polled, tracked, &both.join(" "));
        Ok((list, command))
    }

    fn fail<T>(&mut self, error: ExchangeError) -> io::Result<T> {
        self.session.fail(error.clone());
        self.state = Talk::Broken;
        Err(io::Error::other(error))
    }
}

impl Read for Conversation {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (list, command) = match self.talk() {
            Ok(talk) => talk,
            Err(error) => return self.fail(error),
        };
        let count = list.read(buffer)?;
        if count > 0 || buffer.is_empty() {
            return Ok(count);
        }
        match command.read(buffer) {
            // If this end is too early, it is why.
            Ok(0) => {
                let said = command.last_words();
                said.into_iter().for_each(|error| self.session.fail(error));
                Ok(0)
            }
            Ok(count) => Ok(count),
            Err(error) => self.fail(cause(&error)),
        }
    }
}

impl Write for Conversation {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.talk().and_then(|(_, command)| command.send(bytes));
        match sent {
            Ok(()) => Ok(bytes.len()),
            Err(error) => self.fail(error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
