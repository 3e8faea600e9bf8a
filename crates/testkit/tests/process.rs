//! Processes, their logs and directories. `/bin/sh` stands for writ here: what is tested is how it is run.

#![expect(clippy::unwrap_used, reason = "helpers of tests stop at the first surprise, as tests do")]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use testkit::{Scratch, WritCommand, spawn, wait_until};

/// Set in the child that one of the tests makes of itself.
const HELD: &str = "TESTKIT_HELD";
const WITHIN: Duration = Duration::from_secs(30);

fn shell(script: &str) -> WritCommand {
    WritCommand::new("/bin/sh").unwrap().args(["-c", script])
}

#[test]
fn the_log_is_queried_and_the_process_ends_on_sigterm() {
    let mut writ = shell("trap 'echo stopped; exit 7' TERM; echo ready; while :; do sleep 0.05; done").start().unwrap();
    assert_eq!(writ.wait_for_log("rea", WITHIN).unwrap(), "ready");
    assert!(writ.is_running().unwrap());
    assert!(writ.resident_bytes().unwrap() > 0);
    assert_eq!(writ.terminate(WITHIN).unwrap().code(), Some(7));
    assert!(writ.log().unwrap().contains("stopped"));
}

#[test]
fn waiting_fails_at_once_with_the_log_when_the_process_ends() {
    let mut writ = shell("echo out of order; exit 3").start().unwrap();
    let error = writ.wait_for_log("ready", Duration::from_secs(3600)).unwrap_err().to_string();
    assert!(error.contains("exit status: 3") && error.contains("out of order"), "{error}");
}

#[test]
fn nothing_of_the_environment_but_what_is_given_reaches_the_process() {
    let finished =
        shell("env | cut -d= -f1 | sort | tr '\\n' ' '; exit 1").fault_point("after-audit").output().unwrap();
    assert_eq!(finished.code, Some(1));
    assert_eq!(finished.stdout, "HOME LC_ALL NO_COLOR PATH PWD TZ WRIT_FAULT_POINT ");
}

#[test]
fn a_kill_leaves_no_process_and_a_command_starts_again() {
    let command = shell("echo started; sleep 3600");
    for runs in 1..=2 {
        let mut writ = command.start().unwrap();
        writ.wait_until("its line in the log", WITHIN, |writ| {
            let count = writ.log()?.matches("started").count();
            if count == runs { Ok(()) } else { Err(anyhow::anyhow!("{count} lines")) }
        })
        .unwrap();
        let process = format!("/proc/{}", writ.pid());
        assert!(Path::new(&process).exists());
        writ.kill().unwrap();
        assert!(!Path::new(&process).exists());
    }
}

#[test]
fn a_child_outlives_the_thread_that_asked_for_it() {
    let mut child = std::thread::spawn(|| {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "read line"]).stdin(std::process::Stdio::piped());
        spawn(command).unwrap()
    })
    .join()
    .unwrap();
    // The thread is gone. A child with its death signal would be killed by a signal instead of reading the end of its input.
    drop(child.stdin.take());
    let status = child.wait().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[test]
fn a_directory_disappears_with_its_value_and_with_its_process() {
    if std::env::var_os(HELD).is_some() {
        return hold();
    }
    let scratch = Scratch::new("test").unwrap();
    let path = scratch.path().to_owned();
    std::fs::write(path.join("file"), "x").unwrap();
    drop(scratch);
    assert!(!path.exists());

    // This very test, run again as a child that is killed while it holds a directory and a process.
    let mut writ = WritCommand::new(std::env::current_exe().unwrap())
        .unwrap()
        .args(["--exact", "a_directory_disappears_with_its_value_and_with_its_process", "--nocapture"])
        .env(HELD, "1")
        .start()
        .unwrap();
    let line = writ.wait_for_log("holding ", WITHIN).unwrap();
    let mut words = line.rsplit(' ');
    let (process, directory) = (format!("/proc/{}", words.next().unwrap()), words.next().unwrap().to_owned());
    assert!(Path::new(&process).exists() && Path::new(&directory).exists(), "{line}");
    writ.kill().unwrap();
    wait_until("both are gone", WITHIN, || match (Path::new(&process).exists(), Path::new(&directory).exists()) {
        (false, false) => Ok(()),
        left => Err(format!("process and directory: {left:?}")),
    })
    .unwrap();
}

/// The part of the test above that runs in a process of its own.
fn hold() {
    let scratch = Scratch::new("held").unwrap();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sleep 3600"]);
    let mut child = spawn(command).unwrap();
    println!("holding {} {}", scratch.path().display(), child.id());
    child.wait().unwrap();
}
