//! What the control plane and kubectl write on objects of every sort.

use jiff::civil::Date;
use serde_json::Value;

use super::{
    Mutator, Site,
    shape::{at, decoded, every, is_certificates, is_generated, is_uid},
};

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "aggregated-cluster-role",
        since: 1,
        reason: "the rules of a ClusterRole with an aggregationRule are put together from the roles that it selects",
        explains: aggregated_rules,
    },
    Mutator {
        name: "namespace-lifecycle",
        since: 1,
        reason: "the API server labels each Namespace with its name, and holds it until it is empty",
        explains: namespace_lifecycle,
    },
    Mutator {
        name: "service-account-tokens",
        since: 1,
        reason: "the token controllers fill the Secrets made for tokens, and list them in the ServiceAccount",
        explains: service_account_tokens,
    },
    Mutator {
        name: "kubectl-last-applied",
        since: 1,
        reason: "kubectl apply notes what it was given; it is read by kubectl alone",
        explains: last_applied,
    },
    Mutator {
        name: "api-server-crd",
        since: 1,
        reason: "the API server completes the names of a CustomResourceDefinition, and that it converts nothing",
        explains: crd_completed,
    },
];

fn aggregated_rules(site: &Site<'_>) -> bool {
    let no_rules = |rules: &Value| rules.as_array().is_some_and(Vec::is_empty);
    site.is_of("rbac.authorization.k8s.io", "ClusterRole")
        && site.names.first() == Some(&"rules")
        && site.live.is_some()
        && site.declares(&["aggregationRule"]).is_some()
        && site.declares(&["rules"]).is_none_or(no_rules)
}

fn namespace_lifecycle(site: &Site<'_>) -> bool {
    site.is_of("", "Namespace")
        && match site.names {
            ["metadata", "labels", "kubernetes.io/metadata.name"] => {
                site.added().and_then(Value::as_str).is_some_and(|label| site.name() == Some(label))
            }
            ["spec", "finalizers"] => every(site.filled(), |item| item.as_str() == Some("kubernetes")),
            _ => false,
        }
}

fn service_account_tokens(site: &Site<'_>) -> bool {
    if site.is_of("", "ServiceAccount") {
        return account_lists(site);
    }
    let kind = site.declares(&["type"]).and_then(Value::as_str);
    site.is_of("", "Secret") && kind == Some("kubernetes.io/service-account-token") && token_secret(site)
}

/// References by name alone, to names that are made of the account's.
fn account_lists(site: &Site<'_>) -> bool {
    let ends: &[&str] = match site.names {
        ["secrets"] => &["token-", "dockercfg-"],
        ["imagePullSecrets"] => &["dockercfg-"],
        _ => return false,
    };
    let Some(account) = site.name() else { return false };
    every(site.added(), |item| {
        let alone = item.as_object().is_some_and(|item| item.len() == 1);
        let name = item.get("name").and_then(Value::as_str).unwrap_or_default();
        alone && ends.iter().any(|end| is_generated(name, &format!("{account}-{end}")))
    })
}

fn token_secret(site: &Site<'_>) -> bool {
    match site.names {
        ["data", key] if site.declares(&["stringData", key]).is_none() => {
            let Some(text) = site.filled().and_then(decoded) else { return false };
            match *key {
                "token" => is_web_token(&text),
                "ca.crt" => is_certificates(&text),
                "namespace" => site.namespace() == Some(&text),
                _ => false,
            }
        }
        ["metadata", "annotations", "kubernetes.io/service-account.uid"] => {
            site.added_annotation().is_some_and(|(_, uid)| is_uid(uid))
        }
        // The day when somebody last showed the token to the API server.
        ["metadata", "labels", "kubernetes.io/legacy-token-last-used"] => {
            site.added().and_then(Value::as_str).is_some_and(|day| day.len() == 10 && day.parse::<Date>().is_ok())
        }
        _ => false,
    }
}

/// Three parts in base64url.
fn is_web_token(text: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    text.split('.').count() == 3 && text.split('.').all(is_part)
}

/// Never that of a Secret: there the annotation is the content once more.
fn last_applied(site: &Site<'_>) -> bool {
    let Some(("kubectl.kubernetes.io/last-applied-configuration", text)) = site.added_annotation() else {
        return false;
    };
    let Ok(applied) = serde_json::from_str::<Value>(text) else { return false };
    let same = |names| at(&applied, names).is_some_and(|value| site.declares(names) == Some(value));
    !site.is_of("", "Secret")
        && at(&applied, &["kind"]).and_then(Value::as_str) == Some(&site.kind.kind)
        && same(&["metadata", "name"])
}

fn crd_completed(site: &Site<'_>) -> bool {
    let kind = site.declares(&["spec", "names", "kind"]).and_then(Value::as_str);
    let Some((kind, live)) = kind.zip(site.filled().and_then(Value::as_str)) else { return false };
    site.is_of("apiextensions.k8s.io", "CustomResourceDefinition")
        && match site.names {
            ["spec", "names", "listKind"] => live.strip_suffix("List") == Some(kind),
            ["spec", "names", "singular"] => live == kind.to_lowercase(),
            ["spec", "conversion", "strategy"] => live == "None" && site.declares(&["spec", "conversion"]).is_none(),
            _ => false,
        }
}

#[cfg(test)]
#[path = "cluster_tests.rs"]
pub(super) mod tests;
