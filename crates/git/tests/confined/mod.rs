//! What a process can still do once it is confined as the fetch child is. The tests start this executable again, which
//! confines itself and tries.

use std::{
    collections::BTreeMap,
    fs, io,
    net::{TcpListener, TcpStream, UdpSocket},
    os::unix::{fs::symlink, net::UnixDatagram},
    path::Path,
    process::{Command, ExitCode},
    thread,
};

use git::{Confinement, Remote, confine};
use rustix::io::Errno;
use testkit::Push;

use super::{Case, MAIN, Setting};

/// The argument that makes this executable try.
pub(super) const PROBE: &str = "confined-probe";

pub(super) const CASES: &[Case] = &[
    ("a_confined_process_reaches_its_folder_and_one_port", a_confined_process_reaches_its_folder_and_one_port),
    ("fetches_are_confined", fetches_are_confined),
];

/// Tries everything in the working directory. Arguments: a folder outside, the port that is allowed, and another.
pub(super) fn probe(arguments: &[String]) -> ExitCode {
    let [_, outside, port, other] = arguments else { return ExitCode::FAILURE };
    let (port, other): (u16, u16) = (port.parse().unwrap(), other.parse().unwrap());
    let confinement = match confine(Some(port)) {
        Ok(confinement) => confinement,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    println!("confinement {}", serde_json::to_string(&confinement).unwrap());
    let outside = Path::new(outside);
    let tell = |what: &str, result: io::Result<()>| match result {
        Ok(()) => println!("{what} ok"),
        Err(error) => println!("{what} {}", error.raw_os_error().unwrap_or(-1)),
    };
    tell("write-inside", fs::create_dir("folder").and_then(|()| fs::write("folder/file", "x")));
    tell("read-inside", fs::read("folder/file").map(drop));
    tell("rename-inside", fs::rename("folder/file", "file"));
    tell("read-names", fs::read("/etc/hosts").map(drop));
    tell("connect", TcpStream::connect(("127.0.0.1", port)).map(drop));
    tell("write-outside", fs::write(outside.join("file"), "x"));
    tell("overwrite-outside", fs::write(outside.join("precious"), "x"));
    tell("remove-outside", fs::remove_file(outside.join("precious")));
    tell("read-outside", fs::read(outside.join("precious")).map(drop));
    tell("list-outside", fs::read_dir(outside).map(drop));
    tell("move-outside", fs::rename("file", outside.join("file")));
    tell("read-passwd", fs::read("/etc/passwd").map(drop));
    tell("read-environment", fs::read("/proc/self/environ").map(drop));
    tell("link-elsewhere", symlink(outside, "link"));
    tell("connect-elsewhere", TcpStream::connect(("127.0.0.1", other)).map(drop));
    tell("listen", TcpListener::bind("127.0.0.1:0").map(drop));
    tell("execute", Command::new("/bin/true").status().map(drop));
    tell("socket-for-names", UdpSocket::bind("127.0.0.1:0").map(drop));
    tell("socket-of-files", UnixDatagram::unbound().map(drop));
    tell("thread", thread::spawn(|| fs::read("/etc/passwd").map(drop)).join().unwrap());
    let parent = rustix::process::getppid().unwrap();
    tell("signal", rustix::process::test_kill_process(parent).map_err(Into::into));
    ExitCode::SUCCESS
}

/// Runs the probe; what it says by name.
fn probed(dir: &Path, port: u16, other: u16) -> (Confinement, BTreeMap<String, String>) {
    let (inside, outside) = (dir.join("inside"), dir.join("outside"));
    fs::create_dir(&inside).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("precious"), "kept").unwrap();
    let mut probe = testkit::hermetic_command(std::env::current_exe().unwrap(), dir);
    probe.current_dir(&inside).arg(PROBE).arg(&outside).args([port.to_string(), other.to_string()]);
    let output = String::from_utf8(testkit::run(&mut probe).unwrap()).unwrap();
    let mut said: BTreeMap<_, _> =
        output.lines().map(|line| line.split_once(' ').unwrap()).map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
    let confinement = serde_json::from_str(&said.remove("confinement").unwrap()).unwrap();
    assert_eq!(fs::read(outside.join("precious")).unwrap(), b"kept");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
    (confinement, said)
}

fn a_confined_process_reaches_its_folder_and_one_port() {
    let dir = tempfile::tempdir().unwrap();
    let listening = || TcpListener::bind("127.0.0.1:0").unwrap();
    let (allowed, other) = (listening(), listening());
    let port = |listener: &TcpListener| listener.local_addr().unwrap().port();
    let (confinement, said) = probed(dir.path(), port(&allowed), port(&other));
    for what in ["write-inside", "read-inside", "rename-inside", "read-names", "connect", "socket-for-names"] {
        assert_eq!(said[what], "ok", "{what}");
    }
    let refused = |enforced: bool, part: &str, errors: &[i32], names: &[&str]| {
        if !enforced {
            println!("not shown: this kernel does not confine {part}");
            return;
        }
        for name in names {
            assert!(errors.iter().any(|error| said[*name] == error.to_string()), "{name}: {}", said[*name]);
        }
    };
    let [eperm, eacces, exdev] = [Errno::PERM, Errno::ACCESS, Errno::XDEV].map(Errno::raw_os_error);
    refused(
        confinement.files,
        "files",
        &[eacces, exdev],
        &[
            "write-outside",
            "overwrite-outside",
            "remove-outside",
            "read-outside",
            "list-outside",
            "move-outside",
            "read-passwd",
            "read-environment",
            "link-elsewhere",
            "thread",
        ],
    );
    refused(confinement.network, "the network", &[eacces], &["connect-elsewhere", "listen"]);
    refused(confinement.signals, "signals", &[eperm], &["signal"]);
    refused(confinement.system_calls, "system calls", &[eperm], &["execute", "socket-of-files"]);
}

/// The same for a fetch, whatever this kernel has of it.
fn fetches_are_confined() {
    let setting = Setting::new();
    setting.commit("a", "1");
    setting.push(Push::FastForward);
    // By a name: what looks it up is among what is still allowed.
    let url = setting.server.url("shop").replace("127.0.0.1", "localhost");
    let fetched = setting.fetch(&Remote::new(&url, MAIN, &setting.options()).unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (possible, _) = probed(dir.path(), 1, 2);
    assert_eq!(fetched.confinement, possible);
    assert!(possible.no_new_privileges);
}
