//! Loading and judging.

use super::*;
use crate::MAX_VALIDATIONS;
use manifest::{BuiltinScopes, ClusterId, RenderOptions, render_plain};

struct Fresh;

impl Facts for Fresh {
    fn operation(&self, _reference: &ObjectRef) -> Operation {
        Operation::Create
    }
    fn resource(&self, _kind: &GroupKind) -> Option<String> {
        None
    }
}

fn policy(expression: &str, extra: &str) -> String {
    format!(
        "apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {{name: limit}}
spec:
  matchConstraints:
    resourceRules:
      - {{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}}
  validations:
    - expression: {expression:?}
      message: at most five replicas
{extra}---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {{name: limit}}
spec: {{policyName: limit, validationActions: [Deny]}}
"
    )
}

fn compile(text: &str) -> Result<PolicySet, Vec<String>> {
    let path = "policies/limit.yaml".parse::<RepoPath>().map_err(|error| vec![error.to_string()])?;
    let files = BTreeMap::from([(path, text.as_bytes().to_vec())]);
    PolicySet::compile(&files).map_err(|findings| findings.iter().map(ToString::to_string).collect())
}

fn judge(set: &PolicySet, manifest: &str) -> Vec<String> {
    let options = RenderOptions {
        cluster: ClusterId::new("c"),
        default_namespace: "shop",
        target_namespace: None,
        scopes: &BuiltinScopes,
        sensitive_kinds: &[],
    };
    let path: RepoPath = "apps/web.yaml".parse().unwrap();
    let rendered = render_plain([(&path, manifest.as_bytes())], &options).unwrap();
    set.judge(&rendered, &Fresh).iter().map(ToString::to_string).collect()
}

const DEPLOYMENT: &str = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: 9}\n";

#[test]
fn a_violation_names_object_policy_message_and_fix() {
    let set = compile(&policy("object.spec.replicas <= 5", "")).unwrap();
    assert_eq!(
        judge(&set, DEPLOYMENT),
        [
            "W801 PolicyViolation: Deployment.apps shop/web: at most five replicas; needed: object.spec.replicas <= 5 (rule \"limit\"). Fix: change the object in apps/web.yaml:1"
        ]
    );
    assert_eq!(judge(&set, &DEPLOYMENT.replace('9', "5")), [] as [&str; 0]);
    assert_eq!(judge(&set, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\n"), [] as [&str; 0]);
}

#[test]
fn a_judgement_that_ends_early_says_so() {
    let set = compile(&policy("false", "")).unwrap();
    let many = |count: usize| -> String {
        (0..count).map(|number| DEPLOYMENT.replace("web", &format!("web-{number:03}")) + "---\n").collect()
    };
    assert!(judge(&set, &many(MAX_FINDINGS)).iter().all(|finding| finding.contains("Deployment.apps shop/web-")));
    let found = judge(&set, &many(MAX_FINDINGS + 5));
    assert_eq!(found.len(), MAX_FINDINGS);
    let last = "W801 PolicyViolation: the rendered set: more is refused than the 199 findings that are listed, first Deployment.apps shop/web-199";
    assert!(found[MAX_FINDINGS - 1].starts_with(last), "{}", found[MAX_FINDINGS - 1]);
}

#[test]
fn an_error_is_a_denial() {
    let set = compile(&policy("object.spec.missing <= 5", "")).unwrap();
    assert!(judge(&set, DEPLOYMENT)[0].starts_with("W805 PolicyError: Deployment.apps shop/web: "));
}

#[test]
fn a_costly_judgement_is_a_denial_on_every_machine() {
    let nested = "object.spec.a.all(x, object.spec.a.all(y, object.spec.a.all(z, true)))";
    let set = compile(&policy(nested, "")).unwrap();
    let items = vec!["1"; 200].join(",");
    let found = judge(&set, &DEPLOYMENT.replace("replicas: 9", &format!("a: [{items}]")));
    assert!(
        found[0].starts_with("W804 PolicyTooCostly: Deployment.apps shop/web: evaluating costs up to "),
        "{found:?}"
    );
}

/// Each evaluation is within its own bound, and ends at once because the left side holds; together they are over the
/// bound of all.
#[test]
fn many_costly_evaluations_are_a_denial_together() {
    let list = format!("[{}]", vec!["1"; 38].join(","));
    let dear = format!("true || {list}.all(a, {list}.all(b, {list}.all(c, a == b && b == c)))");
    let more = format!("    - {{expression: {dear:?}}}\n").repeat(MAX_VALIDATIONS - 1);
    let set = compile(&policy(&dear, &more)).unwrap();
    let many = |count: usize| -> String {
        (0..count).map(|number| DEPLOYMENT.replace("web", &format!("web-{number:03}")) + "---\n").collect()
    };
    assert_eq!(judge(&set, &many(20)), [] as [&str; 0]);
    let found = judge(&set, &many(100));
    let start = "W804 PolicyTooCostly: the rendered set: judging all objects costs more than 2000000000 steps, ";
    assert!(
        found.len() == 1 && found[0].starts_with(start) && found[0].contains("for limit, and ends at"),
        "{found:?}"
    );
}

/// 10,000 objects × 20 policies stay within [`MAX_SET_STEPS`]: each of these takes less than a 200,000th of it.
#[test]
fn usual_policies_leave_room_for_many_objects() {
    let object = serde_json::json!({
        "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web", "team": "shop"}},
        "spec": {"replicas": 3, "template": {"spec": {"containers": [
            {"name": "a", "image": "shop.example/web:1.0", "env": [{"name": "A", "value": "b"}]},
            {"name": "b", "image": "shop.example/log:1.0", "ports": [{"containerPort": 80}]},
        ]}}},
    });
    for source in [
        "!has(object.spec.replicas) || object.spec.replicas <= 5",
        "object.spec.template.spec.containers.all(c, c.image.startsWith('shop.example/'))",
        "object.spec.template.spec.containers.all(c, c.image.contains(':') && !c.image.endsWith(':latest'))",
        "object.metadata.name.matches('^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$')",
        "'team' in object.metadata.labels && object.metadata.labels.team in ['shop', 'ops']",
    ] {
        let expression = crate::Expression::compile(&environment().unwrap(), source).unwrap();
        let mut left = MAX_SET_STEPS;
        assert_eq!(expression.evaluate_within(&object, &mut left), Ok(true), "{source}");
        assert!(MAX_SET_STEPS - left <= MAX_SET_STEPS / (10_000 * 20), "{source}: {}", MAX_SET_STEPS - left);
    }
}

#[test]
fn what_is_not_supported_yet_is_refused_by_name_and_place() {
    let later = "  paramKind: {apiVersion: v1, kind: ConfigMap}\n  failurePolicy: Ignore\n  variables: [{name: x, expression: '1'}]\n";
    let found = compile(&policy("true", later)).unwrap_err();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(
        found[0].starts_with("W803 PolicyUnsupported: policies/limit.yaml:11:3: spec.paramKind is not supported yet"),
        "{}",
        found[0]
    );
}

#[test]
fn a_misspelt_field_is_refused() {
    let found = compile(&policy("true", "  validatons: []\n  validaton: [1]\n")).unwrap_err();
    assert_eq!(found.len(), 2, "{found:#?}");
    assert!(found[1].contains("spec.validaton is not a field of this kind"));
}

#[test]
fn an_expression_that_does_not_compile_names_its_line() {
    let found = compile(&policy("object.spec.replicas <=", "")).unwrap_err();
    assert!(
        found[0].starts_with("W802 PolicyInvalid: policies/limit.yaml:9:19: the expression does not compile"),
        "{}",
        found[0]
    );
    let found = compile(&policy("quantity(object.x) > 1", "")).unwrap_err();
    assert!(found[0].contains("the function quantity is not supported yet"), "{}", found[0]);
}

#[test]
fn a_costly_pattern_names_its_line_and_what_to_write() {
    let found = compile(&policy("object.metadata.name.matches('^.{1,253}$')", "")).unwrap_err();
    assert_eq!(
        found,
        [
            r"W804 PolicyTooCostly: policies/limit.yaml:9:19: the pattern of matches is too costly: compiled it has more than 32768 bytes; needed: a string literal of at most 256 bytes; in it [0-9] for \d, [0-9A-Za-z_] for \w, and smaller repetitions. Fix: mend spec.validations[0].expression"
        ]
    );
}

#[test]
fn policies_and_bindings_belong_together() {
    let text = policy("true", "");
    let (policy, binding) = text.split_once("---\n").unwrap();
    assert!(compile(policy).unwrap_err()[0].contains("has no binding"));
    assert!(compile(binding).unwrap_err()[0].contains("names the policy limit, which is not there"));
    assert!(compile(&format!("{text}---\n{policy}")).unwrap_err()[0].contains("declared twice"));
    assert!(compile("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n").unwrap_err()[0].starts_with("W803"));
}

#[test]
fn a_kind_whose_plural_nobody_knows_is_judged_all_the_same() {
    let set =
        compile(&policy("false", "").replace("deployments", "gateways").replace("[apps]", "[gw.example]")).unwrap();
    let crd = "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\nmetadata: {name: PLURAL.gw.example}\nspec: {group: gw.example, scope: Namespaced, names: {kind: Gateway, plural: PLURAL}}\n---\n";
    let gateway = "apiVersion: gw.example/v1\nkind: Gateway\nmetadata: {name: a}\n";
    assert_eq!(judge(&set, &(crd.replace("PLURAL", "gateways") + gateway)).len(), 1);
    assert_eq!(judge(&set, &(crd.replace("PLURAL", "others") + gateway)).len(), 0);
    let all = compile(&policy("false", "")).unwrap();
    assert_eq!(judge(&all, DEPLOYMENT).len(), 1);
}

#[test]
fn a_file_that_would_not_be_in_force_is_refused() {
    let files = BTreeMap::from([
        ("policies/deny.rego".parse().unwrap(), b"package main".to_vec()),
        ("policies/README.md".parse().unwrap(), b"# notes".to_vec()),
        ("policies/limit.YAML".parse().unwrap(), b"{}".to_vec()),
        ("waivers/README.md".parse().unwrap(), b"# notes".to_vec()),
        ("waivers/it's.yaml".parse().unwrap(), b"{}".to_vec()),
    ]);
    let findings = PolicySet::compile(&files).unwrap_err();
    let found: Vec<String> = findings.iter().map(ToString::to_string).collect();
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("W803 PolicyUnsupported: policies/deny.rego: "), "{}", found[0]);
    assert!(found[1].starts_with("W803 PolicyUnsupported: policies/limit.YAML: "), "{}", found[1]);
    assert_eq!(
        found[2],
        format!(
            "W803 PolicyUnsupported: waivers/it's.yaml: waivers are not supported yet; needed: no file under waivers/ but notes that end in .md. Fix: git rm -- 'waivers/it'\\''s.yaml' && git commit --amend --no-edit --allow-empty --gpg-sign # in the commit that brings it; change the policy instead"
        )
    );
}

#[test]
fn the_digest_is_of_the_files() {
    let a = compile(&policy("true", "")).unwrap().digest();
    assert_eq!(a, compile(&policy("true", "")).unwrap().digest());
    assert_ne!(a, compile(&policy("!false", "")).unwrap().digest());
}
