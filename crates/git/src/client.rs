//! The way to a repository: https or ssh, with all that it needs.

use std::sync::Arc;

use crate::{
    address::Address,
    anchors::{anchors_from_pem, system_anchors},
    app::Tokens,
    budget::Budget,
    credentials::Credentials,
    exchange::ExchangeError,
    http,
    poll::{self, Listed},
    remote::{RemoteError, RemoteOptions, Tracked},
    ssh,
};

/// A connection to one repository, or what makes one. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Client {
    /// One connection, kept alive.
    Https(http::Client),
    /// One connection for each question.
    Ssh(ssh::Client),
}

impl Client {
    /// What is of no use on the way is refused: whoever wrote it means something by it.
    pub(crate) fn of(address: Address, options: &RemoteOptions) -> Result<Self, RemoteError> {
        match address {
            Address::Https { base, .. } => {
                if options.known_hosts.is_some() {
                    let reason = "it is for ssh, and the url is of https";
                    return Err(RemoteError::KnownHosts { line: None, reason });
                }
                let anchors = Arc::new(match &options.ca {
                    Some(pem) => anchors_from_pem(pem)?,
                    None => system_anchors()?,
                });
                let authorization = match &options.credentials {
                    None => None,
                    Some(Credentials::App(app)) => {
                        // It is asked once an hour.
                        let tokens = Tokens::new(app, http::agent(&anchors, None, 0))?;
                        Some(http::Authorization::App(Arc::new(tokens)))
                    }
                    Some(other) => Some(http::Authorization::Fixed(other.header()?)),
                };
                let certificate = options.client_certificate.clone();
                http::Client::new(&base, anchors, certificate, authorization).map(Self::Https)
            }
            Address::Ssh(address) => {
                if options.ca.is_some() {
                    let reason = "it is for https, and the url is of ssh".to_owned();
                    return Err(RemoteError::Anchors { reason });
                }
                if options.client_certificate.is_some() {
                    return Err(RemoteError::Certificate { reason: "it is for https, and the url is of ssh" });
                }
                let Some(Credentials::PrivateKey { identity, passphrase }) = &options.credentials else {
                    return Err(RemoteError::Credentials {
                        reason: "ssh needs a private key (identity), and nothing else",
                    });
                };
                let known_hosts = options.known_hosts.as_deref().unwrap_or_default();
                ssh::Client::new(address, known_hosts, identity, passphrase.as_ref()).map(Self::Ssh)
            }
        }
    }

    /// Where a branch and the refs of approvals are, within the time of a budget. One question.
    pub(crate) fn ask(&self, tracked: &Tracked, time: &Budget) -> Result<Listed, ExchangeError> {
        match self {
            Self::Https(client) => poll::ask(client, tracked, time),
            Self::Ssh(client) => client.ask(tracked, time),
        }
    }

    /// Does what takes time and needs nobody else: opens the private key of ssh.
    pub(crate) fn prepare(&self) -> Result<(), RemoteError> {
        match self {
            Self::Https(_) => Ok(()),
            Self::Ssh(client) => client.open().map(drop),
        }
    }
}
