//! Orders that people sign outside of Git: what they say, when they count, and who stands for them.
//!
//! What is signed is canonical JSON, as `ssh-keygen -Y sign -n NAMESPACE`, `gpg --armor --detach-sign` or `cosign sign-blob`
//! does. The field that names what it is about tells the kinds of order apart, so that an OpenPGP signature or one of an
//! account, which name no purpose, count for one of them alone.

use std::{collections::BTreeSet, time::Duration};

use jiff::Timestamp;
use manifest::{Digest, Finding, canonical_json};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use serde_json::{Value, json};

use crate::{CommitId, SigningFormats, TrustCode, approval::Withdrawn, detached::Keys, refusal::refuse};

/// The namespace of signatures over rollbacks.
pub const NAMESPACE_ROLLBACK: &str = "writ-rollback@1";
/// The namespace of signatures over orders to break the glass.
pub const NAMESPACE_BREAK_GLASS: &str = "writ-breakglass@1";
/// How long before its end an order to break the glass counts at most: a shift has to see it through.
pub const MAX_BREAK_GLASS_AHEAD: Duration = Duration::from_secs(4 * 60 * 60);
/// How long before its end a rollback counts at most: it is signed for a night, not for a year.
pub const MAX_ROLLBACK_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);
/// Most signatures of one order: as many people as one team has.
pub const MAX_ORDER_SIGNATURES: usize = 16;
/// Longest nonce, in bytes: 64 random ones in hex.
pub const MAX_NONCE_BYTES: usize = 128;
/// How many reasons are told in one message.
const TOLD: usize = 5;

/// What is ordered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderKind {
    /// A Sync goes back to the commit.
    Rollback {
        /// Makes the order one that works once.
        nonce: String,
    },
    /// The commit is let through, although those who made it may not make it.
    BreakGlass,
}

impl OrderKind {
    /// The namespace of signatures over it.
    #[must_use]
    pub const fn namespace(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => NAMESPACE_ROLLBACK,
            Self::BreakGlass => NAMESPACE_BREAK_GLASS,
        }
    }

    /// The field that names what it is about.
    const fn field(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "sync",
            Self::BreakGlass => "source",
        }
    }

    const fn max_ahead(&self) -> Duration {
        match self {
            Self::Rollback { .. } => MAX_ROLLBACK_AHEAD,
            Self::BreakGlass => MAX_BREAK_GLASS_AHEAD,
        }
    }

    const fn code(&self) -> TrustCode {
        match self {
            Self::Rollback { .. } => TrustCode::W703,
            Self::BreakGlass => TrustCode::W702,
        }
    }

    const fn command(&self) -> &'static str {
        match self {
            Self::Rollback { .. } => "writ rollback",
            Self::BreakGlass => "writ break-glass",
        }
    }
}

/// An order as it is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedOrder {
    /// What is ordered.
    pub kind: OrderKind,
    /// `repoId` of the trust file.
    pub repo_id: String,
    /// Namespace and name of the custom resource that it is about.
    pub about: String,
    /// The commit.
    pub commit: CommitId,
    /// SHA-256 of what was signed of the commit.
    pub payload_sha256: Digest,
    /// Why.
    pub reason: String,
    /// Until when it may be obeyed.
    pub not_after: Timestamp,
}

/// When an order was seen.
#[derive(Debug, Clone, Copy)]
pub struct Seen {
    /// For the first time.
    pub first: Timestamp,
    /// Now.
    pub now: Timestamp,
}

/// Who stands for an order.
#[derive(Debug, Default)]
pub(crate) struct Signers {
    pub(crate) good: BTreeSet<String>,
    /// Why others count for nothing.
    pub(crate) reasons: Vec<String>,
    /// Who signed with what is revoked by now, and why that is.
    pub(crate) withdrawn: Vec<String>,
}

impl Signers {
    /// The reasons for a message, the first few of many.
    pub(crate) fn told(&self) -> impl Iterator<Item = &str> {
        self.withdrawn.iter().chain(&self.reasons).take(TOLD).map(String::as_str)
    }
}

impl SignedOrder {
    /// What is signed.
    #[must_use]
    pub fn payload(&self) -> Vec<u8> {
        canonical_json(&self.statement())
    }

    /// What is signed, as a value.
    #[must_use]
    pub fn statement(&self) -> Value {
        let mut statement = json!({
            "repoId": self.repo_id,
            "commit": self.commit.to_string(),
            "payloadSha256": self.payload_sha256.to_string(),
            "reason": self.reason,
            "notAfter": self.not_after.to_string(),
        });
        if let Some(fields) = statement.as_object_mut() {
            fields.insert(self.kind.field().to_owned(), json!(self.about));
            if let OrderKind::Rollback { nonce } = &self.kind {
                fields.insert("nonce".to_owned(), json!(nonce));
            }
        }
        statement
    }

    /// What a statement says, if it is one as [`Self::statement`] makes it, without anything else.
    #[must_use]
    pub fn of_statement(statement: &Value) -> Option<Self> {
        let text = |field: &str| statement.get(field)?.as_str();
        let kind = match text("nonce") {
            Some(nonce) => OrderKind::Rollback { nonce: nonce.to_owned() },
            None => OrderKind::BreakGlass,
        };
        let order = Self {
            repo_id: text("repoId")?.to_owned(),
            about: text(kind.field())?.to_owned(),
            commit: text("commit")?.parse().ok()?,
            payload_sha256: text("payloadSha256")?.parse().ok()?,
            reason: text("reason")?.to_owned(),
            not_after: text("notAfter")?.parse().ok()?,
            kind,
        };
        (order.statement() == *statement).then_some(order)
    }

    /// The principals who signed it with a key in force, each once.
    pub(crate) fn signers(&self, signatures: &[String], keys: Keys<'_>) -> Signers {
        self.signers_without(signatures, keys, None)
    }

    /// The same, without those who signed with what is withdrawn.
    pub(crate) fn signers_without(
        &self,
        signatures: &[String],
        keys: Keys<'_>,
        withdrawn: Option<Withdrawn<'_>>,
    ) -> Signers {
        let (payload, mut signers) = (self.payload(), Signers::default());
        for signature in signatures.iter().take(MAX_ORDER_SIGNATURES) {
            match keys.signer(signature.as_bytes(), &payload, self.kind.namespace()) {
                Ok((principal, signed)) => match withdrawn.and_then(|withdrawn| withdrawn(&signed)) {
                    Some(why) => signers.withdrawn.push(format!("signed by {principal}: {why}")),
                    None => _ = signers.good.insert(principal),
                },
                Err(reason) => signers.reasons.push(reason),
            }
        }
        signers
    }

    /// Its own code unless it is about this repository and this custom resource, and its time has come and is not over.
    pub(crate) fn bound(&self, repo_id: &str, about: &str, seen: Seen) -> Result<(), Finding> {
        for (found, needed) in [(self.repo_id.as_str(), repo_id), (self.about.as_str(), about)] {
            if found != needed {
                return Err(self.invalid(format!("it is for {found}"), &format!("one for {needed}")));
            }
        }
        if let OrderKind::Rollback { nonce } = &self.kind
            && !(1..=MAX_NONCE_BYTES).contains(&nonce.len())
        {
            return Err(self.invalid(format!("its nonce has {} bytes", nonce.len()), "1 to 128"));
        }
        if let Some(over) = self.expired(seen.now) {
            return Err(over);
        }
        let (end, ahead) = (self.not_after, self.kind.max_ahead());
        if seen.first.checked_add(ahead).is_ok_and(|latest| latest < end) {
            let found = format!("it counts until {end}, and was first seen {}", seen.first);
            return Err(self.invalid(found, &format!("an end at most {} hours ahead", ahead.as_secs() / 3_600)));
        }
        Ok(())
    }

    /// Its own code if its time is over.
    #[must_use]
    pub fn expired(&self, now: Timestamp) -> Option<Finding> {
        let end = self.not_after;
        let found = || format!("it expired {end}, and it is {now}");
        (now > end).then(|| self.invalid(found(), "one whose time is not over"))
    }

    /// It is not obeyed, whoever signed it.
    #[must_use]
    pub fn invalid(&self, found: String, needed: &str) -> Finding {
        let fix = format!("{} --help # then sign a new order", self.kind.command());
        refuse(self.kind.code(), &self.commit, found, needed.to_owned(), fix)
    }

    /// Too few stand for it, or they may not: with why other signatures count for nothing. `formats` are those of whoever may.
    pub(crate) fn unauthorised(&self, finding: Finding, signers: &Signers, formats: &SigningFormats) -> Finding {
        let mut found = format!("to order it: {}", finding.found.replacen(" changed ", " signed for ", 1));
        for reason in signers.told() {
            found = format!("{found}; {reason}");
        }
        let add = format!("{} --add FILE", self.kind.command());
        let fix = formats.writ(&add, &format!(" # by {}", finding.needed));
        Finding { found: found.into(), fix: fix.into(), ..finding }
    }
}

/// As it is signed: whoever keeps it can have it verified again.
impl Serialize for SignedOrder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.statement().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SignedOrder {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let statement = Value::deserialize(deserializer)?;
        Self::of_statement(&statement).ok_or_else(|| D::Error::custom("not the statement of an order"))
    }
}
