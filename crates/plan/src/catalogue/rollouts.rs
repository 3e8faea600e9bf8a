//! Who rolls workloads out.

use jiff::Timestamp;
use manifest::GroupKind;
use serde_json::Value;

use super::{
    Mutator, Site,
    shape::{at, is_name},
};

const HASH_LABEL: &str = "rollouts-pod-template-hash";
const ISTIO: &str = "networking.istio.io";
/// Where a strategy names the Services whose selector it narrows.
const SERVICES: &[[&str; 2]] = &[
    ["canary", "canaryService"],
    ["canary", "stableService"],
    ["blueGreen", "activeService"],
    ["blueGreen", "previewService"],
];

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "argo-rollouts",
        since: 1,
        reason: "a Rollout of the accepted commit moves traffic step by step from the old Pods to the new",
        explains: argo_rollouts,
    },
    Mutator {
        name: "deployment-revision",
        since: 1,
        reason: "the controllers of workloads count the revisions of a template",
        explains: revision,
    },
    Mutator {
        name: "rollout-restart",
        since: 1,
        reason: "kubectl rollout restart starts the same Pods anew; the time is all that it changes",
        explains: restart,
    },
];

fn argo_rollouts(site: &Site<'_>) -> bool {
    let istio = ["canary", "trafficRouting", "istio"];
    match (site.kind.group.as_str(), site.kind.kind.as_str(), site.names) {
        ("", "Service", ["spec", "selector", HASH_LABEL]) => {
            adds_hash(site)
                && named(site, |strategy, name| SERVICES.iter().any(|way| text(strategy, way) == Some(name)))
        }
        (ISTIO, "VirtualService", ["spec", "http" | "tls" | "tcp", "route", "weight"]) => {
            site.live.and_then(Value::as_u64).is_some_and(|weight| weight <= 100)
                && named(site, |strategy, name| at(strategy, &istio).is_some_and(|istio| routes(istio, name)))
        }
        (ISTIO, "DestinationRule", ["spec", "subsets", "labels", HASH_LABEL]) => {
            adds_hash(site)
                && named(site, |strategy, name| {
                    at(strategy, &istio).and_then(|istio| text(istio, &["destinationRule", "name"])) == Some(name)
                })
        }
        _ => false,
    }
}

/// A Rollout names one VirtualService, or several.
fn routes(istio: &Value, name: &str) -> bool {
    let several = at(istio, &["virtualServices"]).and_then(Value::as_array);
    text(istio, &["virtualService", "name"]) == Some(name)
        || several.is_some_and(|items| items.iter().any(|item| text(item, &["name"]) == Some(name)))
}

/// Whether the strategy of some Rollout of the set names the object.
fn named(site: &Site<'_>, names: impl Fn(&Value, &str) -> bool) -> bool {
    let Some(name) = site.name() else { return false };
    let rollouts = site.set.of_kind(&GroupKind::new("argoproj.io", "Rollout"), site.namespace());
    rollouts.into_iter().filter_map(|rollout| at(rollout, &["spec", "strategy"])).any(|strategy| names(strategy, name))
}

/// A hash of 32 bits in at most ten letters.
fn adds_hash(site: &Site<'_>) -> bool {
    site.added().and_then(Value::as_str).is_some_and(|hash| hash.len() <= 10 && is_name(hash) && !hash.contains('.'))
}

fn text<'a>(value: &'a Value, names: &[&str]) -> Option<&'a str> {
    at(value, names)?.as_str()
}

fn revision(site: &Site<'_>) -> bool {
    let Some((key, count)) = site.added_annotation() else { return false };
    let counts = match key {
        "deployment.kubernetes.io/revision" => site.is_of("apps", "Deployment") || site.is_of("apps", "ReplicaSet"),
        "deprecated.daemonset.template.generation" => site.is_of("apps", "DaemonSet"),
        _ => false,
    };
    counts && count.bytes().all(|byte| byte.is_ascii_digit()) && count.parse::<u64>().is_ok()
}

/// A restart is later than the one that is declared, if one is.
fn restart(site: &Site<'_>) -> bool {
    let time = |value: &Value| value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let restarts = ["Deployment", "DaemonSet", "StatefulSet"].iter().any(|kind| site.is_of("apps", kind));
    restarts
        && site.names == ["spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"]
        && site.live.and_then(time).is_some_and(|live| match site.desired {
            None | Some(Value::Null) => true,
            Some(declared) => time(declared).is_some_and(|declared| declared < live),
        })
}

#[cfg(test)]
#[path = "rollouts_tests.rs"]
pub(super) mod tests;
