//! `writ trust lint`: the trust file of the work tree, with the certificates that it pins, read by the parser that the cluster
//! judges with.

use std::collections::BTreeMap;

use anyhow::Context as _;
use jiff::Timestamp;
use manifest::{Finding, RepoPath};
use trust::{EXPIRY_GRACE, History as _, MAX_TRUST_FILE_BYTES, RefBinding, TRUST_FILE, TrustFile};

use crate::{
    cli::TrustLintArgs,
    exit::Outcome,
    input, output,
    trust_show::opened,
    trust_tree::certificates,
    verify::{open, read_trust_root, resolve},
};

/// Runs `writ trust lint`.
pub(crate) fn run(args: &TrustLintArgs) -> anyhow::Result<Outcome> {
    let path = args.repo.join(TRUST_FILE);
    let path = args.file.as_ref().unwrap_or(&path);
    // What is too large is a finding like any other.
    let bytes = input::beginning(path, MAX_TRUST_FILE_BYTES)?;
    let mut findings = Vec::new();
    match TrustFile::parse(&bytes) {
        Err(mistakes) => findings = mistakes,
        Ok(mut file) => {
            let now = Timestamp::now();
            findings.extend(file.load_from(&certificates(&args.repo, &file, &BTreeMap::new())?));
            // What is not loaded is a finding already, and says nothing about who can sign.
            if findings.is_empty() {
                findings.extend(file.out_of_reach(now));
            }
            if let Some(revision) = &args.against {
                findings.extend(against(args, revision, &file)?);
            }
            if let Some(root) = &args.trust_root {
                findings.extend(file.against_root(&read_trust_root(root)?));
            }
            for word in warnings(&file, now) {
                eprintln!("note: {word}");
            }
        }
    }
    for finding in &findings {
        output::text(&output::refusal(finding))?;
    }
    if findings.is_empty() {
        eprintln!("{} is a valid trust file", path.display());
        return Ok(Outcome::Fine);
    }
    Ok(Outcome::Finding)
}

/// How the file follows that of a revision.
fn against(args: &TrustLintArgs, revision: &str, file: &TrustFile) -> anyhow::Result<Vec<Finding>> {
    let repository = open(&args.repo)?;
    let commit = resolve(&repository, revision)?;
    let path: RepoPath = TRUST_FILE.parse()?;
    let before = repository.read(&commit, &path)?.with_context(|| format!("{commit} has no {TRUST_FILE}"))?;
    let Ok(before) = TrustFile::parse(&before) else {
        anyhow::bail!("the trust file of {commit} is not valid, so nothing can follow it");
    };
    // A file that is the same follows nothing.
    if file.digest() == before.digest() {
        return Ok(Vec::new());
    }
    let mut findings = file.against_predecessor(&before);
    findings.extend(file.for_another(&before));
    findings.extend(file.ends_in_history(&repository, &commit).err());
    Ok(findings)
}

/// What is allowed and may surprise.
fn warnings(file: &TrustFile, now: Timestamp) -> Vec<String> {
    let mut words = Vec::new();
    let soon = now.checked_add(EXPIRY_GRACE * 4).unwrap_or(Timestamp::MAX);
    if file.expires <= now {
        words.push(format!(
            "it expired {}; {} only .writ/ may change",
            file.expires,
            if file.expires.checked_add(EXPIRY_GRACE).is_ok_and(|end| end < now) { "by now" } else { "a week later" }
        ));
    } else if file.expires <= soon {
        words.push(format!("it expires {}; a week later only .writ/ may change", file.expires));
    }
    words.extend(file.rules.iter().filter_map(|rule| opened(file, rule)));
    words.extend(file.ailing_certificates(now, soon));
    if file.history.ref_binding == RefBinding::None {
        words.push(
            "history.refBinding is not set: a signed commit of another branch that descends from the mainline is accepted if the branch is moved to it"
                .to_owned(),
        );
    }
    if file.history.dual_signed {
        words.push(
            "history.dualSigned is set: whoever may push can give a signed commit another id, which is then no ancestor of what was made on the first; take it out when the repository has left the transition"
                .to_owned(),
        );
    }
    words
}
