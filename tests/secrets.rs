//! No secret value leaves the apply path: a known value is put wherever a Secret can be, and looked for in everything that leaves.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use testkit::Push;

use crate::stage::{Owner, SYNC, Setup, Stage, Test, View, writ};

/// Values that nothing but these Secrets holds, and what they are in base64 without the last, padded group.
const CANARIES: [(&str, &str); 7] = [
    ("canary-declared-7f3a9b", "Y2FuYXJ5LWRlY2xhcmVkLTdmM2E5"),
    ("canary-by-hand-7f3a9b", "Y2FuYXJ5LWJ5LWhhbmQtN2YzYTli"),
    ("canary-unsigned-7f3a9b", "Y2FuYXJ5LXVuc2lnbmVkLTdmM2E5"),
    ("canary-rejected-7f3a9b", "Y2FuYXJ5LXJlamVjdGVkLTdmM2E5"),
    ("canary-broken-7f3a9b", "Y2FuYXJ5LWJyb2tlbi03ZjNh"),
    ("canary-annotated-7f3a9b", "Y2FuYXJ5LWFubm90YXRlZC03ZjNh"),
    ("canary-reannotated-7f3a9b", "Y2FuYXJ5LXJlYW5ub3RhdGVkLTdmM2E5"),
];

fn secret(name: &str, value: &str, more: &str) -> String {
    format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}\n{more}stringData:\n  token: {value}\n")
}

/// What a client-side `kubectl apply` leaves on a Secret: the whole of it, in clear.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// A Secret whose value stands where its YAML goes wrong, in one way after the other.
fn broken(value: &str) -> [String; 6] {
    let with = |lines: &str| format!("apiVersion: v1\nkind: Secret\nmetadata:\n  name: api\nstringData:\n{lines}");
    [
        with(&format!("  token: {value}\n more: x\n")),
        with(&format!("  token: [{value}\n")),
        with(&format!("  token: \"{value}\n")),
        with(&format!("  token: {value}: {value}\n")),
        with(&format!("  token: &a {value}\n  other: *a\n")),
        with(&format!("  token: !{value} {value}\n")),
    ]
}

#[test]
fn canary_is_found_nowhere() -> Test {
    let [declared, by_hand, unsigned, rejected, misplaced, annotated, reannotated] = CANARIES.map(|(value, _)| value);
    let annotation = |value: &str| format!(r#"{{"stringData":{{"token":"{value}"}}}}"#);
    let annotations = format!("  annotations:\n    {LAST_APPLIED}: '{}'\n", annotation(annotated));
    let mut stage = Setup::shared()?.file("apps/secret.yaml", secret("api", declared, &annotations)).start()?;
    let resource = "api/v1/secrets";
    let before = stage.view.object(resource, "api")?["data"]["token"].clone();

    // Drift of a Secret, edited and then deleted.
    let patch = format!(r#"{{"stringData":{{"token":"{by_hand}"}}}}"#);
    stage.tenant.kubectl(&["patch", "secret", "api", "--type=merge", "-p", &patch])?;
    let restored = |view: &View<'_>| {
        ensure!(view.object(resource, "api")?["data"]["token"] == before, "it is not");
        Ok(())
    };
    stage.wait("the Secret is as declared", restored)?;
    stage.tenant.kubectl(&["delete", "secret", "api", "--wait=false"])?;
    stage.wait("the Secret is there again", restored)?;
    let edit = format!("{LAST_APPLIED}={}", annotation(reannotated));
    stage.tenant.kubectl(&["annotate", "--overwrite", "secret", "api", &edit])?;
    stage.wait("its annotation is as declared", |view| {
        let now = view.object(resource, "api")?["metadata"]["annotations"][LAST_APPLIED].clone();
        ensure!(now == annotation(annotated).as_str(), "it is not");
        Ok(())
    })?;

    // One that the API server rejects, naming what is missing: type and data are immutable or wrong.
    stage.repo.write("apps/tls.yaml", secret("tls", rejected, "type: kubernetes.io/tls\n"))?;
    let commit = stage.commit("a TLS Secret without a key")?;
    stage.wait("the rejection is told", |view| {
        let sync = view.sync(SYNC)?;
        let (ready, reason, message) = View::condition(&sync, "Ready");
        ensure!(ready == "False" && reason == "ApplyFailed", "Ready={ready} {reason}: {message}");
        ensure!(sync["status"]["acceptedRevision"] == commit.as_str());
        Ok(())
    })?;

    // One that is never accepted, with YAML that does not parse around it, and one that is not signed.
    let mut verified = String::new();
    for text in broken(misplaced) {
        stage.repo.reset(&commit)?;
        stage.repo.write("apps/secret.yaml", &text)?;
        let head = stage.repo.commit_signed(&stage.people.sre, "broken")?;
        stage.push(Push::Force)?;
        stage.wait("the broken file is refused", |view| {
            let source = view.source()?;
            let held = &source["status"]["heldRevision"];
            let refused =
                held["revision"] == head.as_str() && held["code"].as_str().is_some_and(|code| code.starts_with('M'));
            ensure!(refused, "{text}: {}", source["status"]);
            Ok(())
        })?;
        verified += &verify(&stage, &head)?;
    }
    stage.repo.reset(&commit)?;
    stage.repo.remove("apps/tls.yaml")?;
    stage.repo.write("apps/secret.yaml", secret("api", unsigned, ""))?;
    let head = stage.repo.commit_unsigned("another value")?;
    stage.push(Push::Force)?;
    stage.held(Owner::Source, &head, "W301")?;
    verified += &verify(&stage, &head)?;

    stage.stop()?;
    stage.start()?;
    let leaving = everything(&stage)?;
    for (place, text) in leaving.iter().chain([&("writ verify".to_owned(), verified)]) {
        for (value, base64) in CANARIES {
            ensure!(!text.contains(value) && !text.contains(base64), "{value} is in {place}");
        }
    }
    // The search itself must be able to find: names are there, values are not.
    ensure!(
        leaving.iter().any(|(place, text)| place == "log" && text.contains("Secret")),
        "the log does not speak of the Secret"
    );
    Ok(())
}

/// What `writ verify` prints about a commit, for people and for machines.
fn verify(stage: &Stage<'_>, commit: &str) -> Result<String> {
    let mut said = String::new();
    for form in [&[][..], &["-o", "json"]] {
        let finished = stage.verify(commit, form)?;
        ensure!(finished.code == Some(1), "writ verify {form:?}: {finished:?}");
        said += &(finished.stdout + &finished.stderr);
    }
    Ok(said)
}

/// Everything that leaves, by place.
fn everything(stage: &Stage<'_>) -> Result<Vec<(String, String)>> {
    let namespace = &stage.view.namespace;
    let get = |path: String| stage.view.plane.get(&path).map(|text| (path, text));
    let mut found = vec![("log".to_owned(), stage.log()?)];
    found.push(get(format!("/apis/writ.dev/v1alpha1/namespaces/{namespace}/syncs"))?);
    found.push(get(format!("/apis/writ.dev/v1alpha1/namespaces/{namespace}/gitsources"))?);
    found.push(get(format!("/apis/writ.dev/v1alpha1/trustroots/{namespace}"))?);
    found.push(get(format!("/apis/events.k8s.io/v1/namespaces/{namespace}/events?limit=5000"))?);
    found.push(get("/api/v1/namespaces/default/events?limit=5000".to_owned())?);
    found.push(("metrics".to_owned(), format!("{:?}", stage.metrics()?)));
    let (log, key) = (stage.state().join("log"), stage.log_key_file());
    let shown =
        writ(&["audit", "show", &log.to_string_lossy(), "--key", &key.to_string_lossy(), "--last", "1000", "--body"])?;
    ensure!(shown.code == Some(0), "writ audit show: {}", shown.stderr);
    found.push(("writ audit show --body".to_owned(), shown.stdout + &shown.stderr));
    let verified = writ(&["audit", "verify", &log.to_string_lossy(), "--key", &key.to_string_lossy()])?;
    ensure!(verified.code == Some(0), "writ audit verify: {}", verified.stderr);
    found.push(("writ audit verify".to_owned(), verified.stdout + &verified.stderr));
    for folder in ["log", "expected"] {
        files(&stage.state().join(folder), &mut found)?;
    }
    Ok(found)
}

fn files(folder: &Path, found: &mut Vec<(String, String)>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files(&path, found)?;
        } else {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            found.push((path.display().to_string(), String::from_utf8_lossy(&bytes).into_owned()));
        }
    }
    Ok(())
}
