use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

fn block(label: &str) -> String {
    format!("-----BEGIN {label}-----\nAAAA\n-----END {label}-----\n")
}

fn pem(label: &str) -> String {
    STANDARD.encode(block(label))
}

fn webhooks(kind: &str, name: &str) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name},
        "webhooks": [{"name": "a.example.org", "clientConfig": {"service": {"name": "a", "namespace": "a"}}}],
    })
}

fn crd(conversion: &Value) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.org"}, "spec": {"names": {"kind": "Widget"}, "conversion": conversion},
    })
}

fn bundles() -> Vec<Fixture> {
    let line = |declared| of("cert-manager-cainjector", declared);
    let names = &["webhooks", "clientConfig", "caBundle"];
    let converts = &["spec", "conversion", "webhook", "clientConfig", "caBundle"];
    let service = json!({"strategy": "Webhook", "webhook": {"clientConfig": {"service": {"name": "a"}}}});
    let api = |spec| json!({"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "spec": spec});
    let good = pem("CERTIFICATE");
    let mut lenient = webhooks("ValidatingWebhookConfiguration", "a");
    lenient["webhooks"][0]["failurePolicy"] = json!("Ignore");
    let mut announced = lenient.clone();
    announced["metadata"]["annotations"] = json!({"cert-manager.io/inject-ca-from": "a/a"});
    let mut by_url = announced.clone();
    by_url["webhooks"][0]["clientConfig"] = json!({"url": "https://a.example.org"});
    let chain = STANDARD.encode(block("CERTIFICATE").repeat(2));
    let mixed = STANDARD.encode(block("CERTIFICATE") + &block("PRIVATE KEY"));
    vec![
        line(webhooks("ValidatingWebhookConfiguration", "a"))
            .explains(names, good.clone())
            .explains_edit(names, "", good.clone())
            .explains_edit(names, "Cg==", good.clone())
            .misses_edit(names, good.clone(), STANDARD.encode("-----BEGIN CERTIFICATE-----\nBBBB\n"))
            .misses(names, pem("PRIVATE KEY"))
            .misses(names, mixed)
            .explains(names, chain)
            .misses_edit(names, "(not base64)", good.clone())
            .misses(names, "-----BEGIN CERTIFICATE-----")
            .misses(names, "")
            .misses(&["webhooks", "clientConfig", "url"], "https://intruder.example.org")
            .misses_edit(&["webhooks", "clientConfig", "service", "name"], "a", "b")
            .misses(&["webhooks"], json!({"name": "b", "clientConfig": {"caBundle": good}})),
        line(webhooks("MutatingWebhookConfiguration", "a")).explains(names, good.clone()),
        line(lenient.clone()).misses(names, good.clone()),
        line(announced).explains(names, good.clone()),
        line(by_url).misses(names, good.clone()),
        line(crd(&service))
            .explains(converts, good.clone())
            .misses(&["spec", "conversion", "webhook", "clientConfig", "url"], good.clone())
            .misses(names, good.clone()),
        line(crd(&json!({"strategy": "None"}))).misses(converts, good.clone()),
        line(api(json!({"service": {"name": "a"}})))
            .explains(&["spec", "caBundle"], good.clone())
            .misses(&["spec", "insecureSkipTLSVerify"], true),
        line(api(json!({}))).misses(&["spec", "caBundle"], good.clone()),
        line(json!({"apiVersion": "example.org/v1", "kind": "APIService", "spec": {"service": {}}}))
            .misses(&["spec", "caBundle"], good),
    ]
}

fn policies() -> Vec<Fixture> {
    let line = |kind, name| of("istio-webhook-failure-policy", webhooks(kind, name));
    let names = &["webhooks", "failurePolicy"];
    let validating = "ValidatingWebhookConfiguration";
    vec![
        line(validating, "istio-validator-istio-system")
            .explains_edit(names, "Ignore", "Fail")
            .misses_edit(names, "Fail", "Ignore")
            .misses(names, "Fail")
            .misses_edit(&["webhooks", "matchPolicy"], "Ignore", "Fail"),
        line(validating, "istiod-default-validator").explains_edit(names, "Ignore", "Fail"),
        line(validating, "istiocrat").misses_edit(names, "Ignore", "Fail"),
        line("MutatingWebhookConfiguration", "istio-sidecar-injector").misses_edit(names, "Ignore", "Fail"),
    ]
}

fn prometheus() -> Vec<Fixture> {
    let line = |api_version: &str, kind: &str| {
        of("prometheus-operator", json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "a"}}))
    };
    let names = &["metadata", "annotations", "prometheus-operator-validated"];
    vec![
        line("monitoring.coreos.com/v1", "PrometheusRule")
            .explains(names, "true")
            .misses(names, "false")
            .misses_edit(names, "false", "true")
            .misses(&["metadata", "labels", "prometheus-operator-validated"], "true"),
        line("monitoring.coreos.com/v1alpha1", "AlertmanagerConfig").explains(names, "true"),
        line("monitoring.coreos.com/v1", "ServiceMonitor").misses(names, "true"),
        line("example.org/v1", "PrometheusRule").misses(names, "true"),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    [bundles(), policies(), prometheus()].into_iter().flatten().collect()
}

#[test]
fn webhooks_get_their_certificates_and_never_another_receiver() {
    check(&fixtures());
}
