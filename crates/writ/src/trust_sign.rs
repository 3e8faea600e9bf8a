//! `writ trust sign`: a root principal signs the trust file of the work tree.

use anyhow::Context as _;
use clap::Args;
use jiff::Timestamp;
use manifest::{Finding, Subject};
use trust::{
    NAMESPACE_TRUST, SigningFormats, TRUST_FILE, TrustCode, TrustEditError, TrustFile, openpgp_signature_path,
    signature_path,
};

use crate::{
    exit::{Outcome, UsageError},
    output::{self, Format},
    signing::SigningKey,
    trust_tree::{EditArgs, Told, WorkTree, concluded, repo_option},
};

/// Arguments of `writ trust sign`.
#[derive(Debug, Args)]
pub(crate) struct TrustSignArgs {
    #[command(flatten)]
    signing: SigningKey,
    /// Whose signature it is; default: whose key it is.
    #[arg(long = "as", value_name = "PRINCIPAL")]
    principal: Option<String>,
    #[command(flatten)]
    common: EditArgs,
}

/// Runs `writ trust sign`.
pub(crate) fn run(args: &TrustSignArgs) -> anyhow::Result<Outcome> {
    concluded(args.common.output, sign(args, args.common.output))
}

fn sign(args: &TrustSignArgs, format: Format) -> anyhow::Result<Outcome> {
    let tree = WorkTree::open(&args.common)?;
    let mut file = TrustFile::parse(tree.text.as_bytes()).map_err(TrustEditError::Refused)?;
    let now = Timestamp::now();
    let mut findings = file.load_from(&tree.certificates(&file, &std::collections::BTreeMap::new())?);
    findings.extend(file.out_of_reach(now));
    if let Some(before) = tree.before.as_ref().filter(|before| before.digest() != file.digest()) {
        findings.extend(file.against_predecessor(before));
    }
    if !findings.is_empty() {
        return Err(TrustEditError::Refused(findings).into());
    }
    if args.signing.prints_payload() {
        output::bytes(tree.text.as_bytes())?;
        return Ok(Outcome::Fine);
    }
    let signature = args.signing.sign(NAMESPACE_TRUST, tree.text.as_bytes())?;
    // In a rotation of root keys the people of both files sign.
    let judges: Vec<&TrustFile> = [Some(&file), tree.before.as_ref()].into_iter().flatten().collect();
    let found: Vec<anyhow::Result<String>> = judges.iter().map(|judge| signer(judge, &tree, &signature, now)).collect();
    let principal = found.into_iter().reduce(|one, other| one.or(other)).context("there is no trust file")??;
    if let Some(other) = args.principal.as_ref().filter(|wanted| **wanted != principal) {
        let message = format!("the key is one of {principal}, so its signature as {other} would count for nobody");
        return Err(UsageError(message).into());
    }
    // In a rotation of root keys that of either file.
    let counts = judges
        .iter()
        .map(|judge| judge.signs_for_trust(&principal, subject(), &again(args, judge, now)).map_err(Box::new));
    if let Some(Err(finding)) = counts.reduce(|one, other| one.or(other)) {
        return Err(TrustEditError::Refused(vec![*finding]).into());
    }
    if let Some(finding) = useless(&tree, &file, &principal, &again(args, &file, now), now)? {
        return Err(TrustEditError::Refused(vec![finding]).into());
    }
    let path = if args.signing.is_openpgp() { openpgp_signature_path(&principal) } else { signature_path(&principal) };
    tree.replace(&path, signature.as_bytes())?;
    eprintln!("signed version {} as {principal}: {path}", file.version);
    let dropped = drop_others(&tree, &judges, now)?;
    tree.report(
        &file,
        &tree.text,
        Told { done: &[format!("signed as {principal}")], notes: &dropped, left: &[] },
        format,
    )
}

/// How somebody who has a root key in this file signs.
fn again(args: &TrustSignArgs, judge: &TrustFile, now: Timestamp) -> String {
    judge.root_formats(now).writ(&format!("writ trust sign{}", repo_option(&args.common.repo)), "")
}

/// W504 about the signature of somebody who has no key any more by the new file, where others have to sign whose signatures are
/// enough by the file in force as well: with it the commit would still be refused.
fn useless(
    tree: &WorkTree,
    file: &TrustFile,
    principal: &str,
    again: &str,
    now: Timestamp,
) -> anyhow::Result<Option<Finding>> {
    let vouched = tree.vouched(file, &tree.text, now)?;
    let has_key = file.signing_formats(Some(now), |name| name == principal) != SigningFormats::default();
    if has_key || vouched.is_enough() || vouched.waits_for(principal) {
        return Ok(None);
    }
    Ok(Some(Finding {
        code: TrustCode::W504.entry(),
        subject: subject(),
        rule: None,
        found: format!("the signature of {principal} would not help: by this file {principal} has no key in force")
            .into(),
        needed: format!("those of {}, which are enough by the file in force too", vouched.missing()).into(),
        fix: format!("{again} # as {}", vouched.missing()).into(),
    }))
}

/// What a signature on the trust file is about.
fn subject() -> Subject {
    Subject::Path { path: TRUST_FILE.parse().unwrap_or_default(), line: None, column: None }
}

/// Whose key it was. A signature that counts for nobody is better refused here.
fn signer(judge: &TrustFile, tree: &WorkTree, signature: &str, now: Timestamp) -> anyhow::Result<String> {
    let (signature, message) = (signature.as_bytes(), tree.text.as_bytes());
    let signer = judge.signer_of_message(signature, message, NAMESPACE_TRUST, now, tree.verifiers());
    signer.map_err(|reason| anyhow::anyhow!("the signature would not count: {reason}"))
}

/// Drops the signatures that count for nobody: those over other bytes.
fn drop_others(tree: &WorkTree, judges: &[&TrustFile], now: Timestamp) -> anyhow::Result<Vec<String>> {
    let files = tree.signatures()?;
    let verdicts: Vec<Vec<Result<String, String>>> =
        judges.iter().map(|judge| judge.signatures(tree.text.as_bytes(), &files, now, tree.verifiers())).collect();
    let mut dropped = Vec::new();
    for (index, (name, _bytes)) in files.iter().enumerate() {
        let each: Vec<_> = verdicts.iter().filter_map(|all| all.get(index)).collect();
        if let Some(Err(reason)) = each.first().filter(|_first| each.iter().all(|one| one.is_err())) {
            tree.remove_signature(name)?;
            dropped.push(format!("dropped a signature that does not count: {reason}"));
        }
    }
    Ok(dropped)
}
