//! Who scales workloads.

use manifest::{GroupKind, Quantity};
use serde_json::Value;

use super::{
    Mutator, Site,
    shape::{at, group_of},
};

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "horizontal-pod-autoscaler",
        since: 1,
        reason: "an autoscaler that the accepted commit declares for this object chooses the number, within its bounds",
        explains: replicas,
    },
    Mutator {
        name: "vertical-pod-autoscaler",
        since: 1,
        reason: "an autoscaler that the accepted commit declares for this object chooses its requests and limits",
        explains: resources,
    },
];

/// An autoscaler is as signed as a number of replicas; where both are declared, it is the autoscaler that acts.
fn replicas(site: &Site<'_>) -> bool {
    // None at all is an order to stop, and an autoscaler leaves it alone.
    site.names == ["spec", "replicas"]
        && site.desired.and_then(Value::as_u64) != Some(0)
        && site.live.and_then(Value::as_u64).is_some_and(|live| by_pods(site, live) || by_events(site, live))
}

fn by_pods(site: &Site<'_>, live: u64) -> bool {
    let kind = GroupKind::new("autoscaling", "HorizontalPodAutoscaler");
    site.set.of_kind(&kind, site.namespace()).into_iter().any(|scaler| {
        let number = |name| at(scaler, &["spec", name]).and_then(Value::as_u64);
        targets(scaler, "scaleTargetRef", (None, None), site)
            && number("maxReplicas").is_some_and(|max| (number("minReplicas").unwrap_or(1)..=max).contains(&live))
    })
}

/// KEDA: its own bounds, and the number for when nothing happens, which is below them.
fn by_events(site: &Site<'_>, live: u64) -> bool {
    let kind = GroupKind::new("keda.sh", "ScaledObject");
    site.set.of_kind(&kind, site.namespace()).into_iter().any(|scaler| {
        let number = |name| at(scaler, &["spec", name]).and_then(Value::as_u64);
        let (min, max) = (number("minReplicaCount").unwrap_or(0), number("maxReplicaCount").unwrap_or(100));
        targets(scaler, "scaleTargetRef", (Some("apps/v1"), Some("Deployment")), site)
            && ((min..=max).contains(&live) || number("idleReplicaCount") == Some(live))
    })
}

/// It changes Pods, never the template they are made from. It recommends for two resources, and acts unless it only recommends (`Off`) or only sets what is new (`Initial`).
fn resources(site: &Site<'_>) -> bool {
    let ["spec", "containers", "resources", "requests" | "limits", "cpu" | "memory"] = site.names else {
        return false;
    };
    if !site.is_of("", "Pod") || site.live.and_then(Quantity::of).is_none_or(|amount| amount.nanos() <= 0) {
        return false;
    }
    let kind = GroupKind::new("autoscaling.k8s.io", "VerticalPodAutoscaler");
    site.set.of_kind(&kind, site.namespace()).into_iter().any(|scaler| {
        let mode = at(scaler, &["spec", "updatePolicy", "updateMode"]).and_then(Value::as_str);
        targets(scaler, "targetRef", (None, None), site) && !matches!(mode, Some("Off" | "Initial"))
    })
}

/// Whether a reference in the spec names the object; it may have defaults for `apiVersion` and `kind`.
fn targets(scaler: &Value, reference: &str, defaults: (Option<&str>, Option<&str>), site: &Site<'_>) -> bool {
    let text = |name| at(scaler, &["spec", reference, name]).and_then(Value::as_str);
    let group = group_of(text("apiVersion").or(defaults.0).unwrap_or_default());
    let kind = text("kind").or(defaults.1).unwrap_or_default();
    let named = text("name").is_some_and(|name| site.name() == Some(name));
    named && site.is_of(group, kind)
}

#[cfg(test)]
#[path = "autoscaling_tests.rs"]
pub(super) mod tests;
