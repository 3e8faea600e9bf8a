use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

fn service(line: &'static str, spec: &Value) -> Fixture {
    let metadata = json!({"name": "web", "namespace": "shop"});
    of(line, json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
}

const ADDRESS: &[&str] = &["spec", "clusterIP"];
const ADDRESSES: &[&str] = &["spec", "clusterIPs"];
const NODE_PORT: &[&str] = &["spec", "ports", "nodePort"];
const CHECK_PORT: &[&str] = &["spec", "healthCheckNodePort"];

fn addresses() -> Vec<Fixture> {
    let line = |spec| service("service-allocation", &spec);
    vec![
        line(json!({}))
            .explains(ADDRESS, "10.96.0.7")
            .explains_edit(ADDRESS, "", "fd00::7")
            .explains(ADDRESSES, json!(["10.96.0.7", "fd00::7"]))
            .explains(&["spec", "ipFamilies"], json!(["IPv4"]))
            .explains(&["spec", "ipFamilyPolicy"], "SingleStack")
            .explains(&["spec", "ipFamilyPolicy"], "PreferDualStack")
            .explains(&["spec", "ipFamilyPolicy"], "RequireDualStack")
            .misses(ADDRESS, 10)
            .misses(ADDRESS, "0.0.0.0")
            .misses(ADDRESS, "None")
            .misses(ADDRESS, "somewhere")
            .misses(ADDRESSES, json!(["None"]))
            .misses(ADDRESSES, json!([]))
            .misses_edit(ADDRESS, "10.96.0.7", "10.96.0.8")
            .misses(&["spec", "ipFamilies"], json!(["IPv5"]))
            .misses(&["spec", "ipFamilyPolicy"], "Any")
            .misses(&["spec", "externalIPs"], json!(["10.96.0.7"]))
            .misses(&["spec", "loadBalancerIP"], "10.96.0.7"),
        line(json!({"clusterIP": "None"}))
            .explains(ADDRESSES, json!(["None"]))
            .misses_edit(ADDRESS, "None", "10.96.0.7")
            .misses(ADDRESSES, json!(["10.96.0.7"])),
        line(json!({"clusterIP": "10.96.0.7"}))
            .explains(ADDRESSES, json!(["10.96.0.7", "fd00::7"]))
            .misses(ADDRESSES, json!(["10.96.0.8"])),
        line(json!({"clusterIPs": ["10.96.0.7"]})).explains(ADDRESS, "10.96.0.7").misses(ADDRESS, "10.96.0.8"),
        line(json!({"type": "ExternalName"})).misses(ADDRESS, "10.96.0.7"),
        of("service-allocation", json!({"apiVersion": "example.org/v1", "kind": "Service"}))
            .misses(ADDRESS, "10.96.0.7"),
    ]
}

fn ports() -> Vec<Fixture> {
    let line = |spec| service("service-allocation", &spec);
    vec![
        line(json!({"type": "NodePort"}))
            .explains(NODE_PORT, 30_080)
            .explains_edit(NODE_PORT, 0, 30_080)
            .misses_edit(NODE_PORT, 30_080, 30_081)
            .misses(NODE_PORT, 0)
            .explains(NODE_PORT, 65_535)
            .misses(NODE_PORT, 65_536)
            .misses(NODE_PORT, "30080")
            .misses(&["spec", "ports"], json!({"port": 22, "nodePort": 30_080}))
            .misses(CHECK_PORT, 30_080),
        line(json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"}))
            .explains(NODE_PORT, 30_080)
            .explains(CHECK_PORT, 30_081)
            .misses(CHECK_PORT, 0),
        line(json!({"type": "LoadBalancer"})).misses(CHECK_PORT, 30_081),
        line(json!({})).misses(NODE_PORT, 30_080),
    ]
}

fn balancers() -> Vec<Fixture> {
    let line = |spec| service("load-balancer", &spec);
    let finalizer = "service.kubernetes.io/load-balancer-cleanup";
    let finalizers = &["metadata", "finalizers"];
    let status = &["metadata", "annotations", "cloud.google.com/neg-status"];
    let groups = json!({"network_endpoint_groups": {"80": "k8s1-a"}, "zones": ["europe-west1-b"]}).to_string();
    vec![
        line(json!({"type": "LoadBalancer"}))
            .explains(finalizers, finalizer)
            .misses(finalizers, "example.org/hold")
            .misses(finalizers, json!([finalizer, "example.org/hold"]))
            .misses(&["spec", "finalizers"], finalizer)
            .misses(&["spec", "loadBalancerSourceRanges"], json!(["0.0.0.0/0"])),
        line(json!({})).misses(finalizers, finalizer),
        line(json!({}))
            .explains(status, groups.clone())
            .misses(status, "x")
            .misses_edit(status, "{}", groups.clone())
            .misses(&["metadata", "annotations", "cloud.google.com/load-balancer-type"], groups),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    [addresses(), ports(), balancers()].into_iter().flatten().collect()
}

#[test]
fn services_get_the_addresses_and_ports_that_they_leave_open() {
    check(&fixtures());
}
