//! What keeps the controller from starting. There is no status then, and no event: the message of the process is what a person sees.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use anyhow::{Context, ensure};
use testkit::Finished;

use crate::stage::{Setup, Stage, Story, Test};

/// The end of a controller that did not start.
fn ended(story: &mut Story, finished: &Finished, code: &str) -> Test {
    let status = finished.code.context("it was ended by a signal")?;
    ensure!(finished.code == Some(2), "status {status}\n{}", finished.stderr);
    let said = finished.stderr.lines().find(|line| line.contains(code)).unwrap_or_default();
    ensure!(said.contains("Fix: "), "no {code} with a fix in\n{}", finished.stderr);
    story.seen("writ controller", &format!("{said}\n[exit status {status}]"));
    Ok(())
}

/// The kubeconfig of the stage for another address, without the CA if that speaks no TLS.
fn kubeconfig(stage: &Stage<'_>, address: &str) -> anyhow::Result<String> {
    let path = testkit::writ_kubeconfig(stage.tenant.control_plane())?;
    let text = std::fs::read_to_string(path).context("cannot read the kubeconfig")?;
    let plain = address.starts_with("http:");
    let lines = text.lines().filter(|line| !(plain && line.contains("certificate-authority")));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let file = stage.trust_root_file().with_file_name("other-kubeconfig");
    std::fs::write(&file, text.replace(stage.tenant.control_plane().server(), address))
        .context("cannot write a kubeconfig")?;
    Ok(file.to_string_lossy().into_owned())
}

#[test]
fn controller_that_does_not_start() -> Test {
    let mut stage = Setup::shared()?.start()?;
    let mut story = Story::begin(&stage, "controller-does-not-start", "A controller that does not start")?;
    story.done("a second controller is started under another identity, with a state of its own");
    let second = stage.run_another(&[("--identity", "writ-1")])?;
    ended(&mut story, &second, "A112")?;
    stage.heals()?;
    story.then("the first goes on: a hand edit of ConfigMap settings is reverted.");

    story.done("writ is started while no API server listens at its address");
    let free = TcpListener::bind("127.0.0.1:0").context("cannot listen")?.local_addr()?;
    stage.names.call(&free.to_string(), "address");
    let config = kubeconfig(&stage, &format!("https://{free}"))?;
    let away = stage.run_another(&[("--kubeconfig", &config)])?;
    ended(&mut story, &away, "A106")?;

    story.done("writ is started with an API server that is too old: it lists groups, and not what is in them");
    let old = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
    let address = old.local_addr()?;
    stage.names.call(&address.to_string(), "address");
    std::thread::spawn(move || old.incoming().flatten().for_each(|client| drop(std::thread::spawn(|| serve(client)))));
    let config = kubeconfig(&stage, &format!("http://{address}"))?;
    let too_old = stage.run_another(&[("--kubeconfig", &config)])?;
    ended(&mut story, &too_old, "A111")?;
    story.end(&stage)
}

/// An API server of long ago, as far as it is asked.
fn serve(mut client: TcpStream) {
    let mut request = Vec::new();
    let mut byte = [0];
    while let Ok(1) = client.read(&mut byte) {
        request.push(byte[0]);
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        let body = if String::from_utf8_lossy(&request).contains("/namespaces/kube-system") {
            r#"{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"kube-system","uid":"5a0b"}}"#
        } else {
            r#"{"kind":"APIVersions","versions":["v1"]}"#
        };
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        if client.write_all(format!("{head}{body}").as_bytes()).is_err() {
            return;
        }
        request.clear();
    }
}
