//! Objects that mean harm: as large as the API server lets them be.

use anyhow::ensure;
use serde_json::{Value, json};

use crate::stage::{Setup, Stage, Test};

/// Patches an object with more than a command line takes.
fn patch(stage: &Stage<'_>, object: &str, patch: &Value) -> Test {
    let file = stage.trust_root_file().with_file_name("patch.json");
    std::fs::write(&file, patch.to_string())?;
    stage.tenant.kubectl(&["patch", object, "--type=strategic", "--patch-file", &file.display().to_string()]).map(drop)
}

fn value_is_back(stage: &mut Stage<'_>) -> Test {
    stage.wait("the value is back", |view| {
        let value = view.config_map("settings")?["data"]["value"].clone();
        ensure!(value == "good", "the value is {value}");
        Ok(())
    })
}

#[test]
fn an_edit_in_a_megabyte_is_found() -> Test {
    let mut stage = Setup::shared()?.start()?;
    // As much as a ConfigMap, and as much as all annotations of an object, may have.
    let noise = json!({
        "metadata": {"annotations": {"noise": "x".repeat(250_000)}},
        "data": {"noise": "y".repeat(700_000), "value": "by hand"},
    });
    patch(&stage, "configmap/settings", &noise)?;
    value_is_back(&mut stage)
}
