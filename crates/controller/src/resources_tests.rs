//! Who is named as the author of an order that nobody signed.

use serde_json::{Value, json};

use super::last_writer;

fn writer(managers: &Value) -> Option<String> {
    last_writer(&serde_json::from_value(json!({ "managedFields": managers })).unwrap())
}

fn entry(manager: &str, time: &str, fields: &Value, subresource: Option<&str>) -> Value {
    json!({
        "manager": manager, "operation": "Update", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields, "subresource": subresource,
    })
}

#[test]
fn who_wrote_the_spec_is_named_and_nobody_else() {
    let spec = || json!({"f:spec": {"f:path": {}}});
    let metadata = || json!({"f:metadata": {"f:annotations": {}}});
    let edit = entry("kubectl-edit", "2026-11-23T10:00:00Z", &spec(), None);
    let later = [
        entry("kubectl-annotate", "2026-11-23T11:00:00Z", &metadata(), None),
        entry(cluster::PARENT_MANAGER, "2026-11-23T11:00:00Z", &metadata(), None),
        entry(cluster::FIELD_MANAGER, "2026-11-23T11:00:00Z", &spec(), None),
        entry("somebody", "2026-11-23T11:00:00Z", &json!({"f:status": {}}), Some("status")),
    ];
    for other in &later {
        assert_eq!(writer(&json!([edit, other])).as_deref(), Some("kubectl-edit"), "{other}");
        assert_eq!(writer(&json!([other])), None);
    }
    let earlier = entry("helm", "2026-11-22T10:00:00Z", &spec(), None);
    assert_eq!(writer(&json!([earlier, edit])).as_deref(), Some("kubectl-edit"));
}
