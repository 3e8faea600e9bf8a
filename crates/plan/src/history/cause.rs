//! Of what a drift is: the field that decides, what it was changed to, and the id that stays the same when it happens again.

use std::{collections::BTreeMap, fmt};

use manifest::{ObjectRef, Subject};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use crate::{Attribution, DesiredObject, DriftReport, FieldClass, FieldDiff, PlanCode, Severity};

/// Bytes of an id that are shown: 48 bits, so that among 20,000 drifts two with one id are less likely than 1 in 1,000,000.
const ID_BYTES: usize = 6;
/// The longest path, place, actor or gap in an entry, in bytes: as JSON at most six times as much, so 6 KiB for the four, which leaves
/// 10 KiB for two values of 200 characters (2.4 KiB as JSON), the names of object and Sync, and what every entry has.
const MAX_TEXT: usize = 256;

/// Names one way in which one object drifts: the same again has the same id.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DriftId(Box<str>);

impl DriftId {
    /// The id of a change of this field (or of the whole object) of this object.
    #[must_use]
    pub fn of(object: &ObjectRef, field: Option<&str>, change: DriftChange) -> Self {
        let mut hash = Sha256::new();
        for part in [object.cluster.as_str(), &object.to_string(), field.unwrap_or_default(), change.name()] {
            // With its length, so that no two lists of parts are the same text.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hex::encode(hash.finalize()).chars().take(2 * ID_BYTES).collect())
    }

    /// An id as it stands in an entry; `None` if that is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_id = text.len() == 2 * ID_BYTES && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_id.then(|| Self(text.into()))
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DriftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// How a field, or the object, left its declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftChange {
    /// Another value.
    Edited,
    /// Something that was not declared.
    Added,
    /// A declared field is gone.
    Removed,
    /// The object is gone, or no longer this one.
    Deleted,
}

impl DriftChange {
    /// The word in entries.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edited => "edited",
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Deleted => "deleted",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [Self::Edited, Self::Added, Self::Removed, Self::Deleted].into_iter().find(|change| change.name() == text)
    }

    const fn of(difference: &FieldDiff) -> Self {
        match (&difference.before, &difference.after) {
            (None, _) => Self::Added,
            (_, None) => Self::Removed,
            _ => Self::Edited,
        }
    }
}

/// What entries say of one drift. Values are masked already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cause {
    /// The id.
    pub id: DriftId,
    /// The field that decides; `None` if the object as a whole does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What is declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What was live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Name of the class of the field.
    pub class: String,
    /// How much it matters.
    #[serde(with = "severity")]
    pub severity: Severity,
    /// How it changed.
    pub change: DriftChange,
    /// `file:line` that declares the object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_at: Option<String>,
    /// Digest of what is declared, by which it is known whether that changed; of Secrets nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared: Option<String>,
    /// Who did it, if anybody is known; of several each, `alice or bob`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// How that is known: `claimed`, `observed`, `audited`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
    /// What kind of user it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor_class: Option<String>,
    /// Why nobody, or no more, is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
}

impl Cause {
    /// What is to be told of a report, of an object that is declared so.
    #[must_use]
    pub fn of(report: &DriftReport, declared: Option<&DesiredObject>) -> Self {
        let field = match &report.finding.subject {
            Subject::Object { field, .. } => field.as_deref(),
            _ => None,
        };
        let decides = field.and_then(|field| report.differences.iter().find(|difference| difference.path == field));
        let class = decides.map_or_else(|| whole(report), |difference| difference.class);
        let change = decides.map_or(DriftChange::Deleted, DriftChange::of);
        let origin = declared.and_then(|object| object.sources.first());
        Self {
            id: DriftId::of(&report.reference, field, change),
            field: field.map(short),
            before: decides.and_then(|difference| difference.before.clone()),
            after: decides.and_then(|difference| difference.after.clone()),
            class: class.name().to_owned(),
            severity: class.severity(),
            change,
            declared_at: origin.map(|origin| short(&format!("{}:{}", origin.file, origin.line))),
            declared: declared.and_then(Self::declared),
            actor: None,
            level: None,
            actor_class: None,
            gap: None,
        }
    }

    /// With who did it.
    #[must_use]
    pub fn attributed(mut self, by: &Attribution) -> Self {
        let names: Vec<&str> = by.actors.iter().map(|actor| actor.name.as_str()).collect();
        self.actor = (!names.is_empty()).then(|| short(&names.join(" or ")));
        self.level = by.level().map(|level| level.name().to_owned());
        self.actor_class = (!names.is_empty()).then(|| by.class().name().to_owned());
        self.gap = by.gap.as_deref().map(short);
        self
    }

    /// Whether it is the same change, whoever is known to have made it.
    pub(super) fn is_same_change(&self, other: &Self) -> bool {
        let of = |cause: &Self| (cause.id.clone(), cause.before.clone(), cause.after.clone(), cause.declared.clone());
        of(self) == of(other)
    }

    /// What entries say of a declaration.
    #[must_use]
    pub fn declared(object: &DesiredObject) -> Option<String> {
        (!object.sensitive).then(|| object.digest.to_string())
    }

    /// As the subject of an entry.
    #[must_use]
    pub fn subject(&self) -> BTreeMap<String, String> {
        let some = |name: &str, value: &Option<String>| value.clone().map(|value| (name.to_owned(), value));
        let always = [
            ("drift", self.id.as_str()),
            ("class", &self.class),
            ("severity", self.severity.name()),
            ("change", self.change.name()),
        ];
        let known = [
            some("field", &self.field),
            some("before", &self.before),
            some("after", &self.after),
            some("declaredAt", &self.declared_at),
            some("declared", &self.declared),
            some("actor", &self.actor),
            some("level", &self.level),
            some("actorClass", &self.actor_class),
            some("gap", &self.gap),
        ];
        always
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .chain(known.into_iter().flatten())
            .collect()
    }

    /// As fields of one object in a body.
    #[must_use]
    pub fn body(&self) -> Map<String, Value> {
        self.subject().into_iter().map(|(name, value)| (name, Value::String(value))).collect()
    }

    /// What an entry, or one object of a body, says; `None` if it says nothing of the kind.
    pub(super) fn read<'a>(value: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let text = |name: &str| value(name).map(str::to_owned);
        Some(Self {
            id: DriftId::parse(value("drift")?)?,
            field: text("field"),
            before: text("before"),
            after: text("after"),
            class: text("class")?,
            severity: severity::parse(value("severity")?)?,
            change: DriftChange::parse(value("change")?)?,
            declared_at: text("declaredAt"),
            declared: text("declared"),
            actor: text("actor"),
            level: text("level"),
            actor_class: text("actorClass"),
            gap: text("gap"),
        })
    }
}

/// The class where no field decides.
fn whole(report: &DriftReport) -> FieldClass {
    if report.finding.code == PlanCode::D103.entry() { FieldClass::Ownership } else { FieldClass::Object }
}

fn short(text: &str) -> String {
    let end = text.char_indices().map(|(at, character)| at + character.len_utf8()).take_while(|end| *end <= MAX_TEXT);
    text.get(..end.last().unwrap_or_default()).unwrap_or_default().to_owned()
}

/// A severity by its name.
pub(super) mod severity {
    use serde::{Deserialize as _, Deserializer, Serialize as _, Serializer, de::Error as _};

    use crate::Severity;

    pub(in crate::history) fn parse(text: &str) -> Option<Severity> {
        Severity::ALL.into_iter().find(|severity| severity.name() == text)
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(in crate::history) fn serialize<S: Serializer>(severity: &Severity, to: S) -> Result<S::Ok, S::Error> {
        severity.serialize(to)
    }

    pub(in crate::history) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Severity, D::Error> {
        let text = String::deserialize(from)?;
        parse(&text).ok_or_else(|| D::Error::custom(format!("no severity is named {text:?}")))
    }
}
