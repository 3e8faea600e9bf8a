//! A finding: one thing that was refused or reported, in the words a person needs to act on it.

use std::fmt;

use crate::{CodeEntry, ObjectRef, RepoPath, Words, printable};

/// What a finding is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A commit, by its full object id.
    Commit(String),
    /// A path in the repository, with the place in it where one is known (both start at 1).
    Path {
        /// The file or folder.
        path: RepoPath,
        /// Line, if known.
        line: Option<u32>,
        /// Column, if known.
        column: Option<u32>,
    },
    /// A Kubernetes object, and the field of it that matters (`spec.replicas`), if one does.
    Object {
        /// The object.
        reference: ObjectRef,
        /// Field in dotted form, if one field is meant.
        field: Option<String>,
    },
    /// Something else that has a name: a remote, a custom resource, a directory of state.
    Named(String),
}

impl fmt::Display for Subject {
    /// On one line, whatever its names hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commit(id) => write!(f, "commit {}", id.get(..12).unwrap_or(id)),
            Self::Path { path, line, column } => {
                write!(f, "{path}")?;
                if let Some(line) = line {
                    write!(f, ":{line}")?;
                    if let Some(column) = column {
                        write!(f, ":{column}")?;
                    }
                }
                Ok(())
            }
            Self::Object { reference, field } => {
                f.write_str(&printable(&reference.to_string()))?;
                field.as_ref().map_or(Ok(()), |field| write!(f, " {}", printable(field)))
            }
            Self::Named(name) => f.write_str(&printable(name)),
        }
    }
}

/// One refused or reported thing: code, subject, rule, what was found, what would be needed and
/// the command or edit that fixes it. Never holds a secret value. What it tells is one line, whatever others wrote into it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// The register entry of its code.
    pub code: &'static CodeEntry,
    /// What it is about.
    pub subject: Subject,
    /// The rule that decided, by name (a trust rule, a policy, a guard), where there is one.
    pub rule: Option<String>,
    /// What was found.
    pub found: Words,
    /// What would have been needed.
    pub needed: Words,
    /// A command or an edit that mends it.
    pub fix: Words,
}

impl Finding {
    /// The sentence without code and fix: `<subject>: <found>; needed: <needed> (rule "<rule>")`.
    #[must_use]
    pub fn message(&self) -> String {
        let rule = self.rule.as_ref().map_or_else(String::new, |rule| format!(" (rule \"{}\")", printable(rule)));
        format!("{}: {}; needed: {}{rule}", self.subject, self.found, self.needed)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}. Fix: {}", self.code.code, self.code.reason, self.message(), self.fix)
    }
}
