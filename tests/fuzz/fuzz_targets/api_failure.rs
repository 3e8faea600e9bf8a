//! The body of a failed request: of the server's words none gets into what is shown of every object.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|body: &[u8]| {
    let failure = cluster::fuzzing::api_failure(422, body);
    assert!(failure.causes.len() <= 20);
    let Ok(mut status) = serde_json::from_slice::<Value>(body) else { return };
    // Without keys that are there twice.
    let failure = cluster::fuzzing::api_failure(422, &serde_json::to_vec(&status).expect("JSON"));
    hush(&mut status);
    if let Some(causes) = status.pointer_mut("/details/causes").and_then(Value::as_array_mut) {
        causes.iter_mut().for_each(hush);
    }
    let hushed = cluster::fuzzing::api_failure(422, &serde_json::to_vec(&status).expect("JSON"));
    assert_eq!(failure.reduced(), hushed.reduced());
});

/// Takes the words away, if there are any.
fn hush(of: &mut Value) {
    if let Some(message) = of.get_mut("message").filter(|message| message.is_string()) {
        *message = Value::from("");
    }
}
