use serde_json::{Value, json};

use super::super::fixture::{Fixture, check, of};

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"replicas": 2, "template": {"spec": {"containers": [{"name": "web"}]}}},
    })
}

fn scaler(namespace: &str, api_version: &str, name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {"scaleTargetRef": {"apiVersion": api_version, "kind": "Deployment", "name": name}, "maxReplicas": 9},
    })
}

fn keda(spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "web", "namespace": "shop"},
        "spec": spec,
    });
    object["spec"]["scaleTargetRef"] = json!({"name": "web"});
    object
}

fn vertical(policy: &Value, name: &str) -> Value {
    json!({
        "apiVersion": "autoscaling.k8s.io/v1", "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {"targetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name}, "updatePolicy": policy},
    })
}

const REPLICAS: &[&str] = &["spec", "replicas"];
const CPU: &[&str] = &["spec", "template", "spec", "containers", "resources", "requests", "cpu"];
const MEMORY: &[&str] = &["spec", "template", "spec", "containers", "resources", "limits", "memory"];

fn horizontal() -> Vec<Fixture> {
    let line = |declared| of("horizontal-pod-autoscaler", declared);
    let mut set = deployment();
    set["kind"] = json!("StatefulSet");
    let mut bounds = scaler("shop", "apps/v1", "web");
    bounds["spec"]["minReplicas"] = json!(3);
    let mut unbounded = scaler("shop", "apps/v1", "web");
    unbounded["spec"]["maxReplicas"] = Value::Null;
    vec![
        line(deployment())
            .beside(scaler("shop", "apps/v1beta1", "web"))
            .explains(REPLICAS, 9)
            .explains_edit(REPLICAS, 2, 1)
            .misses_edit(REPLICAS, 2, 10)
            .misses_edit(REPLICAS, 2, 0)
            .misses_edit(REPLICAS, 2, "5")
            .misses(&["spec", "paused"], true)
            .misses(&["spec", "minReadySeconds"], 5),
        line(deployment()).beside(bounds).explains_edit(REPLICAS, 2, 3).misses_edit(REPLICAS, 3, 2),
        line(deployment()).beside(unbounded).misses_edit(REPLICAS, 2, 3),
        line(deployment()).misses_edit(REPLICAS, 2, 5),
        line(deployment()).beside(scaler("bank", "apps/v1", "web")).misses_edit(REPLICAS, 2, 5),
        line(deployment()).beside(scaler("shop", "apps/v1", "api")).misses_edit(REPLICAS, 2, 5),
        line(deployment()).beside(scaler("shop", "example.org/v1", "web")).misses_edit(REPLICAS, 2, 5),
        line(set).beside(scaler("shop", "apps/v1", "web")).misses_edit(REPLICAS, 2, 5),
        line(deployment()).beside(keda(&json!({}))).explains(REPLICAS, 0).explains(REPLICAS, 100).misses(REPLICAS, 101),
        line(deployment())
            .beside(keda(&json!({"minReplicaCount": 3, "maxReplicaCount": 5, "idleReplicaCount": 0})))
            .explains(REPLICAS, 3)
            .explains(REPLICAS, 0)
            .misses(REPLICAS, 1)
            .misses(REPLICAS, 6),
    ]
}

fn resources() -> Vec<Fixture> {
    let line = |policy, name| of("vertical-pod-autoscaler", deployment()).beside(vertical(&policy, name));
    let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web", "namespace": "shop"}});
    let mut of_pod = vertical(&Value::Null, "web");
    of_pod["spec"]["targetRef"] = json!({"apiVersion": "v1", "kind": "Pod", "name": "web"});
    let mut nameless = vertical(&Value::Null, "web");
    nameless["spec"]["targetRef"]["name"] = Value::Null;
    let in_pod = &["spec", "containers", "resources", "requests", "cpu"];
    vec![
        line(json!({"updateMode": "Recreate"}), "web")
            .misses(CPU, "250m")
            .misses_edit(MEMORY, "1Gi", "512Mi")
            .misses(&["spec", "template", "spec", "containers", "resources", "limits", "nvidia.com/gpu"], "8")
            .misses(&["spec", "template", "spec", "containers", "resources", "claims"], json!([{"name": "gpu"}]))
            .misses(&["spec", "template", "spec", "initContainers", "resources", "limits", "cpu"], "1")
            .misses(&["spec", "resources", "limits", "cpu"], "1")
            .misses_edit(REPLICAS, 2, 3),
        line(Value::Null, "web").misses(CPU, 1),
        line(json!({"updateMode": "Off"}), "web").misses(CPU, "1"),
        line(json!({"updateMode": "Initial"}), "web").misses(CPU, "1"),
        line(Value::Null, "api").misses(CPU, "1"),
        of("vertical-pod-autoscaler", deployment()).beside(nameless).misses(CPU, "1"),
        of("vertical-pod-autoscaler", deployment()).misses(CPU, "1"),
        of("vertical-pod-autoscaler", pod.clone())
            .beside(of_pod)
            .explains(in_pod, "1")
            .misses(in_pod, "-5")
            .misses(in_pod, "much"),
        of("vertical-pod-autoscaler", pod).misses(in_pod, "1"),
    ]
}

pub(in super::super) fn fixtures() -> Vec<Fixture> {
    horizontal().into_iter().chain(resources()).collect()
}

#[test]
fn scalers_of_the_set_move_what_they_target_within_their_bounds() {
    check(&fixtures());
}
