//! `writ drift ignore`, `revert` and `ack`: what somebody wants done about one drift, as a manifest. Nothing is sent.

use clap::Args;
use cluster::crd::{GROUP, VERSION};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::LogArgs;
use crate::{
    exit::{Outcome, UsageError},
    output,
};

/// Digits of the drift, and of the time, in the name of a request.
const NAME_DIGITS: usize = 8;

/// Arguments of `writ drift revert` and `ack`.
#[derive(Debug, Args)]
pub(crate) struct RequestArgs {
    /// The id of the drift, or its first digits.
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for everybody who reads the log.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    log: LogArgs,
}

/// Arguments of `writ drift ignore`.
#[derive(Debug, Args)]
pub(crate) struct IgnoreArgs {
    /// The id of the drift, or its first digits.
    #[arg(value_name = "ID")]
    id: String,
    /// Why, for everybody who reads the Sync.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Until when (RFC 3339); default: for ever.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
    #[command(flatten)]
    log: LogArgs,
}

/// Runs `writ drift revert` and `ack`.
pub(super) fn request(args: &RequestArgs, action: &str) -> anyhow::Result<Outcome> {
    let known = args.log.read()?;
    let record = known.find(&args.id)?;
    let (namespace, sync) = sync(&record.sync)?;
    let id = record.cause.id.as_str();
    let moment = format!("{:x}", Timestamp::now().as_millisecond());
    let moment = moment.get(moment.len().saturating_sub(NAME_DIGITS)..).unwrap_or(&moment);
    let name = format!("{}-{}-{moment}", action.to_lowercase(), id.get(..NAME_DIGITS).unwrap_or(id));
    let manifest = json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "DriftRequest",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "sync": sync, "drift": id, "action": action, "reason": args.reason },
    });
    print(&manifest)
}

/// Runs `writ drift ignore`.
pub(super) fn ignore(args: &IgnoreArgs) -> anyhow::Result<Outcome> {
    if let Some(expires) = &args.expires {
        let at = expires.parse::<Timestamp>();
        let at = at.map_err(|_| UsageError(format!("--expires {expires:?} is no RFC 3339 time")))?;
        if at <= Timestamp::now() {
            return Err(UsageError(format!("--expires {expires} is over")).into());
        }
    }
    let known = args.log.read()?;
    let record = known.find(&args.id)?;
    let (namespace, name) = sync(&record.sync)?;
    let Some(field) = &record.cause.field else {
        let why = "it is about an object as a whole: to give that up, remove it from Git";
        return Err(UsageError(format!("drift {} cannot be ignored: {why}", record.cause.id)).into());
    };
    let mut rule = json!({ "target": record.object, "paths": [field], "reason": args.reason });
    if let (Some(expires), Some(rule)) = (&args.expires, rule.as_object_mut()) {
        rule.insert("expires".to_owned(), expires.clone().into());
    }
    eprintln!("commit this as part of the manifest of Sync {namespace}/{name}:");
    print(&json!({
        "apiVersion": format!("{GROUP}/{VERSION}"),
        "kind": "Sync",
        "metadata": { "name": name, "namespace": namespace },
        "spec": { "drift": { "ignore": [rule] } },
    }))
}

fn print(manifest: &Value) -> anyhow::Result<Outcome> {
    output::text(&manifest::to_yaml(manifest)?)?;
    Ok(Outcome::Fine)
}

fn sync(name: &str) -> anyhow::Result<(&str, &str)> {
    name.split_once('/').ok_or_else(|| anyhow::anyhow!("{name:?} is no namespace/name of a Sync"))
}
