//! What one entry of the log says about drift.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Cause, DriftId};

/// In place of the digest of what is declared: nothing is.
pub const UNDECLARED: &str = "nothing";

/// An entry of the log.
#[derive(Debug, Clone, Copy)]
pub struct EntryView<'a> {
    /// Its index.
    pub index: u64,
    /// Its kind.
    pub kind: &'a str,
    /// Its time, RFC 3339.
    pub time: &'a str,
    /// Its subject.
    pub subject: &'a BTreeMap<String, String>,
    /// Its codes.
    pub codes: &'a [String],
    /// Its counts.
    pub counts: &'a BTreeMap<String, u64>,
}

impl EntryView<'_> {
    fn says(&self, name: &str) -> Option<&str> {
        self.subject.get(name).map(String::as_str)
    }

    fn counts(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or_default()
    }
}

/// Why an entry cannot be read as facts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FactError {
    /// Its time is none.
    #[error("entry {index}: {time:?} is not a time")]
    Time {
        /// Index of the entry.
        index: u64,
        /// What stands there.
        time: String,
    },
    /// It is about several objects, which its body names, and that is not there or not to be read.
    #[error("entry {index}: its body does not say what drifted: {why}")]
    Body {
        /// Index of the entry.
        index: u64,
        /// Why.
        why: String,
    },
}

/// Drift of one object was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Index of the entry.
    pub entry: u64,
    /// When.
    pub at: Timestamp,
    /// The Sync.
    pub sync: String,
    /// The object.
    pub object: String,
    /// What drifted.
    pub cause: Cause,
    /// The code.
    pub code: String,
    /// The commit that says otherwise.
    pub commit: Option<String>,
    /// How many fields differed.
    pub fields: u64,
    /// How often, those included that have no entry of their own.
    pub times: u64,
    /// Whether it is put back.
    pub reverted: bool,
}

/// Something that the log says about drift.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DriftFact {
    /// A Sync accepted a revision.
    Accepted {
        /// The Sync.
        sync: String,
        /// The revision.
        commit: String,
        /// Who signed it.
        signer: Option<String>,
    },
    /// Drift was seen.
    Seen(Box<Seen>),
    /// More of the same was seen that has no entry of its own.
    Counted {
        /// The object.
        object: String,
        /// How often.
        times: u64,
        /// By when.
        at: Timestamp,
    },
    /// What had become of an object is known now.
    TurnedOut {
        /// The object.
        object: String,
        /// The code.
        code: String,
    },
    /// A revert did not succeed.
    Failed {
        /// The Sync.
        sync: String,
        /// The object.
        object: String,
        /// Code of why.
        code: String,
    },
    /// A revert that did not succeed at first did.
    RevertedLate {
        /// The Sync.
        sync: String,
        /// The object.
        object: String,
    },
    /// An object is as declared again, or no longer declared.
    Lifted {
        /// The object.
        object: String,
        /// Digest of what is declared by then, or [`UNDECLARED`].
        declared: Option<String>,
    },
    /// Somebody knows of a drift.
    Acknowledged {
        /// The drift.
        id: DriftId,
        /// Who.
        by: String,
    },
    /// A Sync is gone.
    Ended {
        /// The Sync.
        sync: String,
    },
}

/// Whether an entry names its objects in its body alone.
#[must_use]
pub fn is_told_by_body(entry: &EntryView<'_>) -> bool {
    let is_drift = match entry.kind {
        "revert" => entry.says("origin") == Some("drift"),
        "flag" => true,
        _ => false,
    };
    is_drift && !entry.subject.contains_key("drift")
}

/// What an entry says about drift; nothing, for most. `body` is asked for where [`is_told_by_body`].
///
/// # Errors
/// When it is an entry about drift that cannot be read.
pub fn facts(entry: &EntryView<'_>, body: Option<&[u8]>) -> Result<Vec<DriftFact>, FactError> {
    if is_told_by_body(entry) {
        return of_body(entry, body);
    }
    let fact = match entry.kind {
        "revert" | "flag" => return Ok(seen(entry)?.into_iter().collect()),
        "advance" | "rollback" => accepted(entry),
        "outcome" => outcome(entry),
        "release" if entry.says("origin") == Some("drift") => {
            let declared = entry.says("declared").map(str::to_owned);
            entry.says("object").map(|object| DriftFact::Lifted { object: object.to_owned(), declared })
        }
        "acknowledge" => entry
            .says("drift")
            .and_then(DriftId::parse)
            .map(|id| DriftFact::Acknowledged { id, by: entry.says("by").unwrap_or("unknown").to_owned() }),
        _ => None,
    };
    Ok(fact.into_iter().collect())
}

fn accepted(entry: &EntryView<'_>) -> Option<DriftFact> {
    Some(DriftFact::Accepted {
        sync: entry.says("sync")?.to_owned(),
        commit: entry.says("commit")?.to_owned(),
        signer: entry.says("principal").map(str::to_owned),
    })
}

fn outcome(entry: &EntryView<'_>) -> Option<DriftFact> {
    let result = entry.says("result")?;
    if result == "ended" {
        return Some(DriftFact::Ended { sync: entry.says("sync")?.to_owned() });
    }
    if entry.says("origin") != Some("drift") {
        return None;
    }
    let object = entry.says("object")?.to_owned();
    let code = entry.codes.first().cloned();
    let sync = entry.says("sync").unwrap_or_default().to_owned();
    match result {
        "reverted" => Some(DriftFact::TurnedOut { object, code: code? }),
        "failed" => Some(DriftFact::Failed { sync, object, code: code? }),
        "reverted-late" => Some(DriftFact::RevertedLate { sync, object }),
        _ => None,
    }
}

fn seen(entry: &EntryView<'_>) -> Result<Option<DriftFact>, FactError> {
    let (Some(sync), Some(cause)) = (entry.says("sync"), Cause::read(|name| entry.says(name))) else {
        return Ok(None);
    };
    // What a Sync says about its own objects is drift of the Sync.
    let object = entry.says("object").map_or_else(|| format!("Sync.writ.dev {sync}"), str::to_owned);
    Ok(Some(DriftFact::Seen(Box::new(Seen {
        entry: entry.index,
        at: time(entry)?,
        sync: sync.to_owned(),
        object,
        cause,
        code: entry.codes.first().cloned().unwrap_or_default(),
        commit: entry.says("commit").map(str::to_owned),
        fields: entry.counts("fields"),
        times: entry.counts("suppressed").saturating_add(1),
        reverted: entry.kind == "revert",
    }))))
}

fn of_body(entry: &EntryView<'_>, body: Option<&[u8]>) -> Result<Vec<DriftFact>, FactError> {
    let unreadable = |why: String| FactError::Body { index: entry.index, why };
    let body = body.ok_or_else(|| unreadable("there is none".to_owned()))?;
    let body: Value = serde_json::from_slice(body).map_err(|error| unreadable(error.to_string()))?;
    let at = time(entry)?;
    let sync = entry.says("sync").unwrap_or_default();
    let list = ["changes", "drift", "counted"].iter().find_map(|name| body.get(*name)?.as_array());
    let list = list.ok_or_else(|| unreadable("it has no list of objects".to_owned()))?;
    Ok(list.iter().filter_map(Value::as_object).filter_map(|one| of_object(entry, sync, at, one)).collect())
}

fn of_object(entry: &EntryView<'_>, sync: &str, at: Timestamp, one: &Map<String, Value>) -> Option<DriftFact> {
    let text = |name: &str| one.get(name).and_then(Value::as_str);
    let number = |name: &str| one.get(name).and_then(Value::as_u64).unwrap_or_default();
    let object = text("object")?.to_owned();
    if entry.says("result") == Some("counted") {
        return Some(DriftFact::Counted { object, times: number("suppressed"), at });
    }
    Some(DriftFact::Seen(Box::new(Seen {
        entry: entry.index,
        at,
        sync: sync.to_owned(),
        object,
        cause: Cause::read(text)?,
        code: text("code").unwrap_or_default().to_owned(),
        commit: entry.says("commit").map(str::to_owned),
        fields: number("fields"),
        times: number("suppressed").saturating_add(1),
        reverted: entry.kind == "revert",
    })))
}

fn time(entry: &EntryView<'_>) -> Result<Timestamp, FactError> {
    entry.time.parse().map_err(|_| FactError::Time { index: entry.index, time: entry.time.to_owned() })
}
