//! Git over ssh: host keys pinned by the text of a `known_hosts` file, a private key from memory, one command. No agent, no
//! files, no settings of whoever runs us.

mod advertisement;
mod identity;
mod known_hosts;
mod session;

use std::{fmt, sync::Arc};

use manifest::Sensitive;

use crate::{
    address::SshAddress,
    budget::Budget,
    exchange::ExchangeError,
    poll::{self, Listed},
    remote::{RemoteError, Tracked},
};

use self::{advertisement::Greeting, identity::Identity};
pub(crate) use self::{
    advertisement::{Advertised, advertised},
    known_hosts::KnownHosts,
    session::Session,
};

/// The most bytes of a server's answer that are read: one that knows version 2 needs about a thousand; one that does not lists
/// all its refs, and these are 200,000 of 80 bytes.
const MAX_LISTING_BYTES: u64 = 16 << 20;

/// How one repository is reached. Clones share the keys.
#[derive(Clone)]
pub(crate) struct Client {
    address: SshAddress,
    hosts: Arc<KnownHosts>,
    /// What the hosts were read from.
    text: Arc<str>,
    identity: Arc<Identity>,
}

impl Client {
    pub(crate) fn new(
        address: SshAddress,
        known_hosts: &str,
        identity: &Sensitive<String>,
        passphrase: Option<&Sensitive<String>>,
    ) -> Result<Self, RemoteError> {
        let hosts = Arc::new(KnownHosts::parse(known_hosts)?);
        let identity = Arc::new(Identity::parse(identity.expose(), passphrase)?);
        Ok(Self { address, hosts, text: known_hosts.into(), identity })
    }

    /// The text that the known hosts were read from.
    pub(crate) fn known_hosts(&self) -> &str {
        &self.text
    }

    /// Opens the private key, if that is not done yet; takes a second at most.
    pub(crate) fn open(&self) -> Result<Sensitive<String>, RemoteError> {
        self.identity.opened_text()
    }

    /// Where the branch is, on a connection of its own. A server that knows protocol version 2 is asked for that branch;
    /// one that does not tells all its refs.
    pub(crate) fn ask(&self, tracked: &Tracked, time: &Budget) -> Result<Listed, ExchangeError> {
        let mut session = Session::open(self, Some("version=2"), time.beside(MAX_LISTING_BYTES))?;
        let answer = match Greeting::read(&mut session, tracked) {
            Ok(Greeting::Version2) => {
                session.send(&poll::request(tracked)).and_then(|()| poll::parse(&mut session, tracked))
            }
            Ok(Greeting::Refs(polled)) => Ok(Listed::Whole(polled)),
            Err(error) => Err(error),
        };
        answer.map_err(|error| session.explain(error))
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}
