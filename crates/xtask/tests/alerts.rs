//! The alerts that are shipped, judged by Prometheus itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use testkit::{PrometheusRules, Scratch, run};

fn deployed(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/alerts").join(file)
}

#[test]
fn alerts_fire_when_they_should_and_end() {
    let folder = Scratch::new("alerts").unwrap();
    let rules = PrometheusRules::read(&deployed("prometheus-rule.yaml")).unwrap();
    std::fs::write(folder.path().join("rules.yaml"), rules.text()).unwrap();
    std::fs::copy(deployed("tests.yaml"), folder.path().join("tests.yaml")).unwrap();
    let promtool = |arguments: &[&str]| {
        let mut command = Command::new("promtool");
        run(command.args(arguments).current_dir(folder.path())).unwrap()
    };
    promtool(&["check", "rules", "rules.yaml"]);
    promtool(&["test", "rules", "tests.yaml"]);
}

#[test]
fn every_alert_is_tested_both_ways() {
    let rules = PrometheusRules::read(&deployed("prometheus-rule.yaml")).unwrap();
    let tests = std::fs::read_to_string(deployed("tests.yaml")).unwrap();
    let names: Vec<&str> = rules.names().collect();
    assert!(!names.is_empty());
    for name in names {
        let fires = format!("        alertname: {name}\n        exp_alerts:\n");
        assert!(tests.contains(&fires), "{name} never fires in tests.yaml");
        // The refused commit has one that does not fire beside it.
        let is_quiet = tests.contains(&format!("alertname: {name}}}\n")) || name == "WritRevisionRefused";
        assert!(is_quiet, "{name} is never quiet in tests.yaml");
    }
}
