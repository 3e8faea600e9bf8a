//! That the API server asks us, and not somebody else: our authority and path are written into the configurations, again
//! whenever somebody changes that, and it is known since when it is so.

use std::{sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use cluster::{Cluster, ClusterCode, Endpoint, Pointed, RequestError, WebhookKind};
use jiff::Timestamp;
use manifest::{Finding, Subject};
use tokio::time::MissedTickBehavior;

use super::{Observations, certificate::Certificates, listen::Serving, observations::Asked};

/// How often it is looked: two small requests. For so long a configuration that somebody applied anew may point nowhere.
const LOOKED_EVERY: Duration = Duration::from_secs(15);

pub(super) struct Keeper {
    pub(super) cluster: Cluster,
    pub(super) instance: String,
    pub(super) token: String,
    pub(super) certificates: Certificates,
    pub(super) serving: Arc<Serving>,
    pub(super) observations: Arc<Observations>,
}

impl Keeper {
    pub(super) async fn keep(mut self) {
        let mut tick = tokio::time::interval(LOOKED_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tick.tick().await;
            let now = Timestamp::now();
            match self.certificates.turn(now) {
                Ok(true) => self.serving.show(self.certificates.serving()),
                Ok(false) => {}
                Err(error) => tracing::error!(error = %error, "the certificate for admission reviews is not made anew"),
            }
            self.look(now).await;
        }
    }

    async fn look(&mut self, now: Timestamp) {
        let bundle = STANDARD.encode(self.certificates.bundle());
        let (observe, stamp) = (format!("{}-observe", self.instance), format!("{}-stamp", self.instance));
        let observed = self.point(WebhookKind::Validating, &observe, "observe", &bundle).await;
        let stamped = self.point(WebhookKind::Mutating, &stamp, "stamp", &bundle).await;
        // What is not there cannot trust anybody.
        if [&observed, &stamped].iter().all(|result| is_settled(result)) {
            self.certificates.written(now);
        }
        match &observed {
            Ok(_) => {
                if !matches!(self.observations.is_asked(), Asked::Since(_)) {
                    tracing::info!(configuration = observe, "the API server tells who changes objects");
                }
                self.observations.asked(Ok(now));
            }
            Err(error) => {
                let why =
                    format!("ValidatingWebhookConfiguration {observe} does not come to writ ({})", in_short(error));
                if self.observations.is_asked() != Asked::Not(why.clone()) {
                    let finding = not_called(&observe, error);
                    tracing::warn!(
                        code = finding.code.code,
                        "the API server does not tell who changes objects: {finding}"
                    );
                }
                self.observations.asked(Err(why));
            }
        }
        if let Err(error) = &stamped {
            tracing::debug!(configuration = stamp, error = %error, "the API server does not have requests stamped");
        }
    }

    async fn point(&self, kind: WebhookKind, name: &str, path: &str, ca_bundle: &str) -> Result<Pointed, RequestError> {
        let path = format!("/{path}/{}", self.token);
        self.cluster.point_webhooks(kind, name, &Endpoint { ca_bundle, path: &path }).await
    }
}

fn is_settled(result: &Result<Pointed, RequestError>) -> bool {
    match result {
        Ok(_) => true,
        Err(error) => error.status() == Some(404),
    }
}

fn not_called(name: &str, error: &RequestError) -> Finding {
    Finding {
        code: ClusterCode::A114.entry(),
        subject: Subject::Named(format!("ValidatingWebhookConfiguration {name}")),
        rule: None,
        found: in_short(error).into(),
        needed: "a configuration that comes to writ".into(),
        fix: "kubectl apply -f deploy/webhooks.yaml".into(),
    }
}

/// The status, or what kind of error it is.
fn in_short(error: &RequestError) -> String {
    error.failure().map_or_else(|| "no answer".to_owned(), cluster::ApiFailure::reduced)
}
