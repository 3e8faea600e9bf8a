//! The statements that principals sign in envelopes: in-toto statements
//! (<https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md>) about one thing in Git.
//!
//! Their subject has a second digest, SHA-256 of the predicate, for tools that know digests of files alone: with the predicate
//! as a file, `cosign verify-blob-attestation` checks what we check.

use std::collections::BTreeMap;

use manifest::{Digest, canonical_json};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The type of all statements.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
const SHA256: &str = "sha256";

/// What a statement is about: a name, and a digest of a kind such as `gitTree`.
pub(crate) struct About<'a> {
    pub(crate) name: &'a str,
    pub(crate) digest: (&'static str, String),
}

/// What is said, which tells what it is about.
pub(crate) trait Predicate: Serialize + DeserializeOwned {
    /// The type of the predicate.
    const TYPE: &'static str;

    fn about(&self) -> About<'_>;
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Statement<P> {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    predicate: P,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

impl Subject {
    fn of(predicate: &impl Predicate) -> Self {
        let About { name, digest: (kind, value) } = predicate.about();
        let sha256 = Digest::of(&canonical(predicate)).to_string();
        let digest = BTreeMap::from([(kind.to_owned(), value), (SHA256.to_owned(), sha256)]);
        Self { name: name.to_owned(), digest }
    }
}

#[expect(clippy::expect_used, reason = "structs of texts, numbers and unit variants always serialise")]
fn canonical(value: &impl Serialize) -> Vec<u8> {
    canonical_json(&serde_json::to_value(value).expect("a statement serialises"))
}

/// The statement as it is signed: canonical JSON.
pub(crate) fn statement<P: Predicate>(predicate: P) -> Vec<u8> {
    canonical(&Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![Subject::of(&predicate)],
        predicate_type: P::TYPE.to_owned(),
        predicate,
    })
}

/// What a statement says; the error is what it is not.
pub(crate) fn said<P: Predicate>(payload: &[u8]) -> Result<P, String> {
    let wrong = |what: &str| Err(what.to_owned());
    let statement: Statement<P> = serde_json::from_slice(payload).map_err(|error| error.to_string())?;
    if statement.kind != STATEMENT_TYPE || statement.predicate_type != P::TYPE {
        return wrong("another type");
    }
    let [subject] = statement.subject.as_slice() else { return wrong("not exactly one subject") };
    if *subject != Subject::of(&statement.predicate) {
        return wrong("subject and predicate are about different things");
    }
    Ok(statement.predicate)
}
