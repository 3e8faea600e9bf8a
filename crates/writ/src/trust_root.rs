//! `writ trust root`: from a revision that carries a signed trust file to the manifests with which a
//! cluster starts to trust it.

use std::collections::{BTreeMap, BTreeSet};

use cluster::crd::{GROUP, GitSourceSpec, LocalName, VERSION};
use git::Objects;
use jiff::Timestamp;
use manifest::{Finding, RepoPath, Subject};
use plan::{Drift, INSTANCE_LABEL, InstanceId, SourceRef, SyncSpec};
use serde::Serialize;
use trust::{
    BootstrapKind, BootstrapOrder, CommitId, CommitObject, History as _, Introduction, PrincipalKind, Revoked,
    RootKeys, TRUST_FILE, TrustCode, TrustFile, TrustMode, TrustOrders, TrustRootSpec,
};

use crate::{
    cli::TrustRootArgs,
    exit::{Outcome, UsageError},
    output,
    verify::{open, resolve},
};

/// writ's own namespace, where a Sync may do without a ServiceAccount.
const OWN_NAMESPACE: &str = "writ-system";
/// The instance that also obeys custom resources without the label.
const DEFAULT_INSTANCE: &str = "writ";

/// What was found in the revision, as an error on the way to the manifests.
#[derive(Debug, thiserror::Error)]
#[error("the revision is refused")]
struct Refused(Vec<Finding>);

impl From<Finding> for Refused {
    fn from(finding: Finding) -> Self {
        Self(vec![finding])
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a, S> {
    api_version: String,
    kind: &'static str,
    metadata: Metadata<'a>,
    spec: &'a S,
}

#[derive(Serialize)]
struct Metadata<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<&'static str, &'a str>,
}

/// Runs `writ trust root`.
pub(crate) fn run(args: &TrustRootArgs) -> anyhow::Result<Outcome> {
    check(args)?;
    let repository = open(&args.repo)?;
    let commit = resolve(&repository, &args.revision)?;
    let text = match manifests(args, &repository, &commit) {
        Ok(text) => text,
        Err(error) => {
            for finding in &error.downcast::<Refused>()?.0 {
                eprint!("{}", output::refusal(finding));
            }
            return Ok(Outcome::Finding);
        }
    };
    output::text(&text)?;
    eprintln!(
        "the revision carries a valid trust file; a platform admin applies what is printed: kubectl apply -f FILE"
    );
    Ok(Outcome::Fine)
}

/// What can be said about the arguments alone.
fn check(args: &TrustRootArgs) -> anyhow::Result<()> {
    let usage = |message: String| Err(UsageError(message).into());
    if let Err(error) = git::check_url(&args.url) {
        return usage(format!(
            "--url needs https://HOST/PATH or ssh://USER@HOST/PATH ({error}); credentials go into --secret"
        ));
    }
    if args.service_account.is_none() && args.namespace != OWN_NAMESPACE {
        return usage(format!(
            "--service-account is needed: in namespace {} a Sync writes as a ServiceAccount of that namespace",
            args.namespace
        ));
    }
    if let Err(error) = InstanceId::new(&args.instance) {
        return usage(format!("--instance: {error}"));
    }
    Ok(())
}

fn manifests(args: &TrustRootArgs, repository: &Objects, commit: &CommitId) -> anyhow::Result<String> {
    let raw = repository.commit(commit)?.ok_or_else(|| anyhow::anyhow!("commit {commit} is not in the repository"))?;
    let object = CommitObject::parse(*commit, &raw).map_err(Refused::from)?;
    let file = trust_file(repository, commit)?;
    let signature = object.verify_ssh(&file.crypto).map_err(Refused::from)?;
    let source = GitSourceSpec {
        url: args.url.clone(),
        r#ref: file.git_ref.clone(),
        interval: args.interval.clone(),
        secret_ref: args.secret.clone().map(|name| LocalName { name }),
        trust_root_ref: LocalName { name: args.name.clone() },
        policy_from: None,
        allowed_namespaces: None,
        suspend: false,
    };
    let sync = first_sync(args)?;
    let order = |kind, name: &str, spec_sha256| BootstrapOrder {
        kind,
        namespace: args.namespace.clone(),
        name: name.to_owned(),
        spec_sha256,
    };
    let root = TrustRootSpec {
        repo_id: file.repo_id.clone(),
        r#ref: file.git_ref.clone(),
        introduction: Introduction {
            commit: *commit,
            payload_sha256: object.payload_sha256,
            signer: signature.key().fingerprint(),
        },
        root_keys: root_keys(args, &file),
        min_policy_version: file.version,
        mode: TrustMode::Enforce,
        limits: None,
        resume_from: None,
        freshness: None,
        orders: TrustOrders::Signed,
        keyless: None,
        bootstrap: vec![
            order(BootstrapKind::GitSource, &args.source, source.digest()?),
            order(BootstrapKind::Sync, &args.sync, sync.digest()?),
        ],
    };
    judge(repository, &root, commit)?;
    warn_of_an_empty_path(repository, commit, &sync.path)?;
    let mut text = document(args, "TrustRoot", &args.name, None, &root)?;
    text.push_str(&document(args, "GitSource", &args.source, Some(&args.namespace), &source)?);
    text.push_str(&document(args, "Sync", &args.sync, Some(&args.namespace), &sync)?);
    Ok(text)
}

/// The trust file of the revision.
fn trust_file(repository: &Objects, commit: &CommitId) -> anyhow::Result<TrustFile> {
    let path: RepoPath = TRUST_FILE.parse()?;
    let missing = || Finding {
        code: TrustCode::W501.entry(),
        subject: Subject::Commit(commit.to_string()),
        rule: None,
        found: format!("there is no {TRUST_FILE}").into(),
        needed: "a trust file, signed by root principals".into(),
        fix: "writ trust init --repo-id NAME --root PRINCIPAL=KEY.pub, then run the commands that it prints".into(),
    };
    let bytes = repository.read(commit, &path)?.ok_or_else(|| Refused::from(missing()))?;
    Ok(TrustFile::parse(&bytes).map_err(Refused)?)
}

/// The keys of the people who may sign the trust file, and how many of them its own rules demand.
fn root_keys(args: &TrustRootArgs, file: &TrustFile) -> RootKeys {
    let path: RepoPath = TRUST_FILE.parse().unwrap_or_default();
    let names: BTreeSet<&String> = file
        .rules_for(&path)
        .into_iter()
        .flat_map(|rule| &rule.any_of)
        .filter_map(|item| file.roles.get(&item.role))
        .flatten()
        .collect();
    let keys = names
        .into_iter()
        .filter_map(|name| file.principals.get(name))
        // Machines do not count for the trust file.
        .filter(|principal| principal.kind == PrincipalKind::Human)
        .flat_map(|principal| &principal.keys)
        .filter(|key| !file.revoked.contains_key(&Revoked::Key(key.key.fingerprint())))
        .map(|key| key.key.to_string())
        .collect();
    // All rules that cover the trust file must hold, each by the easiest of its alternatives.
    let demanded =
        file.rules_for(&path).into_iter().filter_map(|rule| rule.any_of.iter().map(|item| item.threshold).min()).max();
    RootKeys { threshold: args.threshold.or(demanded).unwrap_or(1), keys }
}

fn first_sync(args: &TrustRootArgs) -> anyhow::Result<SyncSpec> {
    let path = args.path.parse().map_err(|error| UsageError(format!("--path {:?}: {error}", args.path)))?;
    // Read as a manifest would be, so that whatever the schema defaults to is what is written.
    let mut spec: SyncSpec = serde_json::from_value(serde_json::json!({
        "sourceRef": SourceRef { name: args.source.clone(), namespace: None },
        "drift": Drift { mode: args.drift.into(), windows: None, rules: None, ignore: None },
    }))?;
    spec.path = path;
    spec.service_account_name.clone_from(&args.service_account);
    spec.target_namespace.clone_from(&args.target_namespace);
    Ok(spec)
}

/// The same judgement that the controller will make of these manifests.
fn judge(repository: &Objects, root: &TrustRootSpec, commit: &CommitId) -> anyhow::Result<()> {
    let errors: Vec<String> = root.check().iter().map(ToString::to_string).collect();
    if !errors.is_empty() {
        anyhow::bail!("no TrustRoot can be made of this trust file: {}", errors.join("; "));
    }
    let judgement = trust::judge_introduction(repository, root, Timestamp::now());
    if let Some(reason) = judgement.unreadable() {
        anyhow::bail!("no verdict on {commit}: {reason}; git fsck --full names what is broken");
    }
    match judgement.refusal() {
        Some(finding) => Err(Refused::from(finding.clone()).into()),
        None => Ok(()),
    }
}

fn warn_of_an_empty_path(repository: &Objects, commit: &CommitId, path: &RepoPath) -> anyhow::Result<()> {
    if repository.list(commit, path)?.is_empty() {
        eprintln!("note: {path} holds no files at {commit} yet");
    }
    Ok(())
}

fn document<S: Serialize>(
    args: &TrustRootArgs,
    kind: &'static str,
    name: &str,
    namespace: Option<&str>,
    spec: &S,
) -> anyhow::Result<String> {
    let labels = if args.instance == DEFAULT_INSTANCE {
        BTreeMap::new()
    } else {
        BTreeMap::from([(INSTANCE_LABEL, args.instance.as_str())])
    };
    let manifest = Manifest {
        api_version: format!("{GROUP}/{VERSION}"),
        kind,
        metadata: Metadata { name, namespace, labels },
        spec,
    };
    Ok(format!("---\n{}", manifest::to_yaml(&manifest)?))
}
