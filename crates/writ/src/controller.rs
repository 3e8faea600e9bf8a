//! `writ controller`: arguments to options, logging, the runtime, and the end.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use controller::Options;
use git::FetchChild;
use plan::InstanceId;
use rand::TryRngCore as _;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::exit::{Outcome, UsageError};

/// Threads that run tasks. A revert passes through five of them, from the watch's connection to that of the request: on one
/// thread none has to wake another, which costs a third of all that writ does for an edit. What takes long (Git, renders,
/// syncs) is on threads for blocking work, and a list is decoded line by line. What may not wait for a decision about many
/// objects, or for room in the log, is beside it: probes, metrics and the Lease have a thread of their own.
const WORKERS: usize = 1;
/// Threads for blocking work: six for gates of sources (more never run at once), the rest for the log, renders,
/// `expected/` and name resolution.
const BLOCKING_THREADS: usize = 16;
/// How long blocking work may go on after the controller has stopped: a fetch ends within its own limits, and nothing
/// is lost when it does not.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Arenas of the C library's allocator: by itself it makes eight for each core, and each keeps what was freed in it. Some
/// twenty threads that mostly wait are served by two, with a tenth less memory.
const ARENAS: std::ffi::c_int = 2;

/// Arguments of `writ controller`.
#[derive(Debug, Args)]
pub(crate) struct ControllerArgs {
    /// Folder of the state volume: log, mirrors and expected state.
    #[arg(long, env = "WRIT_STATE_DIR", hide_env_values = true, default_value = "/var/lib/writ")]
    pub(crate) state_dir: PathBuf,
    /// File with the log's signing key (`writ audit key` makes one).
    #[arg(long, env = "WRIT_LOG_KEY", hide_env_values = true, default_value = "/etc/writ/log-key/key")]
    pub(crate) log_key: PathBuf,
    /// Name of the log in its checkpoints, which is its key's name; unique for each log.
    #[arg(long, env = "WRIT_LOG_ORIGIN", hide_env_values = true, default_value = "writ.dev/log")]
    pub(crate) log_origin: String,
    /// Id of this controller: the value of the label `writ.dev/instance`. The instance `writ` also obeys custom
    /// resources without the label.
    #[arg(long, env = "WRIT_INSTANCE", hide_env_values = true, default_value = "writ")]
    pub(crate) instance: String,
    /// Namespace the controller runs in.
    #[arg(long, env = "WRIT_NAMESPACE", hide_env_values = true, default_value = "writ-system")]
    pub(crate) namespace: String,
    /// Identity in the Lease; stable over restarts of the same replica.
    #[arg(long, env = "WRIT_IDENTITY", hide_env_values = true, default_value = "writ-0")]
    pub(crate) identity: String,
    /// Address of `/metrics`, `/healthz` and `/readyz`.
    #[arg(long, env = "WRIT_LISTEN", hide_env_values = true, default_value = "0.0.0.0:8080")]
    pub(crate) listen: SocketAddr,
    /// Address of webhooks, `POST /hooks/NAMESPACE/NAME` of a GitSource; default: none are taken.
    #[arg(long, env = "WRIT_WEBHOOK_LISTEN", hide_env_values = true)]
    pub(crate) webhook_listen: Option<SocketAddr>,
    /// Address of admission reviews (TLS), by which the API server tells who changes objects and has requests stamped
    /// (deploy/webhooks.yaml); default: none are taken, and nobody is looked for.
    #[arg(long, env = "WRIT_ADMISSION_LISTEN", hide_env_values = true)]
    pub(crate) admission_listen: Option<SocketAddr>,
    /// File with the audit log of the API server, which tells address and program of who changes objects as well; it is followed
    /// through rotations. Default: it is not read.
    #[arg(long, env = "WRIT_AUDIT_LOG", hide_env_values = true, value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Kubeconfig; default: the ServiceAccount of the Pod.
    #[arg(long, env = "KUBECONFIG", hide_env_values = true)]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Form of the log lines on stderr.
    #[arg(long, env = "WRIT_LOG_FORMAT", hide_env_values = true, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,
    /// Which log lines: a level, or levels per module.
    #[arg(long, env = "WRIT_LOG", hide_env_values = true, default_value = "info")]
    pub(crate) log_filter: String,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Limits the arenas; whether that was done. Before any other thread is started.
#[cfg(target_env = "gnu")]
#[expect(unsafe_code, reason = "the standard library does not expose the option")]
fn limit_arenas() -> bool {
    // SAFETY: mallopt takes two numbers and changes a setting of the allocator; it may be called at any time.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, ARENAS) == 1 }
}

/// Other C libraries have no arenas to limit.
#[cfg(not(target_env = "gnu"))]
const fn limit_arenas() -> bool {
    true
}

/// Runs the controller until SIGTERM or SIGINT.
pub(crate) fn run(args: ControllerArgs) -> anyhow::Result<Outcome> {
    let is_limited = limit_arenas();
    log_to_stderr(&args)?;
    if !is_limited {
        tracing::debug!("the arenas of the allocator cannot be limited");
    }
    let options = options(args)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING_THREADS)
        .thread_name("writ")
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    let result = runtime.block_on(async {
        // Both are caught from here on, also while the controller still starts.
        let mut terminate = signal(SignalKind::terminate()).context("cannot catch SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot catch SIGINT")?;
        let stop = async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "stopping");
        };
        // As a task of a worker, not of this thread: what a watch delivers is then decided and sent without waking
        // another thread, which on busy cores takes longer than all the rest of a revert.
        let running = tokio::spawn(controller::run(options, stop));
        running.await.context("the controller has panicked")?.context("the controller cannot run")
    });
    runtime.shutdown_timeout(SHUTDOWN);
    result.map(|()| Outcome::Fine)
}

fn options(args: ControllerArgs) -> anyhow::Result<Options> {
    Ok(Options {
        state_dir: args.state_dir,
        log_key: args.log_key,
        log_origin: args.log_origin,
        instance: InstanceId::new(&args.instance).map_err(|error| UsageError(format!("--instance: {error}")))?,
        namespace: args.namespace,
        identity: args.identity,
        listen: args.listen,
        webhook_listen: args.webhook_listen,
        admission_listen: args.admission_listen,
        audit_log: args.audit_log,
        kubeconfig: args.kubeconfig,
        fetch_child: FetchChild::same_binary().context("cannot find this program, which fetches run as well")?,
        version: env!("CARGO_PKG_VERSION"),
        seed: rand::rngs::OsRng.try_next_u64().context("the system gives no random numbers")?,
    })
}

fn log_to_stderr(args: &ControllerArgs) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&args.log_filter)
        .map_err(|error| UsageError(format!("--log-filter {:?}: {error}", args.log_filter)))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(|error| anyhow::anyhow!("cannot start logging: {error}"))
}
