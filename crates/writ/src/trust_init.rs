//! `writ trust init`: a first trust file from public keys, and the commands that sign it.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use jiff::Timestamp;
use serde::Serialize;
use trust::{MAX_KEY_TEXT_BYTES, PublicKey, TRUST_FILE, TRUST_SIGNATURES, TrustFile};

use crate::{
    cli::TrustInitArgs,
    exit::{Outcome, UsageError},
    input, output,
    trust_tree::repo_option,
};

/// How long the file is good unless said otherwise: a year, as people renew certificates.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// What may be declared below `policies/`.
const POLICY_KINDS: &str = "admissionregistration.k8s.io/ValidatingAdmissionPolicy*";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Draft {
    api_version: &'static str,
    kind: &'static str,
    repo_id: String,
    r#ref: String,
    version: u64,
    expires: String,
    principals: BTreeMap<String, Principal>,
    roles: BTreeMap<String, Vec<String>>,
    rules: Vec<Rule>,
    history: History,
}

#[derive(Serialize)]
struct Principal {
    kind: &'static str,
    keys: Vec<Key>,
}

#[derive(Serialize)]
struct Key {
    ssh: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    name: String,
    paths: Vec<String>,
    any_of: Vec<AnyOf>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    kinds: Vec<String>,
}

#[derive(Serialize)]
struct AnyOf {
    role: String,
    threshold: u32,
}

#[derive(Serialize)]
struct History {
    ancestry: &'static str,
}

/// A principal on the command line and the file of its public key.
struct Named {
    name: String,
    file: PathBuf,
}

/// Runs `writ trust init`.
pub(crate) fn run(args: &TrustInitArgs) -> anyhow::Result<Outcome> {
    if let Err(error) = args.r#ref.parse::<git::TrackedRef>() {
        return Err(UsageError(format!("--ref: {error}")).into());
    }
    let roots = named(&args.root)?;
    let text = manifest::to_yaml(&draft(args, &roots, Timestamp::now())?)?;
    // What is written must be what the controller reads: the same strict parser judges it first.
    if let Err(findings) = TrustFile::parse(text.as_bytes()) {
        let mistakes: Vec<&str> = findings.iter().map(|finding| finding.found.as_str()).collect();
        let message = format!("these arguments make no valid trust file: {}", mistakes.join("; "));
        return Err(UsageError(message).into());
    }
    let file = args.repo.join(TRUST_FILE);
    let signatures = args.repo.join(TRUST_SIGNATURES);
    fs::create_dir_all(&signatures).with_context(|| format!("cannot create {}", signatures.display()))?;
    // A file that is there is in force or under review: it is edited, its version raised, never replaced.
    let opened = OpenOptions::new().write(true).create_new(true).open(&file);
    let mut opened = opened.with_context(|| format!("cannot create {}", file.display()))?;
    opened.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", file.display()))?;
    eprintln!("wrote {}; each root principal signs it, then one of them commits:", file.display());
    let mut commands = String::new();
    for root in &roots {
        commands.push_str(&signing_command(&args.repo, root)?);
    }
    if let Some(first) = roots.first() {
        commands.push_str(&commit_command(&args.repo, first)?);
    }
    output::text(&commands)?;
    if trust::tag_name(&args.r#ref).is_some() && !args.rule.iter().any(|rule| rule.starts_with("git:")) {
        eprintln!("note: nobody may sign {} yet: a rule such as --rule 'git:refs/tags/**=root' says who", args.r#ref);
    }
    eprintln!("then: writ trust root --repo {} --url https://HOST/PATH.git", quote(&args.repo.display().to_string()));
    Ok(Outcome::Fine)
}

/// The command with which one root principal signs the trust file, and how that is done without writ. Reading standard input,
/// `ssh-keygen` writes the signature to standard output.
fn signing_command(repo: &Path, root: &Named) -> anyhow::Result<String> {
    let key = quote(&signing_key(&root.file)?);
    Ok(format!(
        "writ trust sign{} --key {key} # as {}; without writ: ssh-keygen -Y sign -n {} -f {key} < {} > {}\n",
        repo_option(repo),
        root.name,
        trust::NAMESPACE_TRUST,
        quote(&repo.join(TRUST_FILE).display().to_string()),
        quote(&repo.join(trust::signature_path(&root.name).as_str()).display().to_string()),
    ))
}

fn commit_command(repo: &Path, root: &Named) -> anyhow::Result<String> {
    let git = if repo == Path::new(".") {
        "git".to_owned()
    } else {
        format!("git -C {}", quote(&repo.display().to_string()))
    };
    let key = quote(&signing_key(&root.file)?);
    Ok(format!(
        "{git} add .writ && {git} -c gpg.format=ssh -c user.signingkey={key} commit -S -m 'Introduce the trust file'\n"
    ))
}

/// The file that signs: the private key beside the public one, or the public one if an agent holds the other half.
fn signing_key(public: &Path) -> anyhow::Result<String> {
    let private =
        public.to_str().and_then(|file| file.strip_suffix(".pub")).map(Path::new).filter(|file| file.exists());
    let file = private.unwrap_or(public);
    let absolute = std::path::absolute(file).with_context(|| format!("cannot use {}", file.display()))?;
    Ok(absolute.display().to_string())
}

/// Quotes a word for a POSIX shell.
pub(crate) fn quote(word: &str) -> String {
    let plain = word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-+@".contains(&byte));
    if plain && !word.is_empty() { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn draft(args: &TrustInitArgs, roots: &[Named], now: Timestamp) -> anyhow::Result<Draft> {
    let expires = match &args.expires {
        Some(text) => text.parse().map_err(|_| UsageError(format!("--expires {text:?} is no RFC 3339 time")))?,
        None => now.checked_add(LIFETIME).context("the clock is beyond all calendars")?.round(jiff::Unit::Second)?,
    };
    let mut principals = BTreeMap::new();
    for principal in roots.iter().chain(&named(&args.principal)?) {
        if principals.insert(principal.name.clone(), person(&principal.file)?).is_some() {
            return Err(UsageError(format!("the principal {} is named twice", principal.name)).into());
        }
    }
    let mut roles = BTreeMap::from([("root".to_owned(), roots.iter().map(|root| root.name.clone()).collect())]);
    for (role, names) in pairs(&args.role)? {
        let names = names.split(',').map(|name| name.trim().to_owned()).collect();
        if roles.insert(role.clone(), names).is_some() {
            return Err(UsageError(format!("the role {role} is given twice (root is given by --root)")).into());
        }
    }
    let mut rules = vec![rule("trust".to_owned(), ".writ/**".to_owned(), "root".to_owned(), args.root_threshold)];
    for (index, (glob, role)) in pairs(&args.rule)?.into_iter().enumerate() {
        rules.push(rule(format!("{role}-{}", index + 1), glob, role, 1));
    }
    Ok(Draft {
        api_version: "writ.dev/v1alpha1",
        kind: "TrustPolicy",
        repo_id: args.repo_id.clone(),
        r#ref: args.r#ref.clone(),
        version: 1,
        expires: expires.to_string(),
        principals,
        roles,
        rules,
        history: History { ancestry: "allSigned" },
    })
}

fn rule(name: String, glob: String, role: String, threshold: u32) -> Rule {
    let kinds = if glob.starts_with("policies/") { vec![POLICY_KINDS.to_owned()] } else { Vec::new() };
    Rule { name, paths: vec![glob], any_of: vec![AnyOf { role, threshold }], kinds }
}

fn person(file: &Path) -> anyhow::Result<Principal> {
    let text = input::text(file, MAX_KEY_TEXT_BYTES)?;
    // The comment of a key is nobody's name here.
    let words: Vec<&str> = text.split_whitespace().take(2).collect();
    let ssh = words.join(" ");
    PublicKey::parse(&ssh).with_context(|| format!("{} is no public key that can be used", file.display()))?;
    Ok(Principal { kind: "human", keys: vec![Key { ssh }] })
}

fn named(arguments: &[String]) -> Result<Vec<Named>, UsageError> {
    Ok(pairs(arguments)?.into_iter().map(|(name, file)| Named { name, file: file.into() }).collect())
}

/// Splits `name=value` arguments.
fn pairs(arguments: &[String]) -> Result<Vec<(String, String)>, UsageError> {
    arguments
        .iter()
        .map(|argument| match argument.split_once('=') {
            Some((name, value)) if !name.is_empty() && !value.is_empty() => Ok((name.to_owned(), value.to_owned())),
            _ => Err(UsageError(format!("{argument:?} is not of the form NAME=VALUE"))),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_for_a_shell() {
        assert_eq!(quote("/keys/alice.pub"), "/keys/alice.pub");
        assert_eq!(quote("/keys/it's here"), r"'/keys/it'\''s here'");
        assert_eq!(quote("$(true)"), "'$(true)'");
        assert_eq!(quote(""), "''");
    }

    #[test]
    fn pairs_need_both_sides() {
        for argument in ["alice", "=x", "x=", ""] {
            assert!(pairs(&[argument.to_owned()]).is_err(), "{argument}");
        }
        assert_eq!(pairs(&["a=b=c".to_owned()]).unwrap(), [("a".to_owned(), "b=c".to_owned())]);
    }
}
