//! Authorisation: who may change which path, and what may be declared there. Default deny; all rules that cover a
//! path must hold; principals are counted, never keys.

use std::collections::BTreeSet;

use manifest::{Declared, Finding, GroupKind, RepoPath, Scope};

use crate::{
    CommitId, KindVerdict, PrincipalKind, Rule, TrustCode, TrustFile, refusal::refuse, trust_file::RoleThreshold,
};

/// API group of writ's own kinds; its subgroups are meant as well.
pub const OWN_GROUP: &str = "writ.dev";

/// How many principals or kinds are listed in one message.
const LISTED: usize = 10;

/// True for paths on which machines never count.
fn people_only(path: &RepoPath) -> bool {
    matches!(path.segments().next(), Some(".writ" | "policies" | "waivers"))
}

impl TrustFile {
    /// Whether these principals together may change a path.
    ///
    /// # Errors
    /// W302 no rule, or none of them is named · W303 too few · W306 only machines, where people are needed.
    pub fn authorise(&self, commit: &CommitId, path: &RepoPath, credit: &BTreeSet<String>) -> Result<(), Finding> {
        let mut covered = false;
        for rule in self.rules_for(path) {
            covered = true;
            self.satisfied(commit, rule, path, credit)?;
        }
        if covered {
            return Ok(());
        }
        let found = format!("{} changed {path}, which no rule covers", credited(credit));
        let needed = format!("a rule for {path}; what no rule covers is refused");
        let fix =
            "leave the path alone, or have a rule for it added to .writ/trust.yaml by a commit of its own".to_owned();
        Err(refuse(TrustCode::W302, commit, found, needed, fix))
    }

    fn satisfied(
        &self,
        commit: &CommitId,
        rule: &Rule,
        path: &RepoPath,
        credit: &BTreeSet<String>,
    ) -> Result<(), Finding> {
        let people = people_only(path);
        let mut closest: Option<(u32, &RoleThreshold)> = None;
        let mut machines = false;
        for item in &rule.any_of {
            let members = self.roles.get(&item.role).into_iter().flatten();
            let (mut count, mut excluded) = (0_u32, false);
            for member in members.filter(|member| credit.contains(*member)) {
                if people && self.is_machine(member) {
                    excluded = true;
                } else {
                    count = count.saturating_add(1);
                }
            }
            if count >= item.threshold {
                return Ok(());
            }
            machines |= excluded;
            if closest.is_none_or(|(most, _item)| count > most) {
                closest = Some((count, item));
            }
        }
        let could = self.could_sign(rule, people, credit);
        let fix =
            format!("have {could} make and sign the commit, or have rule {} changed by a commit of its own", rule.name);
        let finding = match closest {
            Some((count, item)) if count > 0 => {
                let found = format!("{count} of {} for {path} ({})", item.threshold, credited(credit));
                let missing = item.threshold.saturating_sub(count);
                let name = &rule.name;
                let fix = format!(
                    "have rule {name} changed by a commit of its own: only .writ/trust.yaml takes several signatures"
                );
                refuse(TrustCode::W303, commit, found, format!("{missing} more of {could}"), fix)
            }
            _ if machines => {
                let found = format!("{} changed {path}, for which machines do not count", credited(credit));
                refuse(TrustCode::W306, commit, found, format!("one of {could}"), fix)
            }
            _ => {
                let found = format!("{} changed {path}", credited(credit));
                refuse(TrustCode::W302, commit, found, format!("one of {could}"), fix)
            }
        };
        Err(Finding { rule: Some(rule.name.clone()), ..finding })
    }

    pub(crate) fn is_machine(&self, principal: &str) -> bool {
        self.principals.get(principal).is_none_or(|principal| principal.kind == PrincipalKind::Robot)
    }

    /// The principals that could still give credit under a rule, for a message.
    fn could_sign(&self, rule: &Rule, people: bool, credit: &BTreeSet<String>) -> String {
        let names: BTreeSet<&str> = rule
            .any_of
            .iter()
            .filter_map(|item| self.roles.get(&item.role))
            .flatten()
            .filter(|name| !credit.contains(*name))
            .filter(|name| !people || !self.is_machine(name))
            .map(String::as_str)
            .collect();
        if names.is_empty() { "nobody left".to_owned() } else { list(names) }
    }

    /// Whether an object of this kind may be declared in a file, by every rule that covers the file. writ's own kinds,
    /// and the definitions of them, need a rule that names them.
    ///
    /// # Errors
    /// W305.
    pub fn authorise_kind(
        &self,
        commit: &CommitId,
        path: &RepoPath,
        kind: &GroupKind,
        name: &str,
        scope: Option<Scope>,
    ) -> Result<(), Finding> {
        let refuse_kind = |rule: &Rule, found: String, needed: String| {
            let fix = format!("move the object to a path whose rule allows {kind}, or have rule {} changed", rule.name);
            Finding { rule: Some(rule.name.clone()), ..refuse(TrustCode::W305, commit, found, needed, fix) }
        };
        for rule in self.rules_for(path) {
            match rule.kinds.judge(kind, scope) {
                KindVerdict::Allowed => {}
                KindVerdict::Refused => {
                    let found = format!("{path} declares {kind} {name}");
                    return Err(refuse_kind(rule, found, format!("a kind that `{}` allows", rule.kinds)));
                }
                KindVerdict::UnknownScope => {
                    let found = format!("{path} declares {kind} {name}, whose scope is not known");
                    let needed = format!(
                        "a built-in kind, or its CustomResourceDefinition in the same tree, for `{}`",
                        rule.kinds
                    );
                    let refused = refuse_kind(rule, found, needed);
                    let fix = format!("commit the CustomResourceDefinition of {kind} with it, or {}", refused.fix);
                    return Err(Finding { fix, ..refused });
                }
            }
        }
        if is_own(kind, name) && !self.rules_for(path).any(|rule| rule.kinds.names(kind)) {
            let found = format!("{path} declares {kind} {name}, which belongs to writ itself");
            let needed = "a rule for the path whose kinds name it by its group".to_owned();
            let fix = format!("have \"{}/{}\" added to kinds of a rule for the path", kind.group, kind.kind);
            return Err(refuse(TrustCode::W305, commit, found, needed, fix));
        }
        Ok(())
    }

    /// [`authorise_kind`](Self::authorise_kind) for a declared object.
    pub(crate) fn authorise_declared(
        &self,
        commit: &CommitId,
        object: &Declared,
        scope: Option<Scope>,
    ) -> Result<(), Finding> {
        self.authorise_kind(commit, &object.origin.file, &object.group_kind, &object.name, scope)
    }

    /// True if the verdict about objects in this file may depend on the scope of their kind.
    pub(crate) fn limits_kinds(&self, path: &RepoPath) -> bool {
        self.rules_for(path).any(|rule| !rule.kinds.is_empty())
    }
}

/// writ's own kinds, and the CustomResourceDefinitions that define them.
fn is_own(kind: &GroupKind, name: &str) -> bool {
    let own = |group: &str| group.strip_suffix(OWN_GROUP).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let definition = kind.group == "apiextensions.k8s.io" && kind.kind == "CustomResourceDefinition";
    own(&kind.group) || (definition && name.split_once('.').is_some_and(|(_plural, group)| own(group)))
}

fn credited(credit: &BTreeSet<String>) -> String {
    if credit.is_empty() { "nobody".to_owned() } else { list(credit.iter().map(String::as_str)) }
}

/// Names for a message; the first ten of many.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown: Vec<&str> = names.iter().copied().take(LISTED).collect();
    match names.len().saturating_sub(LISTED) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
