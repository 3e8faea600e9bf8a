//! What Services are given: addresses, ports, load balancers.

use std::net::IpAddr;

use serde_json::Value;

use super::{
    Mutator, Site,
    shape::{every, is_port},
};

pub(super) const LINES: &[Mutator] = &[
    Mutator {
        name: "service-allocation",
        since: 1,
        reason: "the API server gives a Service the addresses and ports that it does not ask for by number",
        explains: allocation,
    },
    Mutator {
        name: "load-balancer",
        since: 1,
        reason: "the controller of the cloud holds a Service that has a load balancer, and notes what it made",
        explains: load_balancer,
    },
];

fn allocation(site: &Site<'_>) -> bool {
    let kind = service_type(site);
    site.is_of("", "Service")
        && match site.names {
            _ if kind == "ExternalName" => false,
            ["spec", "clusterIP"] => site.filled().is_some_and(|live| match first_of(site, "clusterIPs") {
                Some(declared) => live == declared,
                None => is_address(live),
            }),
            ["spec", "clusterIPs"] => site.filled().is_some_and(|live| are_addresses(site, live)),
            ["spec", "ipFamilies"] => every(site.filled(), |item| *item == "IPv4" || *item == "IPv6"),
            ["spec", "ipFamilyPolicy"] => site
                .filled()
                .and_then(Value::as_str)
                .is_some_and(|policy| matches!(policy, "SingleStack" | "PreferDualStack" | "RequireDualStack")),
            ["spec", "ports", "nodePort"] => {
                matches!(kind, "NodePort" | "LoadBalancer") && site.filled().is_some_and(is_port)
            }
            ["spec", "healthCheckNodePort"] => {
                let local = site.declares(&["spec", "externalTrafficPolicy"]).is_some_and(|policy| *policy == "Local");
                kind == "LoadBalancer" && local && site.filled().is_some_and(is_port)
            }
            _ => false,
        }
}

/// An address; `None` is none.
fn is_address(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified()))
}

/// The declared address, or that there is none, stands first once more; the others are allocated.
fn are_addresses(site: &Site<'_>, live: &Value) -> bool {
    let declared = site.declares(&["spec", "clusterIP"]).filter(|address| *address != "");
    match (live.as_array().map(Vec::as_slice), declared) {
        (Some([first, others @ ..]), Some(declared)) => first == declared && others.iter().all(is_address),
        (Some(_), None) => every(Some(live), is_address),
        _ => false,
    }
}

fn service_type<'a>(site: &Site<'a>) -> &'a str {
    site.declares(&["spec", "type"]).and_then(Value::as_str).filter(|kind| !kind.is_empty()).unwrap_or("ClusterIP")
}

fn first_of<'a>(site: &Site<'a>, list: &str) -> Option<&'a Value> {
    site.declares(&["spec", list])?.as_array()?.first()
}

fn load_balancer(site: &Site<'_>) -> bool {
    let is_status = |text: &str| {
        serde_json::from_str::<Value>(text).is_ok_and(|status| status.get("network_endpoint_groups").is_some())
    };
    site.is_of("", "Service")
        && match site.added_annotation() {
            // Which groups of endpoints GKE made for it.
            Some((key, text)) => key == "cloud.google.com/neg-status" && is_status(text),
            None => {
                service_type(site) == "LoadBalancer"
                    && site.adds_finalizer("service.kubernetes.io/load-balancer-cleanup")
            }
        }
}

#[cfg(test)]
#[path = "services_tests.rs"]
pub(super) mod tests;
