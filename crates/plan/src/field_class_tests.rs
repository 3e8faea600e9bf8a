use std::collections::BTreeSet;

use super::*;

#[track_caller]
fn check(kind: (&str, &str), path: &str, class: FieldClass) {
    let names: Vec<_> = path.split('.').filter(|name| !name.is_empty()).collect();
    assert_eq!(classify(&GroupKind::new(kind.0, kind.1), &names), class, "{} of {}", path, kind.1);
}

const DEPLOYMENT: (&str, &str) = ("apps", "Deployment");

#[test]
fn every_class_has_one_line_with_a_word_of_its_own_and_a_reason() {
    let words: BTreeSet<_> = FieldClass::ALL.iter().map(|class| class.name()).collect();
    assert_eq!(words.len(), FieldClass::ALL.len());
    assert_eq!(LINES.len(), FieldClass::ALL.len());
    for class in FieldClass::ALL {
        assert_eq!(LINES.iter().filter(|line| line.0 == class).count(), 1, "{class:?}");
        assert!(class.reason().len() > 20, "{class:?}");
        assert!(class.name().bytes().all(|byte| byte.is_ascii_alphabetic()), "{class:?}");
    }
}

#[test]
fn what_runs_and_who_may_do_what_is_critical() {
    use FieldClass::{Command, Container, Image, Rbac, SecurityContext, Webhook};
    check(DEPLOYMENT, "spec.template.spec.containers", Container);
    check(DEPLOYMENT, "spec.template.spec.containers.image", Image);
    check(DEPLOYMENT, "spec.template.spec.initContainers.args", Command);
    check(DEPLOYMENT, "spec.template.spec.containers.livenessProbe.exec.command", Command);
    check(DEPLOYMENT, "spec.template.spec.containers.securityContext.privileged", SecurityContext);
    check(("batch", "CronJob"), "spec.jobTemplate.spec.template.spec.hostPID", SecurityContext);
    check(DEPLOYMENT, "spec.template.spec.serviceAccountName", Rbac);
    check(("rbac.authorization.k8s.io", "ClusterRoleBinding"), "subjects", Rbac);
    check(("rbac.authorization.k8s.io", "Role"), "rules.verbs", Rbac);
    check(("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), "webhooks.failurePolicy", Webhook);
    check(("apiextensions.k8s.io", "CustomResourceDefinition"), "spec.conversion.webhook", Webhook);
    for class in [Command, Container, Image, Rbac, SecurityContext, Webhook] {
        assert_eq!(class.severity(), Severity::Critical, "{class:?}");
    }
}

#[test]
fn what_it_reaches_is_of_high_risk() {
    use FieldClass::{Env, NetworkPolicy, Ownership, SecretData, SecretReference, Volume};
    check(("networking.k8s.io", "NetworkPolicy"), "spec.egress", NetworkPolicy);
    check(DEPLOYMENT, "spec.template.spec.containers.env.value", Env);
    check(DEPLOYMENT, "spec.template.spec.containers.env.valueFrom.secretKeyRef.name", SecretReference);
    check(DEPLOYMENT, "spec.template.spec.containers.envFrom", Env);
    check(DEPLOYMENT, "spec.template.spec.imagePullSecrets", SecretReference);
    check(DEPLOYMENT, "spec.template.spec.volumes.hostPath.path", Volume);
    check(DEPLOYMENT, "spec.template.spec.volumes.secret.secretName", SecretReference);
    check(("", "Secret"), "data.password", SecretData);
    check(DEPLOYMENT, "metadata.labels.writ.dev/instance", FieldClass::Labels);
    let names = ["metadata", "labels", "writ.dev/instance"];
    assert_eq!(classify(&GroupKind::new("apps", "Deployment"), &names), Ownership);
    for class in [Env, NetworkPolicy, Ownership, SecretData, SecretReference, Volume] {
        assert_eq!(class.severity(), Severity::High, "{class:?}");
    }
}

#[test]
fn the_rest_by_what_it_is_for() {
    use FieldClass::{Annotations, Data, Labels, Other, Probe, Replicas, Resources, Scheduling, Traffic};
    check(DEPLOYMENT, "spec.replicas", Replicas);
    check(("argoproj.io", "Rollout"), "spec.replicas", Replicas);
    check(("argoproj.io", "Rollout"), "spec.template.spec.containers.image", FieldClass::Image);
    check(DEPLOYMENT, "spec.template.spec.containers.resources.limits.cpu", Resources);
    check(DEPLOYMENT, "spec.template.spec.containers.readinessProbe.httpGet.path", Probe);
    check(DEPLOYMENT, "spec.template.spec.containers.ports.containerPort", Traffic);
    check(DEPLOYMENT, "spec.template.spec.tolerations", Scheduling);
    check(DEPLOYMENT, "spec.template.metadata.labels.app", Labels);
    check(DEPLOYMENT, "spec.template.metadata.annotations.x", Annotations);
    check(DEPLOYMENT, "metadata.annotations.x", Annotations);
    check(("", "Service"), "spec.selector.app", Traffic);
    check(("", "ConfigMap"), "data.config", Data);
    check(("example.org", "Widget"), "spec.size", Other);
    check(DEPLOYMENT, "spec.paused", Other);
    let restarted = ["spec", "template", "metadata", "annotations", "kubectl.kubernetes.io/restartedAt"];
    assert_eq!(classify(&GroupKind::new("apps", "Deployment"), &restarted), FieldClass::Operational);
}

#[test]
fn metadata_that_gives_rights_is_as_grave_as_they_are() {
    let class = |group: &str, kind: &str, names: [&str; 3]| classify(&GroupKind::new(group, kind), &names);
    let role = ["metadata", "labels", "rbac.authorization.k8s.io/aggregate-to-view"];
    assert_eq!(class("rbac.authorization.k8s.io", "ClusterRole", role), FieldClass::Rbac);
    let account = ["metadata", "annotations", "eks.amazonaws.com/role-arn"];
    assert_eq!(class("", "ServiceAccount", account), FieldClass::Rbac);
    let namespace = ["metadata", "labels", "pod-security.kubernetes.io/enforce"];
    assert_eq!(class("", "Namespace", namespace), FieldClass::SecurityContext);
    check(("networking.k8s.io", "Ingress"), "metadata.annotations.x", FieldClass::Traffic);
    check(DEPLOYMENT, "spec.template.spec.containers.ports.hostPort", FieldClass::SecurityContext);
    check(("", "ConfigMap"), "data.containers", FieldClass::Data);
}

#[test]
fn a_whole_object_is_as_grave_as_what_it_declares() {
    check(DEPLOYMENT, "", FieldClass::Object);
    check(("", "ConfigMap"), "", FieldClass::Object);
    check(("rbac.authorization.k8s.io", "Role"), "", FieldClass::Rbac);
    check(("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"), "", FieldClass::Webhook);
}
