//! What the fields of a trust file mean together, and against its predecessor and the TrustRoot.

use std::collections::BTreeSet;

use jiff::Timestamp;
use manifest::Finding;

use super::{
    MAX_PATTERNS, Places, PrincipalKind, Revoked, RoleThreshold, Rule, TrustFile, reader::finding, signature_path,
    signatures::openpgp_signature_path, trust_file_path,
};
use crate::{
    CommitId, History, PathPattern, PrincipalKey, SignatureFormat, TrustCode, TrustRootSpec, refusal::unreadable,
};

const EDIT: &str = "edit .writ/trust.yaml and have it signed again";

/// All that is wrong with a file whose form is right. What is within reach depends on the keys in force: at a time, all
/// but those that have ended.
pub(super) fn check(file: &TrustFile, at: Option<Timestamp>) -> Vec<Finding> {
    let when = at.map_or_else(String::new, |at| format!(" at {at}"));
    let mut findings = Vec::new();
    let patterns: usize = file.rules.iter().map(|rule| rule.paths.len()).sum();
    if patterns > MAX_PATTERNS {
        let needed = format!("at most {MAX_PATTERNS} path patterns in all rules");
        findings.push(finding(TrustCode::W502, file.places.rules, format!("{patterns} path patterns"), &needed, EDIT));
    }
    for rule in &file.rules {
        if rule.paths.iter().any(PathPattern::is_for_refs) && rule.any_of.iter().all(|item| item.threshold > 1) {
            let found = format!("rule {} is for tags and needs several signatures, of which a tag has one", rule.name);
            let finding = finding(TrustCode::W506, rule.place, found, "a threshold of 1", EDIT);
            findings.push(Finding { rule: Some(rule.name.clone()), ..finding });
        }
        let below_writ = is_below_writ(rule);
        for item in &rule.any_of {
            let mut note = |code, found: String, needed: &str, fix: &str| {
                let finding = finding(code, item.place, found, needed, fix);
                findings.push(Finding { rule: Some(rule.name.clone()), ..finding });
            };
            if !file.roles.contains_key(&item.role) {
                note(
                    TrustCode::W502,
                    format!("rule {} names the role {}, which is not there", rule.name, item.role),
                    "a role",
                    EDIT,
                );
            } else if !file.can_reach(item, below_writ, at) {
                let held = file.able(&item.role, below_writ, at);
                let found = format!(
                    "rule {} needs {} of role {}, in which {held} can sign{when}",
                    rule.name, item.threshold, item.role
                );
                note(TrustCode::W506, found, "a threshold within reach", &file.add_to(rule, item, at));
            }
        }
    }
    findings.extend(self_lock(file, at));
    findings
}

/// Whether machines never count for what a rule covers.
fn is_below_writ(rule: &Rule) -> bool {
    rule.paths.iter().all(|pattern| pattern.is_below(".writ"))
}

/// W506 unless people in force could change the trust file and put their signatures beside it.
fn self_lock(file: &TrustFile, at: Option<Timestamp>) -> Vec<Finding> {
    let trust = trust_file_path();
    let signers: BTreeSet<&str> = file
        .rules_for(&trust)
        .into_iter()
        .flat_map(|rule| &rule.any_of)
        .filter_map(|item| file.roles.get(&item.role))
        .flatten()
        .map(String::as_str)
        .collect();
    let mut findings = Vec::new();
    let mut locked = BTreeSet::new();
    let beside = signers.iter().map(|signer| {
        let by_gpg = file.principals.get(*signer).is_some_and(|principal| principal.signs_by_openpgp_alone());
        if by_gpg { openpgp_signature_path(signer) } else { signature_path(signer) }
    });
    for path in std::iter::once(trust).chain(beside) {
        if file.rules_for(&path).is_empty() {
            let found = format!("no rule covers {path}, so this file could never be changed");
            findings.push(finding(TrustCode::W506, file.places.rules, found, "a rule for .writ/**", EDIT));
            break;
        }
        for rule in file.rules_for(&path) {
            let reachable = rule.any_of.iter().any(|item| file.can_reach(item, true, at));
            if !reachable && locked.insert(rule.name.as_str()) {
                let found = format!("rule {} covers {path} and no people in force can satisfy it", rule.name);
                let least = rule.any_of.iter().min_by_key(|item| file.lacks(rule, item, at));
                let fix = least.map_or_else(|| EDIT.to_owned(), |item| file.add_to(rule, item, at));
                let needed = "a role with enough people who can sign";
                let finding = finding(TrustCode::W506, rule.place, found, needed, &fix);
                findings.push(Finding { rule: Some(rule.name.clone()), ..finding });
            }
        }
    }
    findings
}

impl TrustFile {
    /// W506 for each threshold that the keys in force at a time cannot reach. Parsing has looked at all keys.
    #[must_use]
    pub fn out_of_reach(&self, at: Timestamp) -> Vec<Finding> {
        check(self, Some(at))
    }

    /// How many holders of a role can sign, with a key that is not revoked and has not ended, and only people if `people`.
    fn able(&self, role: &str, people: bool, at: Option<Timestamp>) -> usize {
        let able = |name: &&String| self.counts(name, people) && self.can_sign(name, at);
        self.roles.get(role).map_or(0, |members| members.iter().filter(able).count())
    }

    /// How many more holders of the role would have to be able to sign for an alternative of a rule.
    pub(super) fn lacks(&self, rule: &Rule, item: &RoleThreshold, at: Option<Timestamp>) -> usize {
        let able = self.able(&item.role, is_below_writ(rule), at);
        usize::try_from(item.threshold).unwrap_or(usize::MAX).saturating_sub(able)
    }

    /// What brings an alternative of a rule within reach.
    fn add_to(&self, rule: &Rule, item: &RoleThreshold, at: Option<Timestamp>) -> String {
        let role = manifest::shell_quote(&item.role);
        // Where only somebody beside the author is missing, one is enough.
        let more = self.lacks(rule, item, at).max(1);
        format!(
            "writ trust add NAME --key PUBLIC_KEY --role {role} # {more} more; or lower the threshold of rule {}",
            rule.name
        )
    }

    fn counts(&self, name: &str, people: bool) -> bool {
        self.principals.get(name).is_some_and(|principal| match principal.kind {
            PrincipalKind::Human => true,
            PrincipalKind::Robot => !people,
            PrincipalKind::Forge => false,
        })
    }

    fn can_reach(&self, item: &RoleThreshold, people: bool, at: Option<Timestamp>) -> bool {
        let able = self.able(&item.role, people, at);
        // Where the author does not count, somebody else has to make the commit: a holder of the role more, or anybody.
        let is_member = |name: &String| self.roles.get(&item.role).is_some_and(|members| members.contains(name));
        let has_author = || self.principals.keys().any(|name| !is_member(name) && self.can_sign(name, at));
        let needed = usize::try_from(item.threshold).unwrap_or(usize::MAX);
        if item.distinct_from_author {
            return able >= needed && (able > needed || has_author());
        }
        able >= needed
    }

    /// Whether a principal has a key, certificate or account, of any format, that is not revoked and has not ended.
    fn can_sign(&self, name: &str, at: Option<Timestamp>) -> bool {
        [SignatureFormat::Ssh, SignatureFormat::OpenPgp, SignatureFormat::Keyless]
            .into_iter()
            .any(|format| self.can_sign_by(name, format, at))
    }

    /// The same for one format.
    pub(crate) fn can_sign_by(&self, name: &str, format: SignatureFormat, at: Option<Timestamp>) -> bool {
        self.principals.get(name).is_some_and(|principal| match format {
            SignatureFormat::OpenPgp => principal.certificate_in_force(self, at),
            SignatureFormat::Keyless => principal.identity_in_force(self, at),
            SignatureFormat::Ssh => {
                let in_force = |key: &PrincipalKey| {
                    let ended = at.zip(key.not_after).is_some_and(|(at, end)| at > end);
                    !ended && !self.revoked.contains_key(&Revoked::Key(key.key.fingerprint()))
                };
                self.can_be_certified(principal, at) || principal.keys.iter().any(in_force)
            }
        })
    }

    /// W507 for each field in which the file is about something else than the TrustRoot.
    #[must_use]
    pub fn against_root(&self, root: &TrustRootSpec) -> Vec<Finding> {
        self.is_for(&root.repo_id, &root.r#ref, "as in the TrustRoot")
    }

    /// W507 for each field in which the file is about something else than the one before it, which the TrustRoot names as well.
    #[must_use]
    pub fn for_another(&self, previous: &Self) -> Vec<Finding> {
        self.is_for(&previous.repo_id, &previous.git_ref, "as in the file before it")
    }

    fn is_for(&self, wanted_id: &str, wanted_ref: &str, whose: &str) -> Vec<Finding> {
        let Places { repo_id, git_ref, .. } = self.places;
        [(repo_id, "repoId", self.repo_id.as_str(), wanted_id), (git_ref, "ref", &self.git_ref, wanted_ref)]
            .into_iter()
            .filter(|(_place, _field, found, wanted)| found != wanted)
            .map(|(place, field, found, wanted)| {
                finding(TrustCode::W507, place, format!("{field} is {found:?}"), &format!("{wanted:?}, {whose}"), EDIT)
            })
            .collect()
    }

    /// W502 for the first soft revocation whose end is not in the history of `before`, the commit that the file would follow.
    ///
    /// # Errors
    /// That, or W403 if the history cannot be read.
    pub fn ends_in_history(&self, history: &dyn History, before: &CommitId) -> Result<(), Finding> {
        self.unknown_ends(|end| history.is_ancestor(end, before).map_err(|error| unreadable(before, &error)))
    }

    /// W502 for each soft revocation whose end is no commit before this one.
    pub(crate) fn unknown_ends(&self, known: impl Fn(&CommitId) -> Result<bool, Finding>) -> Result<(), Finding> {
        for (revoked, revocation) in &self.revoked {
            if let Some(after) = &revocation.after
                && !known(after)?
            {
                let found = format!("{revoked} is revoked after {after}, which is not in the history before this file");
                let needed = "a commit of the mainline";
                return Err(finding(TrustCode::W502, revocation.place, found, needed, EDIT));
            }
        }
        Ok(())
    }

    /// W503 and W505 for each way in which the file does not follow its predecessor.
    #[must_use]
    pub fn against_predecessor(&self, previous: &Self) -> Vec<Finding> {
        let mut findings = Vec::new();
        if previous.version.checked_add(1) != Some(self.version) {
            let found = format!("version {} after {}", self.version, previous.version);
            let needed = format!("version {}", previous.version.saturating_add(1));
            findings.push(finding(TrustCode::W503, self.places.version, found, &needed, EDIT));
        }
        for (revoked, before) in &previous.revoked {
            // A soft revocation may become a hard one; nothing else takes less back than before.
            let found = match self.revoked.get(revoked) {
                None => format!("{revoked} ({before}) is no longer revoked"),
                Some(now) if now.after.is_some() && now.after != before.after => {
                    format!("{revoked} ({before}) is revoked since another commit")
                }
                Some(_) => continue,
            };
            let needed = "all revocations of the predecessor";
            findings.push(finding(TrustCode::W505, self.places.revoked, found, needed, EDIT));
        }
        findings
    }
}
