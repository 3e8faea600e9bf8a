//! The parsers of bytes from outside, for the fuzz targets alone.

use http::HeaderMap;
use manifest::{ClusterId, GroupKind};

use crate::{ApiFailure, Claims, Sighting, request, watch::parse};

/// The object in one line of a watch; `None` if the line is refused or tells of none.
#[must_use]
pub fn watch_line(line: &[u8]) -> Option<Sighting> {
    let object = parse(line)?;
    Sighting::read(&ClusterId::new("c"), &GroupKind::new("", "ConfigMap"), object).ok()
}

/// The failure that an answer's body tells of.
#[must_use]
pub fn api_failure(status: u16, body: &[u8]) -> ApiFailure {
    request::parse_failure(status, &HeaderMap::new(), body)
}

/// What the managedFields of an object say.
#[must_use]
pub fn managed_fields(object: &[u8], field: &str) -> Option<Claims> {
    Some(crate::claims(object, &[field.parse().ok()?]))
}
