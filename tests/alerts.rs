//! From a hand edit to whoever is called, and back: a real Prometheus and a real Alertmanager.

use std::path::Path;

use anyhow::ensure;
use testkit::{AlertSink, Alerting, PrometheusRules};

use crate::stage::{SYNC, Setup, Stage, Test, WITHIN};

fn rules() -> anyhow::Result<PrometheusRules> {
    PrometheusRules::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/alerts/prometheus-rule.yaml"))
}

/// Sets what the declared ConfigMap has.
fn set(stage: &Stage<'_>, value: &str) -> Test {
    let patch = format!(r#"{{"data":{{"value":"{value}"}}}}"#);
    stage.tenant.kubectl(&["patch", "configmap", "settings", "--type=merge", "-p", &patch]).map(drop)
}

/// The rules are those that are shipped, without the half hour that drift may stay.
#[test]
fn drift_alert_and_resolved() -> Test {
    let stage = Setup::shared()?.drift("Flag").start()?;
    let sink = AlertSink::start()?;
    let alerting = Alerting::start(&stage.address()?, &rules()?.at_once(), &sink)?;
    set(&stage, "by hand")?;
    let alert = sink.wait("WritDriftOpen", "firing", WITHIN)?;
    ensure!(alert.labels["name"] == SYNC && alert.labels["severity"] == "warning", "{alert:?}");
    ensure!(alert.annotations["runbook"] == "docs/runbooks/WritDriftOpen.md", "{alert:?}");
    ensure!(alert.annotations["summary"].starts_with("1 objects of Sync "), "{alert:?}");
    // Nobody else is called: writ is there, and its watches are.
    let firing = alerting.alerts()?;
    ensure!(!firing.contains("WritControllerDown") && !firing.contains("WritWatch"), "{firing}");
    set(&stage, "good")?;
    let resolved = sink.wait("WritDriftOpen", "resolved", WITHIN)?;
    ensure!(resolved.labels == alert.labels, "{resolved:?}");
    Ok(())
}
