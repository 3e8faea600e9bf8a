//! What is known of drift: from the log alone, over restarts, and shown by the command and by the status.

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::stage::{SYNC, Setup, Stage, Test, WITHIN, deployment, writ};

impl Stage<'_> {
    /// `writ drift ls`: id, state and object of each, in the order in which they are listed.
    fn drifts(&self) -> Result<Vec<(String, String)>> {
        let (log, key) = (self.state().join("log"), self.log_key_file());
        let finished =
            writ(&["drift", "ls", "--log", &log.to_string_lossy(), "--key", &key.to_string_lossy(), "-o", "json"])?;
        ensure!(matches!(finished.code, Some(0 | 1)), "writ drift ls: {:?}\n{}", finished.code, finished.stderr);
        let document: Value = serde_json::from_str(&finished.stdout).context("writ drift ls printed no JSON")?;
        ensure!(document["unreadable"] == 0, "{document}");
        let records = document["groups"].as_array().into_iter().flatten();
        let records = records.flat_map(|group| group["records"].as_array().cloned().unwrap_or_default());
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let tell = |record: Value| {
            let count = &record["count"];
            (
                text(&record["id"]),
                format!("{} {count} {} by {}", text(&record["state"]), text(&record["field"]), text(&record["signer"])),
            )
        };
        Ok(records.map(tell).collect())
    }

    /// Waits until the only drift that is known is told so.
    fn knows_one(&mut self, told: &str) -> Result<String> {
        let wanted = told.to_owned();
        testkit::wait_until(&format!("the drift is {wanted}"), WITHIN, || {
            let drifts = self.drifts()?;
            let [(id, now)] = drifts.as_slice() else { anyhow::bail!("{drifts:?}") };
            ensure!(*now == wanted, "{now}");
            Ok(id.clone())
        })
    }

    fn shows_open(&mut self, count: Option<u64>) -> Test {
        self.wait("the status says what is open", |view| {
            let drift = view.sync(SYNC)?["status"]["drift"].clone();
            ensure!(drift["open"].as_u64() == count, "{drift}");
            Ok(())
        })
    }
}

#[test]
fn drift_that_went_away_while_writ_was_down_is_over() -> Test {
    let mut stage = Setup::shared()?.drift("Flag").start()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    let id = stage.knows_one("open 1 spec.replicas by sam")?;
    stage.shows_open(Some(1))?;
    // It is told anew after a restart, and is the same drift, seen once.
    stage.stop()?;
    stage.start()?;
    stage.entries_once(&["--kind", "flag"], 2)?;
    stage.shows_open(Some(1))?;
    ensure!(stage.knows_one("open 1 spec.replicas by sam")? == id);

    stage.stop()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=1"])?;
    stage.start()?;
    ensure!(stage.knows_one("reverted 1 spec.replicas by sam")? == id);
    stage.shows_open(None)?;

    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=8"])?;
    ensure!(stage.knows_one("open 2 spec.replicas by sam")? == id);
    stage.audit_verifies()
}

#[test]
fn a_commit_that_says_what_is_live_accepts_it() -> Test {
    let mut stage = Setup::shared()?.drift("Flag").start()?;
    stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
    stage.knows_one("open 1 spec.replicas by sam")?;
    stage.roll_out("apps/web.yaml", &deployment("web", 7))?;
    stage.knows_one("accepted 1 spec.replicas by sam")?;
    stage.shows_open(None)
}

/// A process that dies between an entry and its request, or right after, leaves a log that says what became of the drift.
#[test]
fn what_was_put_back_is_known_whenever_writ_dies() -> Test {
    for point in ["revert-recorded", "reverted"] {
        let mut stage = Setup::shared()?.start()?;
        stage.stop()?;
        stage.tenant.kubectl(&["scale", "deployment", "web", "--replicas=7"])?;
        stage.start_and_die_at(point)?;
        stage.start()?;
        stage.scales_back()?;
        let drifts = stage.drifts()?;
        ensure!(drifts.len() == 1 && drifts[0].1.starts_with("reverted "), "{point}: {drifts:?}");
        ensure!(stage.view.sync(SYNC)?["status"]["drift"].is_null(), "{point}");
    }
    Ok(())
}
