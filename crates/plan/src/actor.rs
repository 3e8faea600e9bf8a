//! Who changed an object, and how that is known. Never guessed: nobody named is an answer.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Most of those who may have made one change that are named.
pub const MAX_ACTORS: usize = 8;
/// Most groups that are kept of one user.
pub const MAX_ACTOR_GROUPS: usize = 10;
/// Longest name, agent or address that is kept, in characters: user names of identity providers are URLs at times.
pub const MAX_ACTOR_TEXT: usize = 200;

/// How it is known, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Level {
    /// The object's managedFields say so. Whoever writes chooses the name, and may leave none.
    Claimed,
    /// The API server told us who it was when it admitted the change.
    Observed,
    /// The audit log of the API server has it.
    Audited,
}

/// How sure it is that it was this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Confidence {
    /// It was this one.
    Sure,
    /// Several left the same content: it was one of them.
    OneOf,
    /// It fits in object, verb and time; nothing proves that this change was it.
    Likely,
}

/// What kind of user it is. Bounded, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ActorClass {
    /// A user that is no part of the cluster.
    Human,
    /// A ServiceAccount.
    ServiceAccount,
    /// A part of the cluster itself (`system:…`).
    Controller,
    /// Nothing but a claim, or nobody.
    Unknown,
}

impl ActorClass {
    /// In words, for labels of metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Human => "human",
            Self::ServiceAccount => "serviceaccount",
            Self::Controller => "controller",
            Self::Unknown => "unknown",
        }
    }
}

/// One who changed an object, or may have. All texts are printable and bounded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Actor {
    /// How it is known.
    pub level: Level,
    /// How sure it is.
    pub confidence: Confidence,
    /// The user; for a claim the field manager.
    pub name: String,
    /// Groups of the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// The program, as it calls itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// The address that the request came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Who signed in, if that is another than the user: an impersonator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub impersonator: Option<String>,
    /// What was done: `UPDATE`, `DELETE`, `patch`, `Apply`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// Through which subresource, if through one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// When.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

impl Actor {
    /// One of whom nothing is known but this. The name is made printable and cut.
    #[must_use]
    pub fn new(level: Level, confidence: Confidence, name: &str) -> Self {
        Self {
            level,
            confidence,
            name: actor_text(name),
            groups: Vec::new(),
            agent: None,
            source: None,
            impersonator: None,
            operation: None,
            subresource: None,
            at: None,
        }
    }

    /// What kind of user it is.
    #[must_use]
    pub fn class(&self) -> ActorClass {
        if self.level == Level::Claimed {
            return ActorClass::Unknown;
        }
        match self.name.strip_prefix("system:") {
            None => ActorClass::Human,
            Some(rest) if rest.starts_with("serviceaccount:") => ActorClass::ServiceAccount,
            Some("anonymous") => ActorClass::Unknown,
            Some("admin") => ActorClass::Human,
            Some(_) => ActorClass::Controller,
        }
    }
}

/// Who changed an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attribution {
    /// Who, or each who may have; empty: it is not known.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actors: Vec<Actor>,
    /// Why more is not known, if something stood in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<String>,
}

impl Attribution {
    /// Nobody is known, and this is why.
    #[must_use]
    pub fn unknown(gap: impl Into<String>) -> Self {
        Self { actors: Vec::new(), gap: Some(gap.into()) }
    }

    /// Whether there is nothing to say: nobody, and no reason for it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.actors.is_empty() && self.gap.is_none()
    }

    /// How it is known; `None`: it is not.
    #[must_use]
    pub fn level(&self) -> Option<Level> {
        self.actors.iter().map(|actor| actor.level).max()
    }

    /// What kind of user it was; of several that differ none.
    #[must_use]
    pub fn class(&self) -> ActorClass {
        let mut classes = self.actors.iter().map(Actor::class);
        let Some(first) = classes.next() else { return ActorClass::Unknown };
        if classes.all(|class| class == first) { first } else { ActorClass::Unknown }
    }
}

impl fmt::Display for Attribution {
    /// As it is said of a change: `by ana (observed)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.actors.as_slice() {
            [] => f.write_str("who is unknown")?,
            [one] if one.confidence != Confidence::OneOf => one.fmt(f)?,
            several => {
                f.write_str(if several.iter().all(|actor| actor.level == Level::Claimed) {
                    "claimed by the managers "
                } else {
                    "by one of "
                })?;
                for (n, actor) in several.iter().enumerate() {
                    let before = if n == 0 { "" } else { ", " };
                    write!(f, "{before}{}", actor.name)?;
                }
                if let Some(level) = self.level().filter(|level| *level != Level::Claimed) {
                    write!(f, " ({})", level.name())?;
                }
            }
        }
        match &self.gap {
            Some(gap) if self.actors.is_empty() => write!(f, ": {gap}"),
            Some(gap) => write!(f, "; {gap}"),
            None => Ok(()),
        }
    }
}

impl Level {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Claimed => "claimed",
            Self::Observed => "observed",
            Self::Audited => "audited",
        }
    }
}

impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.level == Level::Claimed {
            return write!(f, "claimed by manager {}", self.name);
        }
        write!(f, "by {}", self.name)?;
        if let Some(impersonator) = &self.impersonator {
            write!(f, ", as whom {impersonator} acted")?;
        }
        if let Some(source) = &self.source {
            write!(f, " from {source}")?;
        }
        let likely = if self.confidence == Confidence::Likely { ", likely" } else { "" };
        write!(f, " ({}{likely})", self.level.name())
    }
}

/// Text of somebody we do not know, in a form that does nothing to a terminal or a log line, and not longer than
/// [`MAX_ACTOR_TEXT`].
#[must_use]
pub fn actor_text(text: &str) -> String {
    let mut out: String = text.chars().take(MAX_ACTOR_TEXT).map(|c| if is_plain(c) { c } else { '\u{fffd}' }).collect();
    if text.chars().nth(MAX_ACTOR_TEXT).is_some() {
        out.push('…');
    }
    out
}

/// Neither a control character nor one that moves or hides what stands beside it.
fn is_plain(c: char) -> bool {
    let hides = matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !c.is_control() && !hides
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(level: Level, confidence: Confidence, name: &str) -> Actor {
        Actor::new(level, confidence, name)
    }

    fn said(actors: Vec<Actor>, gap: Option<&str>) -> String {
        Attribution { actors, gap: gap.map(str::to_owned) }.to_string()
    }

    #[test]
    fn every_level_is_said() {
        use Confidence::{Likely, OneOf, Sure};
        use Level::{Audited, Claimed, Observed};
        let from = Actor {
            source: Some("10.0.0.7".to_owned()),
            impersonator: Some("eva".to_owned()),
            ..actor(Audited, Sure, "ana")
        };
        for (actors, gap, expected) in [
            (vec![actor(Observed, Sure, "ana")], None, "by ana (observed)"),
            (vec![from], None, "by ana, as whom eva acted from 10.0.0.7 (audited)"),
            (vec![actor(Audited, Likely, "ana")], None, "by ana (audited, likely)"),
            (
                vec![actor(Claimed, Sure, "kubectl-edit")],
                Some("not observed"),
                "claimed by manager kubectl-edit; not observed",
            ),
            (vec![actor(Observed, OneOf, "ana"), actor(Observed, OneOf, "ben")], None, "by one of ana, ben (observed)"),
            (vec![actor(Claimed, OneOf, "a"), actor(Claimed, OneOf, "b")], None, "claimed by the managers a, b"),
            (vec![], Some("no webhook"), "who is unknown: no webhook"),
            (vec![], None, "who is unknown"),
        ] {
            assert_eq!(said(actors, gap), expected);
        }
    }

    #[test]
    fn a_claim_says_nothing_about_what_kind_of_user_it_was() {
        let class = |level, name| actor(level, Confidence::Sure, name).class();
        assert_eq!(class(Level::Claimed, "kube-controller-manager"), ActorClass::Unknown);
        assert_eq!(class(Level::Observed, "ana@example.com"), ActorClass::Human);
        assert_eq!(class(Level::Observed, "system:serviceaccount:a:b"), ActorClass::ServiceAccount);
        assert_eq!(class(Level::Audited, "system:kube-controller-manager"), ActorClass::Controller);
        assert_eq!(class(Level::Audited, "system:anonymous"), ActorClass::Unknown);
        let several =
            ["ana", "system:node:n"].map(|name| actor(Level::Observed, Confidence::OneOf, name)).into_iter().collect();
        assert_eq!(Attribution { actors: several, gap: None }.class(), ActorClass::Unknown);
    }

    #[test]
    fn text_of_strangers_is_made_plain_and_cut() {
        assert_eq!(actor_text("a\u{1b}[31mb\n\u{202e}c"), "a\u{fffd}[31mb\u{fffd}\u{fffd}c");
        let long = actor_text(&"é".repeat(MAX_ACTOR_TEXT + 1));
        assert_eq!((long.chars().count(), long.ends_with('…')), (MAX_ACTOR_TEXT + 1, true));
        assert_eq!(actor_text("ana@example.com"), "ana@example.com");
    }

    #[test]
    fn is_read_back_as_it_was_written() {
        let attribution = Attribution {
            actors: vec![Actor { at: Some(Timestamp::UNIX_EPOCH), ..actor(Level::Observed, Confidence::Sure, "ana") }],
            gap: None,
        };
        let text = serde_json::to_string(&attribution).unwrap();
        assert_eq!(
            text,
            r#"{"actors":[{"level":"observed","confidence":"sure","name":"ana","at":"1970-01-01T00:00:00Z"}]}"#
        );
        assert_eq!(serde_json::from_str::<Attribution>(&text).unwrap(), attribution);
    }
}
