//! Webhooks over real HTTP: what a forge says is heard at once, and what others say is not.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use testkit::Metrics;

use crate::stage::{SOURCE, Setup, Stage, Test, config_map};

const REQUESTED_AT: &str = "reconcile.fluxcd.io/requestedAt";
const TOKEN: &str = "what the forge knows as well";

/// Sends what an older GitLab sends; status and text of the answer.
fn post(address: &str, path: &str, token: &str, body: &str) -> Result<(String, String)> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "POST {path} HTTP/1.1\r\nHost: writ\r\nX-Gitlab-Token: {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    // It closes the connection by itself.
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, text) = answer.split_once("\r\n\r\n").context("no answer")?;
    let status = head.split(' ').nth(1).context("no status")?;
    Ok((status.to_owned(), text.to_owned()))
}

fn polls(stage: &Stage<'_>) -> Result<f64> {
    stage.metrics()?.sum("writ_source_polls_total", &[]).context("polls are not counted")
}

/// As many polls as there were by now, and one more that somebody asks for: it comes after all that was heard before it, for
/// each turn of the loop begins the polls that hints ask for, and a source is polled once at a time.
fn polled(stage: &mut Stage<'_>, count: f64) -> Test {
    stage.heals()?;
    stage.poke()?;
    stage.wait("the poll is over", |view| {
        let source = view.source()?;
        let (asked, answered) =
            (&source["metadata"]["annotations"][REQUESTED_AT], &source["status"]["lastHandledReconcileAt"]);
        ensure!(asked.is_string() && asked == answered, "{asked} is asked for, {answered} is over");
        Ok(())
    })?;
    let found = polls(stage)?;
    ensure!(found == count + 1.0, "there were {found} polls, not {count} and one more");
    Ok(())
}

#[test]
fn a_push_arrives_with_its_webhook() -> Test {
    let mut stage = Setup::shared()?.webhooks(TOKEN).start()?;
    let (address, path) = (stage.webhooks()?, format!("/hooks/{}/{SOURCE}", stage.view.namespace));
    stage.repo.write("apps/settings.yaml", config_map("settings", "new"))?;
    let commit = stage.repo.commit_signed(&stage.people.sre, "change settings")?;
    let before = polls(&stage)?;
    let body = format!("{{\"after\": \"{commit}\"}}");
    let wrong = post(&address, &path, "what the forge does not know", &body)?;
    let unknown = post(&address, "/hooks/elsewhere/config", TOKEN, &body)?;
    ensure!(wrong.0 == "403" && wrong == unknown, "{wrong:?} {unknown:?}");
    polled(&mut stage, before)?;
    // As somebody pushes: nobody tells writ, and the next poll is an hour away.
    stage.push_aside("main", "main")?;
    let genuine = post(&address, &path, TOKEN, &body)?;
    ensure!(genuine.0 == "202", "{genuine:?}");
    stage.applied(&commit)?;
    ensure!(stage.view.config_map("settings")?["data"]["value"] == "new");
    polled(&mut stage, before + 2.0)?;
    let replay = post(&address, &path, TOKEN, &body)?;
    ensure!(replay.0 == "200", "{replay:?}");
    polled(&mut stage, before + 3.0)?;
    let source = format!("{}/{SOURCE}", stage.view.namespace);
    let metrics: Metrics = stage.metrics()?;
    let counted =
        |source: &str, result: &str| metrics.sum("writ_webhooks_total", &[("source", source), ("result", result)]);
    ensure!(counted(&source, "accepted") == Some(1.0) && counted(&source, "replayed") == Some(1.0));
    ensure!(counted(&source, "denied") == Some(1.0) && counted("", "denied") == Some(1.0));
    let log = stage.log()?;
    ensure!(!log.contains(TOKEN), "the token is in the log");
    Ok(())
}
