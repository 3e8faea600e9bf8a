//! Prometheus and Alertmanager from Debian's packages, on loopback.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::alert_sink::AlertSink;
use crate::control_plane::get_plain;
use crate::ports::free_port;
use crate::process::{Server, hermetic_command};
use crate::scratch::Scratch;
use crate::wait::wait_until;

/// How long one of them may take to start: some 2 s, beside a compiler ten times that.
const START: Duration = Duration::from_secs(60);

/// Rules of Prometheus, as a rule file.
#[derive(Debug, Clone)]
pub struct PrometheusRules(String);

impl PrometheusRules {
    /// Reads a `PrometheusRule`: what is below its `spec` is a rule file.
    pub fn read(file: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        let (_, spec) = text.split_once("\nspec:\n").with_context(|| format!("{} has no spec", file.display()))?;
        let lines = spec.lines().map(|line| line.strip_prefix("  ").unwrap_or(line));
        Ok(Self(lines.map(|line| format!("{line}\n")).collect()))
    }

    /// The same alerts without waiting: what is true for one evaluation fires.
    #[must_use]
    pub fn at_once(&self) -> Self {
        let is_wait = |line: &&str| !line.trim_start().starts_with("for: ");
        Self(self.0.lines().filter(is_wait).map(|line| format!("{line}\n")).collect())
    }

    /// The rule file.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The names of the alerts.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.lines().filter_map(|line| line.trim().strip_prefix("- alert: "))
    }
}

/// A Prometheus that scrapes one address every second, and an Alertmanager that tells an [`AlertSink`] of what fires. They end
/// with this value.
#[derive(Debug)]
pub struct Alerting {
    prometheus: Server,
    alertmanager: Server,
    address: String,
    _folder: Scratch,
}

impl Alerting {
    /// Starts both, with these rules.
    pub fn start(metrics: &str, rules: &PrometheusRules, sink: &AlertSink) -> Result<Self> {
        let folder = Scratch::new("alerting")?;
        let path = folder.path();
        let [of_prometheus, of_alertmanager] = [address()?, address()?];
        let write = |name: &str, text: &str| {
            let file = path.join(name);
            std::fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
        };
        write("rules.yaml", rules.text())?;
        write("prometheus.yaml", &prometheus_file(metrics, &of_alertmanager))?;
        write("alertmanager.yaml", &alertmanager_file(&sink.url()))?;
        let mut command = hermetic_command("prometheus-alertmanager", path);
        command.current_dir(path).args(["--config.file=alertmanager.yaml", "--storage.path=alertmanager"]);
        // Without an address for others of its kind it has none.
        command.args([format!("--web.listen-address={of_alertmanager}"), "--cluster.listen-address=".to_owned()]);
        let alertmanager = Server::start("prometheus-alertmanager", command, &path.join("alertmanager.log"))?;
        let mut command = hermetic_command("prometheus", path);
        command.current_dir(path).args(["--config.file=prometheus.yaml", "--storage.tsdb.path=prometheus"]);
        command.arg(format!("--web.listen-address={of_prometheus}"));
        let prometheus = Server::start("prometheus", command, &path.join("prometheus.log"))?;
        let mut alerting = Self { prometheus, alertmanager, address: of_prometheus, _folder: folder };
        alerting.ready(&of_alertmanager)?;
        Ok(alerting)
    }

    fn ready(&mut self, of_alertmanager: &str) -> Result<()> {
        let Self { prometheus, alertmanager, address, .. } = self;
        for (server, address) in [(alertmanager, of_alertmanager), (prometheus, address.as_str())] {
            wait_until("the server to be ready", START, || {
                server.check_running()?;
                get_plain(&format!("http://{address}/-/ready")).map(drop)
            })?;
        }
        Ok(())
    }

    /// The rules as Prometheus evaluates them: what it says of its alerts, as JSON.
    pub fn alerts(&self) -> Result<String> {
        let text = get_plain(&format!("http://{}/api/v1/alerts", self.address))?;
        ensure!(text.contains("\"success\""), "{text}");
        Ok(text)
    }
}

/// A free address; it is free again when its server binds it.
fn address() -> Result<String> {
    Ok(free_port()?.local_addr().context("a listener without an address")?.to_string())
}

fn prometheus_file(metrics: &str, alertmanager: &str) -> String {
    format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [rules.yaml]\n\
         scrape_configs: [{{job_name: writ, static_configs: [{{targets: ['{metrics}']}}]}}]\n\
         alerting: {{alertmanagers: [{{static_configs: [{{targets: ['{alertmanager}']}}]}}]}}\n"
    )
}

fn alertmanager_file(sink: &str) -> String {
    format!(
        "route: {{receiver: sink, group_by: ['...'], group_wait: 0s, group_interval: 1s, repeat_interval: 1h}}\n\
         receivers: [{{name: sink, webhook_configs: [{{url: '{sink}', send_resolved: true}}]}}]\n"
    )
}
