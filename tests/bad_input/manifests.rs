//! Every code about manifests: one bad file after the other becomes the head of main.

use anyhow::{Context, ensure};
use testkit::Push;

use super::{Lent, noticed, unharmed};
use crate::stage::{Owner, Setup, Stage, Story, Test, any_kind, config_map};

/// A ConfigMap up to its metadata.
const MAP: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: more\n";

/// What a file is called, what is wrong with it, its text, and the code.
type Bad = (&'static str, &'static str, String, &'static str);

/// Pushes each file beside a changed settings.yaml, and tells what a person sees of each refusal.
fn each(stage: &mut Stage<'_>, story: &mut Story, owner: Owner, bad: Vec<Bad>) -> Test {
    let good = stage.good().to_owned();
    for (file, what, text, code) in bad {
        if owner == Owner::Source {
            stage.repo.reset(&good)?;
        } else {
            // Verified already, so the next head comes after it.
            stage.repo.git(&["rm", "-rfq", "--cached", "apps"])?;
            stage.repo.git(&["checkout", "-q", &good, "--", "apps"])?;
            stage.repo.git(&["clean", "-fdxq"])?;
        }
        stage.repo.write("apps/settings.yaml", config_map("settings", "bad"))?;
        stage.repo.write(&format!("apps/{file}"), &text)?;
        let commit = stage.repo.commit_signed(&stage.people.sre, what)?;
        stage.names.call_commit(&commit, what);
        stage.push(Push::Force)?;
        let resource = stage.held(owner, &commit, code).with_context(|| what.to_owned())?;
        let held = |field: &str| resource["status"]["heldRevision"][field].as_str().unwrap_or_default().to_owned();
        ensure!(
            held("message").contains(&format!("apps/{file}")),
            "{what}: the file is not named: {}",
            held("message")
        );
        story.seen(
            &format!("kubectl get {}  # {what}", owner.resource()),
            &format!("{code} {}: {}\nfix: {}", held("reason"), held("message"), held("fix")),
        );
        noticed(stage, owner, &resource, &commit, code)?;
    }
    unharmed(stage, story)
}

#[test]
fn yaml_of_every_form_that_is_not_read() -> Test {
    let mut stage = Lent::stage()?;
    let mut story = Story::begin(&stage, "yaml-refused", "YAML and JSON that are not read, form by form")?;
    story.done(
        "signed commits bring one bad file each, and change apps/settings.yaml as well; each becomes the head of main",
    );
    let data = |line: &str| format!("{MAP}data:\n  {line}\n");
    let deep = format!("{MAP}data: {}{}\n", "[".repeat(200), "]".repeat(200));
    let json = "{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"more\"},\"data\":{\"a\":\"x\u{2028} y\"}}\n";
    let bad: Vec<Bad> = vec![
        ("more.yaml", "a value nested 200 deep", deep, "M102"),
        ("more.yaml", "an infinite number", data("a: .inf"), "M104"),
        ("more.yaml", "the key on, unquoted", data("on: x"), "M105"),
        ("more.yaml", "an anchor", data("a: &x y"), "M107"),
        ("more.yaml", "a merge key", data("<<: {a: b}"), "M108"),
        ("more.yaml", "a tag", data("a: !!str 1"), "M109"),
        ("more.yaml", "text on the line of three dashes", format!("{MAP}--- a: b\n"), "M110"),
        ("more.json", "JSON that YAML reads as another value", json.to_owned(), "M111"),
    ];
    each(&mut stage, &mut story, Owner::Source, bad)?;
    story.end(&stage)
}

#[test]
fn manifests_that_are_no_objects_of_the_sync() -> Test {
    let mut stage = Setup::shared()?.trust(any_kind).start()?;
    let mut story = Story::begin(&stage, "manifests-refused", "Manifests that are read and not taken, form by form")?;
    story.done("signed commits bring one bad file each, and change apps/settings.yaml as well; one comes after the other on main");
    let named = |name: &str| format!("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n");
    let secret = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: more\ndata:\n  token: \"not base64\"\n";
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: more\n  namespace: here\nrules: []\n";
    let bad: Vec<Bad> = vec![
        ("values.yaml", "a file without apiVersion and kind", "replicas: 3\n".to_owned(), "M113"),
        ("more.yaml", "a name with capitals", named("More"), "M114"),
        ("more.yaml", "a ClusterRole with a namespace", role.to_owned(), "M116"),
        ("more.yaml", "metadata.uid is set", format!("{MAP}  uid: 5a0b\n"), "M118"),
        ("more.yaml", "a label of writ is set", format!("{MAP}  labels:\n    writ.dev/instance: mine\n"), "M119"),
        ("more.yaml", "a label that is a boolean", format!("{MAP}  labels:\n    on-call: true\n"), "M120"),
        ("more.yaml", "a Secret whose data is not base64", secret.to_owned(), "M121"),
        ("kustomization.yaml", "a Kustomize file", "resources: [settings.yaml]\n".to_owned(), "M122"),
    ];
    each(&mut stage, &mut story, Owner::Sync, bad)?;
    story.end(&stage)
}
