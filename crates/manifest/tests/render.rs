//! Files in, complete objects or findings out.

#![cfg(test)]

use manifest::{
    BuiltinScopes, ClusterId, GroupKind, MAX_FINDINGS, RenderOptions, RenderedSet, RepoPath, declared, render_plain,
};
use serde_json::{Value, json};

fn options(target: Option<&'static str>, sensitive_kinds: &'static [GroupKind]) -> RenderOptions<'static> {
    RenderOptions {
        cluster: ClusterId::new("test"),
        default_namespace: "shop",
        target_namespace: target,
        scopes: &BuiltinScopes,
        sensitive_kinds,
    }
}

fn render(files: &[(&str, &str)], options: &RenderOptions<'_>) -> Result<RenderedSet, Vec<String>> {
    let files: Vec<(RepoPath, &str)> = files.iter().map(|(file, text)| (file.parse().unwrap(), *text)).collect();
    render_plain(files.iter().map(|(file, text)| (file, text.as_bytes())), options).map_err(|findings| {
        findings.iter().map(|finding| format!("{} {}", finding.code.code, finding.message())).collect()
    })
}

/// One file, rendered into `shop`, gives exactly these objects.
#[track_caller]
fn gives(text: &str, objects: &[Value]) {
    let set = render(&[("a.yaml", text)], &options(None, &[])).unwrap();
    let found: Vec<_> = set.iter().map(|rendered| rendered.object.value.clone()).collect();
    assert_eq!(found, objects);
}

/// One file is refused with exactly these findings: the start of each message.
#[track_caller]
fn refused(text: &str, expected: &[&str]) {
    let found = render(&[("a.yaml", text)], &options(None, &[])).map(|set| format!("{set:?}")).unwrap_err();
    let matches =
        found.len() == expected.len() && found.iter().zip(expected).all(|(found, start)| found.starts_with(start));
    assert!(matches, "{found:#?}\n{expected:#?}");
}

const MAP: &str = "apiVersion: v1\nkind: ConfigMap\n";

#[test]
fn completes_objects() {
    gives(
        &format!("{MAP}metadata: {{name: a, creationTimestamp: null}}\ndata: {{x: \"1\"}}\nstatus: {{}}\n"),
        &[
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}, "data": {"x": "1"}}),
        ],
    );
    gives(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n",
        &[json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}})],
    );
    gives(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: b}\nspec: {template: {metadata: {creationTimestamp: null}}}\nstatus: {conditions: [], x: ''}",
        &[json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a", "namespace": "b"},
            "spec": {"template": {"metadata": {}}}})],
    );
}

#[test]
fn folds_secret_text_into_data() {
    let secret = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: \"eA==\\n\", b: eA==}\nstringData: {b: 'ü', c: ''}\n";
    gives(
        secret,
        &[json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "namespace": "shop"},
            "data": {"a": "eA==", "b": "w7w=", "c": ""}})],
    );
    let set = render(&[("a.yaml", secret)], &options(None, &[])).unwrap();
    assert!(set.iter().all(|rendered| rendered.sensitive));
    let bad = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: hunter2}\nstringData:\n  pin: 4711\n";
    let findings = render(&[("a.yaml", bad)], &options(None, &[])).unwrap_err();
    assert!(findings[0].starts_with("M121 a.yaml:4:8: data.a is not base64"), "{findings:?}");
    assert!(findings[1].starts_with("M121 a.yaml:6:3: stringData.pin is not text"), "{findings:?}");
    assert!(!findings.concat().contains("hunter2") && !findings.concat().contains("4711"));
}

#[test]
fn sensitive_kinds_are_marked() {
    let kinds: &'static [GroupKind] = Vec::leak(vec![GroupKind::new("", "ConfigMap")]);
    let set = render(&[("a.yaml", &format!("{MAP}metadata: {{name: a}}"))], &options(None, kinds)).unwrap();
    assert!(set.iter().all(|rendered| rendered.sensitive));
}

#[test]
fn refuses_what_is_no_object() {
    refused("- a\n", &["M113 a.yaml:1:1: a document that is a list"]);
    refused(
        "a: 1\n",
        &[
            "M113 a.yaml:1:1: a document without apiVersion",
            "M113 a.yaml:1:1: a document without kind",
            "M113 a.yaml:1:1: a document without metadata.name",
        ],
    );
    refused(
        "apiVersioone: 1\nkind: yes\nmetadata: {name: 2}\n",
        &["M113 a.yaml:1:1", "M113 a.yaml:2:1", "M113 a.yaml:3:12"],
    );
    refused(&format!("{MAP}metadata: {{generateName: a-}}"), &["M113 a.yaml:3:12: metadata.generateName"]);
    refused("apiVersion: a/b/c\nkind: config-map\nmetadata: {name: a}\n", &["M113 a.yaml:1:1", "M113 a.yaml:2:1"]);
    refused(&format!("{MAP}metadata: {{name: a}}\nitems: []\n"), &["M113 a.yaml:4:1: a top-level field items"]);
}

#[test]
fn refuses_wrong_names_and_namespaces() {
    for name in ["A", "a_b", "-a", "a-", "a..b", "'a/b'", "''", "ü"] {
        let found =
            render(&[("a.yaml", &format!("{MAP}metadata: {{name: {name}}}"))], &options(None, &[])).unwrap_err();
        assert!(found[0].starts_with("M114 a.yaml:3:12") || found[0].starts_with("M113"), "{found:?}");
    }
    let role = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:A_b'}\n";
    assert_eq!(render(&[("a.yaml", role)], &options(None, &[])).unwrap().len(), 1);
    refused(&format!("{MAP}metadata: {{name: a, namespace: a.b}}"), &["M114 a.yaml:3:21"]);
    refused(
        &role.replace("{name", "{namespace: x, name"),
        &["M116 a.yaml:3:23: namespace \"x\" on the cluster-scoped ClusterRole"],
    );
    let other = format!("{MAP}metadata: {{name: a, namespace: other}}");
    let found = render(&[("a.yaml", &other)], &options(Some("mine"), &[])).unwrap_err();
    assert!(
        found[0].starts_with("M116 a.yaml:3:32: namespace \"other\" on ConfigMap a; needed: \"mine\""),
        "{found:?}"
    );
    let set = render(&[("a.yaml", &format!("{MAP}metadata: {{name: a}}"))], &options(Some("mine"), &[])).unwrap();
    assert_eq!(set.iter().next().unwrap().object.reference.to_string(), "ConfigMap mine/a");
}

#[test]
fn refuses_what_others_write() {
    refused(
        &format!(
            "{MAP}metadata:\n  name: a\n  uid: x\n  resourceVersion: \"1\"\n  managedFields: [{{a: b}}]\n  generation: 0\n  creationTimestamp: 2020-01-01T00:00:00Z\nstatus: {{a: 1}}\n"
        ),
        &[
            "M118 a.yaml:5:3",
            "M118 a.yaml:6:3",
            "M118 a.yaml:7:3",
            "M118 a.yaml:8:3",
            "M118 a.yaml:9:3",
            "M118 a.yaml:10:1",
        ],
    );
    refused(
        &format!(
            "{MAP}metadata:\n  name: a\n  labels: {{applyset.kubernetes.io/part-of: x, writ.dev/instance: x, writ.dev/prune: never}}\n  annotations:\n    applyset.kubernetes.io/tooling: z\n    one: 1\n    b: yes\n    z:\n"
        ),
        &[
            "M119 a.yaml:5:12: metadata.labels[\"applyset.kubernetes.io/part-of\"] is set",
            "M119 a.yaml:5:47: metadata.labels[\"writ.dev/instance\"] is set",
            "M119 a.yaml:7:5",
            "M120 a.yaml:8:5: metadata.annotations.one is a number",
            "M120 a.yaml:9:5: metadata.annotations.b is a boolean",
            "M120 a.yaml:10:5: metadata.annotations.z is null",
        ],
    );
    refused(&format!("{MAP}metadata: {{name: a, labels: [x]}}"), &["M120 a.yaml:3:21"]);
}

#[test]
fn scopes_come_from_the_table_and_from_the_set() {
    let widget = "apiVersion: example.com/v1\nkind: Widget\nmetadata: {name: a}\n";
    refused(widget, &["M117 a.yaml:1:1: kind Widget.example.com is not known"]);
    let definition = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: widgets.example.com}\nspec: {group: example.com, names: {kind: Widget}, scope: Cluster}\n";
    let set = render(&[("a.yaml", widget), ("b.yaml", definition)], &options(None, &[])).unwrap();
    let references: Vec<_> = set.iter().map(|rendered| rendered.object.reference.to_string()).collect();
    assert_eq!(
        references,
        ["CustomResourceDefinition.apiextensions.k8s.io widgets.example.com", "Widget.example.com a"]
    );
}

#[test]
fn a_duplicate_names_both_places() {
    let one = format!("{MAP}metadata: {{name: a}}\n");
    let two = format!("# c\n{MAP}metadata: {{name: a, namespace: shop}}\n");
    let found = render(&[("b.yaml", &two), ("a.yaml", &one)], &options(None, &[])).unwrap_err();
    assert_eq!(found, ["M115 ConfigMap shop/a: declared at a.yaml:1 and b.yaml:2; needed: one declaration"]);
}

#[test]
fn lists_are_expanded_and_other_files_left_alone() {
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {{apiVersion: v1, kind: ConfigMap, metadata: {{name: a}}}}\n- apiVersion: v1\n  kind: ConfigMapList\n  items:\n  - {{apiVersion: v1, kind: ConfigMap, metadata: {{name: b}}}}\n---\n{MAP}metadata: {{name: c}}\n"
    );
    let set =
        render(&[("a.yml", &list), ("README.md", "# [no yaml"), (".writ/trust.yaml", "a: [")], &options(None, &[]))
            .unwrap();
    let origins: Vec<_> = set
        .iter()
        .map(|rendered| {
            (rendered.object.reference.name.as_str(), rendered.sources[0].document, rendered.sources[0].line)
        })
        .collect();
    assert_eq!(origins, [("a", 0, 4), ("b", 0, 8), ("c", 1, 10)]);
    let found = render(&[("kustomization.yaml", "x"), ("Chart.yaml", "y")], &options(None, &[])).unwrap_err();
    assert!(
        found[0].starts_with("M122 Chart.yaml: a Helm chart") && found[1].starts_with("M122 kustomization.yaml"),
        "{found:?}"
    );
}

#[test]
fn all_findings_at_once_but_not_without_end() {
    let found =
        render(&[("b.yaml", "a: ["), ("a.yaml", "a: 1_0"), ("c.yaml", "- 1")], &options(None, &[])).unwrap_err();
    let codes: Vec<_> = found.iter().map(|line| line.get(..11).unwrap_or_default()).collect();
    assert_eq!(codes, ["M103 a.yaml", "M101 b.yaml", "M113 c.yaml"]);
    let many = "- 1\n---\n".repeat(MAX_FINDINGS + 5);
    let found = render(&[("a.yaml", &many)], &options(None, &[])).unwrap_err();
    assert_eq!(found.len(), MAX_FINDINGS + 1);
    assert!(found.last().unwrap().starts_with("M102 the rendered set: 5 further findings"), "{found:?}");
}

#[test]
fn the_digest_is_that_of_the_content() {
    let digest = |files: &[(&str, &str)]| render(files, &options(None, &[])).unwrap().digest();
    let (a, b) = (format!("{MAP}metadata: {{name: a}}\n"), format!("{MAP}metadata: {{name: b}}\n"));
    let both = digest(&[("x.yaml", &a), ("y.yaml", &b)]);
    assert_eq!(both, digest(&[("z.yaml", &format!("{b}---\n{a}"))]));
    assert_eq!(
        both,
        digest(&[(
            "z.yaml",
            &format!("kind: ConfigMap\nmetadata: {{namespace: shop, name: \"b\"}}\napiVersion: v1\n---\n{a}")
        )])
    );
    assert_ne!(both, digest(&[("x.yaml", &a)]));
    assert_ne!(both, digest(&[("x.yaml", &format!("{a}data: {{}}\n")), ("y.yaml", &b)]));
}

#[test]
fn what_files_declare() {
    let declare = |file: &str, text: &str| {
        declared(&file.parse().unwrap(), text.as_bytes()).map_err(|finding| finding.code.code).map(|list| {
            list.iter()
                .map(|one| format!("{} {:?} {:?} {}", one.group_kind, one.namespace, one.name, one.origin.line))
                .collect::<Vec<_>>()
        })
    };
    let text = "a: 1\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a, namespace: b}\n---\nkind: List\napiVersion: v1\nitems:\n- {apiVersion: v1, kind: Secret, metadata: {generateName: a}}\n";
    assert_eq!(declare("a.yaml", text).unwrap(), ["Deployment.apps Some(\"b\") \"a\" 3", "Secret None \"\" 10"]);
    assert_eq!(declare(".writ/trust.yaml", text).unwrap(), [""; 0]);
    assert_eq!(declare("a.txt", "a: [").unwrap(), [""; 0]);
    assert_eq!(declare("a.json", "a: ["), Err("M101"));
}
