//! Authorisation: who may change which path, and what may be declared there. Default deny; all rules that cover a
//! path must hold; principals are counted, never keys.

use std::collections::BTreeSet;

use manifest::{Declared, Finding, GroupKind, RepoPath, Scope, Subject, shell_quote};

use crate::{
    CommitId, Credit, KindVerdict, PrincipalKind, Rule, TagObject, TrustCode, TrustFile,
    approval::{FETCH_APPROVALS, PUSH_APPROVALS},
    commit_object::Refused,
    namespaces::{is_namespace, namespace_of},
    refusal::refuse,
    shown::shown,
    signing_formats::remark,
    trust_file::{RoleThreshold, trust_file_path},
};

/// API group of writ's own kinds; its subgroups are meant as well.
pub const OWN_GROUP: &str = "writ.dev";

/// How many principals or kinds are listed in one message.
const LISTED: usize = 10;

/// An object that a file declares, or was rendered from it, as far as rules are about it.
#[derive(Debug, Clone, Copy)]
pub struct DeclaredObject<'a> {
    /// Group and kind.
    pub kind: &'a GroupKind,
    /// Namespace; `None` for objects that have none, or that do not say it.
    pub namespace: Option<&'a str>,
    /// Name.
    pub name: &'a str,
    /// Whether objects of its kind have a namespace, if that is known.
    pub scope: Option<Scope>,
}

/// True for paths of what judges, on which machines never count.
pub(crate) fn people_only(path: &RepoPath) -> bool {
    matches!(path.segments().next(), Some(".writ" | "policies" | "waivers"))
}

/// Members of a role who stand for a change.
pub(crate) struct Counted<'a> {
    /// Who counts.
    pub(crate) who: Vec<&'a str>,
    /// Forges, and machines where people are needed.
    pub(crate) excluded: Vec<&'a str>,
}

impl TrustFile {
    /// Whether these principals together may change a path.
    ///
    /// # Errors
    /// W302 no rule, or none of them is named · W303 too few · W306 only a forge, or machines where people are needed.
    pub fn authorise(&self, commit: &CommitId, path: &RepoPath, credit: &Credit) -> Result<(), Finding> {
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

    /// Whether whoever signed a tag may release by it: every rule for the ref must be satisfied by that one signature. With
    /// `distinctFromAuthor` it must be somebody else than who signed the commit, `author`, who must be known then.
    ///
    /// # Errors
    /// W302 no rule, or none of them names the signer · W303 more than one is needed, or somebody else than the author ·
    /// W306 only a forge.
    pub(crate) fn authorise_tag(
        &self,
        tag: &TagObject,
        git_ref: &str,
        author: Option<&str>,
        signer: &str,
    ) -> Result<(), Finding> {
        let rules = self.rules_for_ref(git_ref);
        // Whoever is not known may be the same.
        let credit = Credit::by(Some(author.unwrap_or(signer)), [signer.to_owned()]);
        if rules.is_empty() {
            let found = format!("{signer} signed {git_ref}, which no rule covers");
            let needed = format!("a rule whose paths have git:{git_ref}, such as git:refs/tags/**");
            let fix = "have such a rule added to .writ/trust.yaml by a commit of its own".to_owned();
            let finding = tag.refuse(Refused::new(TrustCode::W302, found, needed));
            return Err(Finding { fix: fix.into(), ..finding });
        }
        rules.into_iter().try_for_each(|rule| self.satisfied_by_tag(tag, rule, git_ref, &credit, signer))
    }

    fn satisfied_by_tag(
        &self,
        tag: &TagObject,
        rule: &Rule,
        git_ref: &str,
        credit: &Credit,
        signer: &str,
    ) -> Result<(), Finding> {
        let holds = |item: &&RoleThreshold, distinct: bool| {
            self.roles.get(&item.role).is_some_and(|members| members.contains(signer))
                && credit.counts(signer, distinct)
        };
        let counts = |item: &&RoleThreshold| holds(item, item.distinct_from_author) && !self.is_forge(signer);
        if rule.any_of.iter().any(|item| item.threshold <= 1 && counts(&item)) {
            return Ok(());
        }
        let single: Vec<RoleThreshold> = rule.any_of.iter().filter(|item| item.threshold <= 1).cloned().collect();
        let could = named(&self.could_sign(&Rule { any_of: single, ..rule.clone() }, false, credit));
        let member = rule.any_of.iter().find(|item| holds(item, false));
        let (code, found, needed) = match member {
            Some(_) if self.is_forge(signer) => (
                TrustCode::W306,
                format!("{signer} signed {git_ref}, for which forges do not count"),
                format!("one of {could}"),
            ),
            Some(item) if item.threshold > 1 => (
                TrustCode::W303,
                format!("1 of {} for {git_ref} ({signer}): a tag has one signature", item.threshold),
                "a rule for tags that one signature can satisfy".to_owned(),
            ),
            Some(_) => (
                TrustCode::W303,
                format!("{signer} signed {git_ref} and its commit"),
                format!("one of {could} (distinctFromAuthor)"),
            ),
            None => (TrustCode::W302, format!("{signer} signed {git_ref}"), format!("one of {could}")),
        };
        let finding = tag.refuse(Refused::new(code, found, needed));
        let fix =
            format!("{} # as one of {could}, or have rule {} changed by a commit of its own", finding.fix, rule.name);
        Err(Finding { rule: Some(rule.name.clone()), fix: fix.into(), ..finding })
    }

    /// Whether one of these may have a part in changing a path: every rule names one of them, or leaves open who makes the
    /// change. Thresholds are left to the whole step.
    ///
    /// # Errors
    /// W302 no rule, or none of them is named · W306 only a forge, or machines where people are needed.
    pub(crate) fn contributes(&self, commit: &CommitId, path: &RepoPath, credit: &Credit) -> Result<(), Finding> {
        let rules = self.rules_for(path);
        for rule in &rules {
            let part = RoleThreshold::part;
            let any_of = rule.any_of.iter().filter(|item| !item.distinct_from_author).map(part).collect::<Vec<_>>();
            if any_of.len() == rule.any_of.len() {
                self.satisfied(commit, &Rule { any_of, ..(*rule).clone() }, path, credit)?;
            }
        }
        if rules.is_empty() { self.authorise(commit, path, credit) } else { Ok(()) }
    }

    fn satisfied(&self, commit: &CommitId, rule: &Rule, path: &RepoPath, credit: &Credit) -> Result<(), Finding> {
        let people = people_only(path);
        let mut closest: Option<(u32, &RoleThreshold)> = None;
        let mut machines = false;
        for item in &rule.any_of {
            let counted = self.counted(item, path, credit);
            let count = u32::try_from(counted.who.len()).unwrap_or(u32::MAX);
            if count >= item.threshold {
                return Ok(());
            }
            machines |= !counted.excluded.is_empty();
            if closest.is_none_or(|(most, _item)| count > most) {
                closest = Some((count, item));
            }
        }
        let able = self.could_sign(rule, people, credit);
        let mut could = named(&able);
        if closest.is_some_and(|(_, item)| item.distinct_from_author) {
            could.push_str(if self.is_of_anybody(credit) {
                " (whoever made the change does not count, and a forge does not say who did: one more is needed)"
            } else {
                " (whoever made the change does not count)"
            });
        }
        let fix =
            format!("have {could} make and sign the commit, or have rule {} changed by a commit of its own", rule.name);
        let finding = match closest {
            Some((count, item)) if count > 0 => {
                let found = format!("{count} of {} for {path} ({})", item.threshold, credited(credit));
                let missing = item.threshold.saturating_sub(count);
                let fix = self.approve(commit, &able, &could);
                refuse(TrustCode::W303, commit, found, format!("{missing} more of {could}"), fix)
            }
            _ if machines => {
                let who = if people { "machines" } else { "forges" };
                let found = format!("{} changed {path}, for which {who} do not count", credited(credit));
                refuse(TrustCode::W306, commit, found, format!("one of {could}"), fix)
            }
            _ => {
                let found = format!("{} changed {path}", credited(credit));
                refuse(TrustCode::W302, commit, found, format!("one of {could}"), fix)
            }
        };
        Err(Finding { rule: Some(rule.name.clone()), ..finding })
    }

    /// Whose word counts for an alternative of a rule, and whose does not although the role is theirs.
    pub(crate) fn counted<'a>(&'a self, item: &RoleThreshold, path: &RepoPath, credit: &Credit) -> Counted<'a> {
        let people = people_only(path);
        let members = self.roles.get(&item.role).into_iter().flatten().map(String::as_str);
        let excluded = |member: &&str| self.is_forge(member) || (people && self.is_machine(member));
        let (excluded, mut who): (Vec<_>, Vec<_>) =
            members.filter(|member| credit.counts(member, item.distinct_from_author)).partition(excluded);
        if item.distinct_from_author && self.is_of_anybody(credit) {
            who.pop();
        }
        Counted { who, excluded }
    }

    /// Whether nobody can say who made a change: a forge signs what whoever presses its buttons made, which may be one of
    /// those who stand for it.
    fn is_of_anybody(&self, credit: &Credit) -> bool {
        credit.author().is_some_and(|author| self.is_forge(author))
    }

    /// Whether the signature of a principal counts for a new trust file, and for an order that takes as much: a person in a role
    /// that some rule for the file asks for.
    #[must_use]
    pub fn counts_for_trust(&self, principal: &str) -> bool {
        let rules = self.rules_for(&trust_file_path());
        let mut roles = rules.iter().flat_map(|rule| &rule.any_of).filter_map(|item| self.roles.get(&item.role));
        !self.is_machine(principal) && roles.any(|members| members.contains(principal))
    }

    /// W302 about a signature on a trust file, or on an order that takes as much, that counts for nothing.
    ///
    /// # Errors
    /// Unless it [counts](Self::counts_for_trust).
    pub fn signs_for_trust(&self, principal: &str, subject: Subject, fix: &str) -> Result<(), Finding> {
        if self.counts_for_trust(principal) {
            return Ok(());
        }
        let able: BTreeSet<&str> =
            self.principals.keys().map(String::as_str).filter(|name| self.counts_for_trust(name)).collect();
        let why = if self.is_machine(principal) {
            "no person"
        } else {
            "in no role that a rule for .writ/trust.yaml asks for"
        };
        let found = format!("the signature of {principal} does not count: {principal} is {why}");
        let (code, needed) = (TrustCode::W302.entry(), format!("that of one of {}", named(&able)));
        let fix = remark(fix, &format!("as one of {}", named(&able)));
        Err(Finding { code, subject, rule: None, found: found.into(), needed: needed.into(), fix: fix.into() })
    }

    pub(crate) fn is_machine(&self, principal: &str) -> bool {
        self.principals.get(principal).is_none_or(|principal| principal.kind != PrincipalKind::Human)
    }

    fn is_forge(&self, principal: &str) -> bool {
        self.principals.get(principal).is_some_and(|principal| principal.kind == PrincipalKind::Forge)
    }

    /// How others stand for a commit that is there already.
    fn approve(&self, commit: &CommitId, able: &BTreeSet<&str>, could: &str) -> String {
        let formats = self.signing_formats(None, |name| able.contains(name));
        let approve = format!("{FETCH_APPROVALS} && writ trust approve {commit}");
        formats.writ(&approve, &format!(" && {PUSH_APPROVALS} # as {could}"))
    }

    /// The principals that could still give credit under a rule.
    fn could_sign<'a>(&'a self, rule: &Rule, people: bool, credit: &Credit) -> BTreeSet<&'a str> {
        rule.any_of
            .iter()
            .filter_map(|item| self.roles.get(&item.role))
            .flatten()
            .filter(|name| !credit.principals().contains(*name))
            .filter(|name| !self.is_forge(name) && (!people || !self.is_machine(name)))
            .map(String::as_str)
            .collect()
    }

    /// Whether an object may be declared in a file, by every rule that holds for the file: its kind, and the namespace
    /// that it is in or is; a rule for some namespaces lets through what is in none only if its kinds name it. writ's own kinds, and the definitions of them, need a rule that names them; orders that people
    /// sign outside of Git have no place there at all.
    ///
    /// # Errors
    /// W305.
    pub fn authorise_kind(
        &self,
        commit: &CommitId,
        path: &RepoPath,
        object: &DeclaredObject<'_>,
    ) -> Result<(), Finding> {
        let DeclaredObject { kind, namespace, name, scope } = *object;
        let told = kind.to_string();
        let told = shown(&told);
        let declares = format!("{path} declares {told} {}", shown(name));
        if is_signed_order(kind) {
            let found = format!("{declares}, which is never obeyed from a repository");
            let needed = "an order that people sign, and that is applied to the cluster by hand".to_owned();
            let fix = format!("git rm -- {} # or move the document out of the repository", shell_quote(path.as_str()));
            return Err(refuse(TrustCode::W305, commit, found, needed, fix));
        }
        let rules = self.rules_for(path);
        let refuse_kind = |rule: &Rule, found: String, needed: String| {
            let fix = format!("move the object to a path whose rule allows {told}, or have rule {} changed", rule.name);
            Finding { rule: Some(rule.name.clone()), ..refuse(TrustCode::W305, commit, found, needed, fix) }
        };
        let unknown_scope = |rule: &Rule, limits: &dyn std::fmt::Display| {
            let found = format!("{declares}, whose scope is not known");
            let needed = format!("a built-in kind, or its CustomResourceDefinition in the same tree, for `{limits}`");
            let refused = refuse_kind(rule, found, needed);
            let fix = format!("commit the CustomResourceDefinition of {told} with it, or {}", refused.fix);
            Finding { fix: fix.into(), ..refused }
        };
        for rule in &rules {
            match rule.kinds.judge(kind, scope) {
                KindVerdict::Allowed => {}
                KindVerdict::Refused => {
                    return Err(refuse_kind(rule, declares.clone(), format!("a kind that `{}` allows", rule.kinds)));
                }
                KindVerdict::UnknownScope => return Err(unknown_scope(rule, &rule.kinds)),
            }
            if let Some(namespace) = namespace_of(kind, namespace, name).filter(|one| !rule.namespaces.allow(one)) {
                let namespace = shown(namespace);
                let found = format!("{declares} for the namespace {namespace}");
                let needed = format!("a namespace that `{}` allows", rule.namespaces);
                let fix =
                    format!("move it to a path whose rule allows {namespace}, or have rule {} changed", rule.name);
                return Err(Finding { fix: fix.into(), ..refuse_kind(rule, found, needed) });
            }
            match is_clusterwide(rule, kind, scope) {
                Some(false) => {}
                Some(true) => {
                    let found = format!("{declares}, which is in no namespace");
                    let named = format!("{}/{}", shown(&kind.group), shown(&kind.kind));
                    let needed = format!("a namespace that `{}` allows, or {named} in kinds", rule.namespaces);
                    return Err(refuse_kind(rule, found, needed));
                }
                None => return Err(unknown_scope(rule, &rule.namespaces)),
            }
        }
        if is_own(kind, name) && !rules.iter().any(|rule| rule.kinds.names(kind)) {
            let found = format!("{declares}, which belongs to writ itself");
            let needed = "a rule for the path whose kinds name it by its group".to_owned();
            let fix =
                format!("have \"{}/{}\" added to kinds of a rule for the path", shown(&kind.group), shown(&kind.kind));
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
        let declared = DeclaredObject {
            kind: &object.group_kind,
            namespace: object.namespace.as_deref(),
            name: &object.name,
            scope,
        };
        self.authorise_kind(commit, &object.origin.file, &declared)
    }

    /// True if the verdict about objects in this file may depend on the scope of their kind.
    pub(crate) fn limits_kinds(&self, path: &RepoPath) -> bool {
        self.rules_for(path).iter().any(|rule| !rule.kinds.is_empty() || !rule.namespaces.is_empty())
    }
}

/// Whether an object of this kind is in none of the namespaces that a rule allows because it is in no namespace at all, and
/// the kinds of the rule do not name it; `None` if that depends on a scope which is not known. A Namespace is about itself.
fn is_clusterwide(rule: &Rule, kind: &GroupKind, scope: Option<Scope>) -> Option<bool> {
    if rule.namespaces.is_empty() || is_namespace(kind) || rule.kinds.names_clusterwide(kind) {
        return Some(false);
    }
    scope.map(|scope| scope == Scope::Cluster)
}

/// writ's own kinds, and the CustomResourceDefinitions that define them.
fn is_own(kind: &GroupKind, name: &str) -> bool {
    let own = |group: &str| group.strip_suffix(OWN_GROUP).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    let definition = kind.group == "apiextensions.k8s.io" && kind.kind == "CustomResourceDefinition";
    own(&kind.group) || (definition && name.split_once('.').is_some_and(|(_plural, group)| own(group)))
}

/// Orders that override what the repository says: what is in it must not bring them.
fn is_signed_order(kind: &GroupKind) -> bool {
    kind.group == OWN_GROUP && matches!(kind.kind.as_str(), "RollbackRequest" | "BreakGlass")
}

/// Those who could still stand for something, for a message.
fn named(able: &BTreeSet<&str>) -> String {
    if able.is_empty() { "nobody left".to_owned() } else { list(able.iter().copied()) }
}

fn credited(credit: &Credit) -> String {
    let principals = credit.principals();
    if principals.is_empty() { "nobody".to_owned() } else { list(principals.iter().map(String::as_str)) }
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
