//! Who has signed a trust file, who has to, and the commands for it.

use std::{collections::BTreeSet, fmt::Write as _, path::Path};

use jiff::Timestamp;
use manifest::{RepoPath, shell_quote};
use serde::Serialize;
use trust::{PrincipalKind, RefBinding, SigningFormats, TRUST_FILE, TrustFile, Verifiers};

use crate::trust_tree::repo_option;

/// Whose rules those of the new file are.
const OWN: &str = "its own rules";

/// The signatures over a trust file, as the rules of the file in force and its own see them.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Vouched {
    /// What has to be satisfied.
    needed: Vec<Need>,
    /// The principals whose signatures count by some rule.
    signed: BTreeSet<String>,
    /// Files of those who signed the file as it was before, and sign this one anew.
    outdated: Vec<String>,
    /// Why the others count for nothing.
    bad: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Need {
    /// Whose rule it is.
    by: &'static str,
    rule: String,
    any_of: Vec<Alternative>,
    satisfied: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Alternative {
    role: String,
    threshold: u32,
    distinct_from_author: bool,
    signed: Vec<String>,
    missing: Vec<String>,
}

impl Vouched {
    /// Judges signature files over these bytes. What they were before is `earlier`.
    pub(crate) fn of(
        before: Option<&TrustFile>,
        file: &TrustFile,
        (bytes, earlier): (&[u8], &[Vec<u8>]),
        files: &[(String, Vec<u8>)],
        at: Timestamp,
        with: Verifiers<'_>,
    ) -> Self {
        let mut vouched = Self { needed: Vec::new(), signed: BTreeSet::new(), outdated: Vec::new(), bad: Vec::new() };
        let judges = before.map(|before| ("the file in force", before)).into_iter().chain([(OWN, file)]);
        let signed_before = |signature: &(String, Vec<u8>)| {
            let mut all =
                earlier.iter().flat_map(|bytes| before.into_iter().chain([file]).map(move |judge| (judge, bytes)));
            all.any(|(judge, bytes)| {
                judge.signatures(bytes, std::slice::from_ref(signature), at, with).iter().any(Result::is_ok)
            })
        };
        let mut verdicts: Vec<Vec<Result<String, String>>> = Vec::new();
        for (by, judge) in judges {
            let found = judge.signatures(bytes, files, at, with);
            let good: BTreeSet<&str> = found.iter().flatten().map(String::as_str).collect();
            vouched.needed.extend(needs(by, judge, &good, at));
            vouched.signed.extend(good.into_iter().map(str::to_owned));
            verdicts.push(found);
        }
        // One that counts by either is not bad.
        for (index, signature) in files.iter().enumerate() {
            let each: Vec<&Result<String, String>> = verdicts.iter().filter_map(|all| all.get(index)).collect();
            if each.iter().any(|one| one.is_ok()) {
                continue;
            }
            if signed_before(signature) {
                vouched.outdated.push(signature.0.clone());
            } else {
                vouched.bad.extend(each.last().and_then(|one| one.as_ref().err().cloned()));
            }
        }
        vouched
    }

    /// Whether nobody has to sign any more.
    pub(crate) fn is_enough(&self) -> bool {
        self.needed.iter().all(|need| need.satisfied)
    }

    /// What is not satisfied, without what is satisfied once the new file's own rules are: who has no key any more in the new
    /// file need not sign for the one in force where the others do so anyway.
    fn wanted(&self) -> impl Iterator<Item = &Need> {
        let open = || self.needed.iter().filter(|need| !need.satisfied);
        open().filter(move |need| need.by == OWN || !open().any(|own| own.by == OWN && own.brings(need)))
    }

    /// Whether a signature of this principal is one of those that are missing.
    pub(crate) fn waits_for(&self, principal: &str) -> bool {
        self.wanted().flat_map(|need| &need.any_of).any(|one| one.missing.iter().any(|name| name == principal))
    }

    /// A line for each rule.
    pub(crate) fn in_words(&self) -> String {
        let mut text = String::new();
        for need in &self.needed {
            let any_of: Vec<String> = need
                .any_of
                .iter()
                .map(|one| {
                    let author = if one.distinct_from_author { ", besides who commits" } else { "" };
                    let who = if one.signed.is_empty() { "nobody".to_owned() } else { one.signed.join(", ") };
                    format!("{} of {} of {} have signed ({who}){author}", one.signed.len(), one.threshold, one.role)
                })
                .collect();
            // Writing to a string cannot fail.
            let _ok = writeln!(text, "by {}, rule {}: {}", need.by, need.rule, any_of.join(", or "));
        }
        if !self.outdated.is_empty() {
            let files = self.outdated.join(", ");
            let _ok = writeln!(text, "to be signed anew: {files}, made for the file as it was before");
        }
        for bad in &self.bad {
            let _ok = writeln!(text, "does not count: {bad}");
        }
        text
    }

    /// With what those sign who can still do so: by their keys in the file in force, and in the new one.
    fn formats(&self, before: Option<&TrustFile>, file: &TrustFile, at: Timestamp) -> SigningFormats {
        let wanted = |name: &str| {
            let alternatives = self.wanted().flat_map(|need| &need.any_of);
            alternatives.flat_map(|one| &one.missing).any(|missing| missing == name)
        };
        // A key that goes does not sign for the file without it.
        let formats = file.signing_formats(Some(at), wanted);
        before
            .filter(|_| formats == SigningFormats::default())
            .map_or(formats, |before| before.signing_formats(Some(at), wanted))
    }

    /// Who can still sign so that it becomes enough.
    pub(crate) fn missing(&self) -> String {
        let wanted: Vec<String> = self
            .wanted()
            .map(|need| {
                let any_of = need.any_of.iter().map(|one| format!("{} of {}", one.more(), one.missing.join(", ")));
                any_of.collect::<Vec<_>>().join(" or ")
            })
            .collect();
        let mut unique = Vec::new();
        for one in wanted {
            if !unique.contains(&one) {
                unique.push(one);
            }
        }
        unique.join(", and ")
    }
}

impl Need {
    /// Whether signatures that satisfy this satisfy the other as well, whoever of the missing makes them.
    fn brings(&self, other: &Self) -> bool {
        self.any_of.iter().all(|mine| {
            other
                .any_of
                .iter()
                .any(|one| one.more() <= mine.more() && mine.missing.iter().all(|name| one.missing.contains(name)))
        })
    }
}

impl Alternative {
    /// How many more have to sign.
    fn more(&self) -> usize {
        usize::try_from(self.threshold).unwrap_or(usize::MAX).saturating_sub(self.signed.len())
    }
}

/// What the rules of one file for a change of it need. Who has no key in force there can sign nothing that counts.
fn needs(by: &'static str, judge: &TrustFile, good: &BTreeSet<&str>, at: Timestamp) -> Vec<Need> {
    let path: RepoPath = TRUST_FILE.parse().unwrap_or_default();
    let can_sign = |name: &str| judge.signing_formats(Some(at), |one| one == name) != SigningFormats::default();
    let is_person = |name: &str| judge.principals.get(name).is_some_and(|one| one.kind == PrincipalKind::Human);
    let need = |rule: &trust::Rule| {
        let any_of: Vec<Alternative> = rule
            .any_of
            .iter()
            .map(|item| {
                let people = judge.roles.get(&item.role).into_iter().flatten().filter(|name| is_person(name)).cloned();
                let (signed, mut missing): (Vec<_>, Vec<_>) = people.partition(|name| good.contains(name.as_str()));
                missing.retain(|name| can_sign(name));
                Alternative {
                    role: item.role.clone(),
                    threshold: item.threshold,
                    distinct_from_author: item.distinct_from_author,
                    signed,
                    missing,
                }
            })
            .collect();
        let enough = |one: &Alternative| u32::try_from(one.signed.len()).unwrap_or(u32::MAX) >= one.threshold;
        Need { by, rule: rule.name.clone(), satisfied: any_of.iter().any(enough), any_of }
    };
    judge.rules_for(&path).into_iter().map(need).collect()
}

/// What is to be run next: signatures as far as they are missing, and the commit.
pub(crate) fn next_commands(
    dir: &Path,
    before: Option<&TrustFile>,
    file: &TrustFile,
    vouched: &Vouched,
    at: Timestamp,
) -> Vec<String> {
    let mut commands = Vec::new();
    if !vouched.is_enough() {
        let sign = format!("writ trust sign{}", repo_option(dir));
        commands.push(vouched.formats(before, file, at).writ(&sign, &format!(" # as {}", vouched.missing())));
    }
    let binding = before.unwrap_or(file);
    let trailer = match binding.history.ref_binding {
        RefBinding::None => String::new(),
        RefBinding::Trailer | RefBinding::Attestation => {
            let trailer = format!("Writ-Ref: {} {}", binding.repo_id, binding.git_ref);
            format!(" --trailer {}", shell_quote(&trailer))
        }
    };
    // Who may make the commit is judged by the file in force.
    let formats = before.unwrap_or(file).root_formats(at);
    let commit = format!(
        "git add .writ && {} commit --gpg-sign -m 'Trust file, version {}'{trailer} -- .writ",
        formats.git(),
        file.version
    );
    commands.push(formats.noted(if dir == Path::new(".") {
        commit
    } else {
        format!("(cd {} && {commit})", shell_quote(&dir.display().to_string()))
    }));
    commands
}
