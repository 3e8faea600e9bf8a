//! Who fills in webhooks and what they validate.

use serde_json::Value;

use super::{
    Mutator, Site,
    shape::{at, decoded, is_certificates},
};

const ADMISSION: &str = "admissionregistration.k8s.io";

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "cert-manager-cainjector",
        since: 1,
        reason: "cert-manager, and operators that make certificates of their own, fill in the CA of a webhook or an \
                 aggregated API where none is declared",
        explains: ca_bundle,
    },
    Mutator {
        name: "istio-webhook-failure-policy",
        since: 1,
        reason: "istiod makes its validation strict as soon as it answers",
        explains: istio_failure_policy,
    },
    Mutator {
        name: "prometheus-operator",
        since: 1,
        reason: "the admission webhook of the Prometheus operator notes what it has validated",
        explains: prometheus_validated,
    },
];

/// Only the bundle, and only beside a declared receiver: where requests go is never anybody else's to choose.
fn ca_bundle(site: &Site<'_>) -> bool {
    let is_filled = match (site.kind.group.as_str(), site.kind.kind.as_str(), site.names) {
        (
            ADMISSION,
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
            ["webhooks", "clientConfig", "caBundle"],
        ) => webhooks_are_filled(site.declared),
        (
            "apiextensions.k8s.io",
            "CustomResourceDefinition",
            ["spec", "conversion", "webhook", "clientConfig", "caBundle"],
        ) => is_service(at(site.declared, &["spec", "conversion", "webhook", "clientConfig"])),
        ("apiregistration.k8s.io", "APIService", ["spec", "caBundle"]) => is_service(at(site.declared, &["spec"])),
        _ => false,
    };
    is_filled && is_blank(site.desired) && site.live.and_then(decoded).is_some_and(|text| is_certificates(&text))
}

/// All receivers are Services, and the object says that somebody fills it in, or is strict: where failures are ignored, another
/// CA would switch a webhook off.
fn webhooks_are_filled(declared: &Value) -> bool {
    let hooks = at(declared, &["webhooks"]).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let annotations = at(declared, &["metadata", "annotations"]).and_then(Value::as_object);
    let is_announced =
        annotations.is_some_and(|all| all.keys().any(|name| name.starts_with("cert-manager.io/inject-")));
    let is_strict = |hook: &Value| hook.get("failurePolicy").and_then(Value::as_str) != Some("Ignore");
    !hooks.is_empty()
        && hooks.iter().all(|hook| is_service(hook.get("clientConfig")) && (is_announced || is_strict(hook)))
}

/// Whether requests go to a Service, and not to a URL.
fn is_service(receiver: Option<&Value>) -> bool {
    receiver
        .is_some_and(|receiver| receiver.get("service").is_some_and(Value::is_object) && receiver.get("url").is_none())
}

/// No bundle, an empty one, or the line feed (`Cg==`) that scaffolds put there so that it is not empty.
fn is_blank(bundle: Option<&Value>) -> bool {
    bundle.is_none_or(|value| value.is_null() || decoded(value).is_some_and(|text| text.trim().is_empty()))
}

fn istio_failure_policy(site: &Site<'_>) -> bool {
    let word = |value: Option<&Value>, word| value.and_then(Value::as_str) == Some(word);
    site.is_of(ADMISSION, "ValidatingWebhookConfiguration")
        && site.names == ["webhooks", "failurePolicy"]
        && site.name().is_some_and(|name| name.starts_with("istio-") || name.starts_with("istiod-"))
        && word(site.desired, "Ignore")
        && word(site.live, "Fail")
}

fn prometheus_validated(site: &Site<'_>) -> bool {
    let group = "monitoring.coreos.com";
    (site.is_of(group, "PrometheusRule") || site.is_of(group, "AlertmanagerConfig"))
        && site.added_annotation() == Some(("prometheus-operator-validated", "true"))
}

#[cfg(test)]
#[path = "certificates_tests.rs"]
pub(super) mod tests;
