//! Our own webhook configurations: whom the API server asks, at which path, and which authority our certificate is of.
//! Administrators make them (`deploy/webhooks.yaml`); writ writes the authority and the path, and nothing else.

use std::sync::Arc;

use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    Cluster,
    request::{Call, RequestError, decode, encode},
};

/// Most webhooks of one configuration that are looked at: ours have two.
const MAX_WEBHOOKS: usize = 16;

/// Which of the two kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookKind {
    /// ValidatingWebhookConfiguration.
    Validating,
    /// MutatingWebhookConfiguration.
    Mutating,
}

impl WebhookKind {
    const fn resource(self) -> &'static str {
        match self {
            Self::Validating => "validatingwebhookconfigurations",
            Self::Mutating => "mutatingwebhookconfigurations",
        }
    }
}

/// What is written into every webhook of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Endpoint<'a> {
    /// The authorities, PEM, in base64.
    pub ca_bundle: &'a str,
    /// The path, from the `/` on.
    pub path: &'a str,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pointed {
    /// It was as it should be.
    Unchanged,
    /// It was written.
    Changed,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    webhooks: Vec<Webhook>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Webhook {
    #[serde(default)]
    name: String,
    #[serde(default)]
    client_config: ClientConfig,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ClientConfig {
    ca_bundle: Option<String>,
    url: Option<String>,
    service: Option<Service>,
}

#[derive(Deserialize)]
struct Service {
    path: Option<String>,
}

impl Cluster {
    /// Makes the webhooks of a configuration come to us.
    ///
    /// # Errors
    /// When it is not there, may not be written, or was changed meanwhile (409, 422): then it is done again.
    pub async fn point_webhooks(
        &self,
        kind: WebhookKind,
        name: &str,
        endpoint: &Endpoint<'_>,
    ) -> Result<Pointed, RequestError> {
        let path = format!("/apis/admissionregistration.k8s.io/v1/{}/{}", kind.resource(), encode(name));
        let call = Call::get(path.clone());
        let answer = self.send(&call).await?;
        let configuration: Configuration = decode(&call, &answer.body)?;
        let patch = changes(&configuration, endpoint);
        if patch.is_empty() {
            return Ok(Pointed::Unchanged);
        }
        let body: Arc<[u8]> = Value::from(patch).to_string().into_bytes().into();
        let patch = Call::new(Method::PATCH, path).body("application/json-patch+json", body);
        self.send(&patch).await?;
        Ok(Pointed::Changed)
    }
}

/// The steps of the patch; each is of a webhook that is still the one that was read.
fn changes(configuration: &Configuration, endpoint: &Endpoint<'_>) -> Vec<Value> {
    let mut patch = Vec::new();
    for (n, webhook) in configuration.webhooks.iter().enumerate().take(MAX_WEBHOOKS) {
        let at = |field: &str| format!("/webhooks/{n}/{field}");
        let config = &webhook.client_config;
        let mut steps = Vec::new();
        if config.ca_bundle.as_deref() != Some(endpoint.ca_bundle) {
            steps.push(json!({"op": "add", "path": at("clientConfig/caBundle"), "value": endpoint.ca_bundle}));
        }
        if let Some(service) = &config.service
            && service.path.as_deref() != Some(endpoint.path)
        {
            steps.push(json!({"op": "add", "path": at("clientConfig/service/path"), "value": endpoint.path}));
        }
        if let Some(url) = &config.url {
            let wanted = format!("{}{}", origin(url), endpoint.path);
            if *url != wanted {
                steps.push(json!({"op": "add", "path": at("clientConfig/url"), "value": wanted}));
            }
        }
        if !steps.is_empty() {
            patch.push(json!({"op": "test", "path": at("name"), "value": webhook.name}));
            patch.extend(steps);
        }
    }
    patch
}

/// Scheme, host and port of a URL.
fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url.get(host..).and_then(|rest| rest.find('/')).map_or(url.len(), |at| host + at);
    url.get(..end).unwrap_or(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(webhooks: &Value) -> Vec<Value> {
        let configuration = serde_json::from_value(json!({"webhooks": webhooks})).unwrap();
        changes(&configuration, &Endpoint { ca_bundle: "Q0E=", path: "/observe/x" })
    }

    #[test]
    fn only_what_is_not_ours_yet_is_written() {
        let right = json!({"name": "a", "clientConfig": {"caBundle": "Q0E=", "service": {"name": "writ", "namespace": "n", "path": "/observe/x"}}});
        assert_eq!(steps(&json!([right])), Vec::<Value>::new());
        let fresh = json!({"name": "b", "clientConfig": {"service": {"name": "writ", "namespace": "n"}}, "failurePolicy": "Ignore"});
        assert_eq!(
            steps(&json!([right, fresh])),
            [
                json!({"op": "test", "path": "/webhooks/1/name", "value": "b"}),
                json!({"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": "Q0E="}),
                json!({"op": "add", "path": "/webhooks/1/clientConfig/service/path", "value": "/observe/x"}),
            ]
        );
        let url =
            json!({"name": "c", "clientConfig": {"caBundle": "Q0E=", "url": "https://127.0.0.1:8443/observe/old"}});
        assert_eq!(
            steps(&json!([url])).get(1),
            Some(
                &json!({"op": "add", "path": "/webhooks/0/clientConfig/url", "value": "https://127.0.0.1:8443/observe/x"})
            )
        );
    }

    #[test]
    fn the_origin_of_a_url_ends_before_its_path() {
        for (url, expected) in [("https://a:1", "https://a:1"), ("https://a/b/c", "https://a"), ("a/b", "a"), ("", "")]
        {
            assert_eq!(origin(url), expected);
        }
    }
}
