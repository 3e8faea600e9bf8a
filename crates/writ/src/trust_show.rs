//! `writ trust show` and `writ trust who`: who may do what, by the trust file of a revision.

use std::fmt::Write as _;

use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::{SignedDuration, Timestamp};
use manifest::RepoPath;
use serde::Serialize;
use trust::{
    Ancestry, CommitId, HistoryRules, KeyFingerprint, MergeCreditMode, Principal, RefBinding, Revoked, Rule,
    TRUST_FILE, TrustFile,
};

use crate::{
    cli::{TrustShowArgs, TrustWhoArgs},
    exit::{Outcome, UsageError},
    output::{self, Format},
    verify::{open, resolve},
};

/// Schema of the documents.
const SCHEMA: &str = "writ.dev/trust/v1alpha1";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown {
    schema: &'static str,
    commit: String,
    repo_id: String,
    git_ref: String,
    version: u64,
    expires: String,
    principals: Vec<ShownPrincipal>,
    /// Whose certificates of principals are believed.
    authorities: Vec<ShownAuthority>,
    rules: Vec<ShownRule>,
    history: ShownHistory,
    revoked: Vec<String>,
}

/// What is demanded of history, also where the file leaves it out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownHistory {
    ancestry: &'static str,
    ref_binding: &'static str,
    merge_credit: &'static str,
    partial_advance: bool,
    dual_signed: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownAuthority {
    name: String,
    key: String,
    /// What its certificates may call people.
    principals: String,
    max_validity: String,
}

#[derive(Serialize)]
struct ShownPrincipal {
    name: String,
    kind: &'static str,
    keys: Vec<String>,
    roles: Vec<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ShownRule {
    name: String,
    paths: Vec<String>,
    any_of: Vec<String>,
    kinds: String,
    namespaces: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#override: Option<String>,
    /// What of `kinds` and `namespaces` it leaves open although the rule that it overrides does not.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left_open: Vec<&'static str>,
}

#[derive(Serialize)]
struct Who {
    schema: &'static str,
    commit: String,
    path: String,
    rules: Vec<ShownRule>,
    /// Who may change it alone; empty if several must stand for it.
    alone: Vec<String>,
}

/// Runs `writ trust show`.
pub(crate) fn show(args: &TrustShowArgs) -> anyhow::Result<Outcome> {
    let (commit, file) = read(&args.repo, &args.revision)?;
    let shown = shown(&commit, &file);
    if args.output != Format::Human {
        output::document(args.output, &shown)?;
        return Ok(Outcome::Fine);
    }
    let mut text = format!(
        "{TRUST_FILE} of {:.12}: version {} of {} {}, expires {}\n\n",
        shown.commit, shown.version, shown.repo_id, shown.git_ref, shown.expires
    );
    let mut principals = table(&["PRINCIPAL", "KIND", "ROLES", "KEYS"]);
    for principal in &shown.principals {
        principals.add_row([&principal.name, principal.kind, &principal.roles.join(", "), &principal.keys.join("\n")]);
    }
    // Writing to a string cannot fail.
    let _ok = writeln!(text, "{principals}\n");
    if !shown.authorities.is_empty() {
        let mut authorities = table(&["AUTHORITY", "KEY", "CERTIFIES", "FOR AT MOST"]);
        for one in &shown.authorities {
            authorities.add_row([&one.name, &one.key, &one.principals, &one.max_validity]);
        }
        let _ok = writeln!(text, "{authorities}\n");
    }
    let mut rules = table(&["RULE", "PATHS", "NEEDS", "KINDS", "NAMESPACES"]);
    for rule in &shown.rules {
        let any_of = rule.any_of.join("\nor ");
        rules.add_row([&rule.name, &rule.paths.join("\n"), &any_of, &rule.kinds, &rule.namespaces]);
    }
    let _ok = writeln!(text, "{rules}");
    for rule in &file.rules {
        if let Some(word) = opened(&file, rule) {
            let _ok = writeln!(text, "note: {word}");
        }
    }
    let ShownHistory { ancestry, ref_binding, merge_credit, partial_advance, dual_signed } = shown.history;
    let _ok = writeln!(
        text,
        "history: ancestry {ancestry}, refBinding {ref_binding}, mergeCredit {merge_credit}, partialAdvance \
         {partial_advance}, dualSigned {dual_signed}"
    );
    for revoked in &shown.revoked {
        let _ok = writeln!(text, "revoked: {revoked}");
    }
    output::text(&output::printable_lines(&text))?;
    Ok(Outcome::Fine)
}

/// Runs `writ trust who`.
pub(crate) fn who(args: &TrustWhoArgs) -> anyhow::Result<Outcome> {
    let path: RepoPath = args
        .path
        .parse()
        .map_err(|error| UsageError(format!("{:?} is no path of a repository: {error}", args.path)))?;
    let (commit, file) = read(&args.repo, &args.revision)?;
    let rules = file.rules_for(&path);
    let may = |name: &&String| file.authorise(&commit, &path, &trust::Credit::of_author(name)).is_ok();
    let who = Who {
        schema: SCHEMA,
        commit: commit.to_string(),
        path: path.to_string(),
        rules: rules.iter().map(|rule| shown_rule(&file, rule)).collect(),
        alone: file.principals.keys().filter(may).cloned().collect(),
    };
    let outcome = if who.rules.is_empty() { Outcome::Finding } else { Outcome::Fine };
    if args.output != Format::Human {
        output::document(args.output, &who)?;
        return Ok(outcome);
    }
    let mut text = String::new();
    if who.rules.is_empty() {
        let _ok = writeln!(text, "nobody may change {}: no rule covers it", who.path);
    }
    for (rule, shown) in rules.iter().zip(&who.rules) {
        let _ok = writeln!(text, "rule {}: {}", shown.name, shown.any_of.join(", or "));
        if let Some(word) = opened(&file, rule) {
            let _ok = writeln!(text, "note: {word}");
        }
    }
    if !who.alone.is_empty() {
        let _ok = writeln!(text, "alone: {}", who.alone.join(", "));
    }
    output::text(&output::printable_lines(&text))?;
    Ok(outcome)
}

fn read(repo: &std::path::Path, revision: &str) -> anyhow::Result<(CommitId, TrustFile)> {
    let repository = open(repo)?;
    let commit = resolve(&repository, revision)?;
    let file = TrustFile::of_commit(&repository, &commit).map_err(|findings| {
        let mistakes: Vec<String> = findings.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("{TRUST_FILE} of {commit}: {}", mistakes.join("; "))
    })?;
    Ok((commit, file))
}

fn shown(commit: &CommitId, file: &TrustFile) -> Shown {
    let roles = |name: &String| {
        let held = file.roles.iter().filter(|(_, members)| members.contains(name));
        held.map(|(role, _)| role.clone()).collect()
    };
    let principals = file.principals.iter().map(|(name, principal)| ShownPrincipal {
        name: name.clone(),
        kind: principal.kind.as_str(),
        keys: shown_keys(file, principal),
        roles: roles(name),
    });
    let authorities = file.authorities.iter().map(|(name, authority)| ShownAuthority {
        name: name.clone(),
        key: shown_key(file, KeyFingerprint::Ssh(authority.key.fingerprint()), None, None),
        principals: authority.principals.clone(),
        max_validity: format!(
            "{:#}",
            SignedDuration::from_secs(i64::try_from(authority.max_validity).unwrap_or(i64::MAX))
        ),
    });
    Shown {
        schema: SCHEMA,
        commit: commit.to_string(),
        authorities: authorities.collect(),
        repo_id: file.repo_id.clone(),
        git_ref: file.git_ref.clone(),
        version: file.version,
        expires: file.expires.to_string(),
        principals: principals.collect(),
        rules: file.rules.iter().map(|rule| shown_rule(file, rule)).collect(),
        history: shown_history(file.history),
        revoked: file.revoked.iter().map(|(what, why)| format!("{what} ({why})")).collect(),
    }
}

fn shown_history(rules: HistoryRules) -> ShownHistory {
    let HistoryRules { ancestry, ref_binding, merge_credit, partial_advance, dual_signed } = rules;
    ShownHistory {
        ancestry: match ancestry {
            Ancestry::FirstParent => "firstParent",
            Ancestry::AllSigned => "allSigned",
        },
        ref_binding: match ref_binding {
            RefBinding::None => "none",
            RefBinding::Trailer => "trailer",
            RefBinding::Attestation => "attestation",
        },
        merge_credit: match merge_credit {
            MergeCreditMode::MergerOnly => "mergerOnly",
            MergeCreditMode::Transitive => "transitive",
        },
        partial_advance,
        dual_signed,
    }
}

/// The keys of a principal in any format, and what certificates call it.
fn shown_keys(file: &TrustFile, principal: &Principal) -> Vec<String> {
    let ssh = principal.keys.iter().map(|key| {
        let fingerprint = KeyFingerprint::Ssh(key.key.fingerprint());
        shown_key(file, fingerprint, key.not_before, key.not_after)
    });
    let certified = principal.certificates.iter().map(|claim| {
        let until = claim.not_after.map_or_else(String::new, |at| format!(" until {at}"));
        format!("{} by certificates of {}{until}", claim.principal, claim.ca)
    });
    let pinned = principal.pinned.iter().map(|pin| {
        let fingerprint = KeyFingerprint::OpenPgp(pin.fingerprint);
        shown_key(file, fingerprint, pin.not_before, pin.not_after)
    });
    let accounts = principal.keyless.iter().map(|key| {
        let fingerprint = KeyFingerprint::Keyless(key.signer.fingerprint());
        format!("{}, {}", key.signer, shown_key(file, fingerprint, key.not_before, key.not_after))
    });
    ssh.chain(certified).chain(pinned).chain(accounts).collect()
}

fn shown_key(file: &TrustFile, key: KeyFingerprint, from: Option<Timestamp>, until: Option<Timestamp>) -> String {
    let mut text = key.to_string();
    for (word, at) in [("from", from), ("until", until)] {
        if let Some(at) = at {
            let _ok = write!(text, " {word} {at}");
        }
    }
    if file.revoked.contains_key(&Revoked::from(key)) {
        text.push_str(" revoked");
    }
    text
}

/// That an override drops what limits the rule that it replaces, if it does.
pub(crate) fn opened(file: &TrustFile, rule: &Rule) -> Option<String> {
    let (left_open, replaced) = (file.left_open(rule), rule.replaces.as_ref()?);
    let what = (!left_open.is_empty()).then(|| left_open.join(" and "))?;
    Some(format!("rule {} overrides {replaced} and has no {what}: those of {replaced} do not hold there", rule.name))
}

fn shown_rule(file: &TrustFile, rule: &Rule) -> ShownRule {
    let any_of = rule.any_of.iter().map(|item| {
        let members = file.roles.get(&item.role).into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
        let author = if item.distinct_from_author { ", besides the author" } else { "" };
        format!("{} of {} ({members}){author}", item.threshold, item.role)
    });
    ShownRule {
        name: rule.name.clone(),
        paths: rule.paths.iter().map(ToString::to_string).collect(),
        any_of: any_of.collect(),
        kinds: rule.kinds.to_string(),
        namespaces: rule.namespaces.to_string(),
        r#override: rule.replaces.clone(),
        left_open: file.left_open(rule),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.to_vec());
    table
}
