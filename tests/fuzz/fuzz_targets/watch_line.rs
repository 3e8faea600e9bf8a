//! One line of a watch: whatever is read of the object is what its JSON says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|line: &[u8]| {
    let Some(sighting) = cluster::fuzzing::watch_line(line) else { return };
    // What nests too deeply for a tree may still be read past.
    let Ok(event) = serde_json::from_slice::<Value>(line) else { return };
    let metadata = &event["object"]["metadata"];
    assert_eq!(metadata["name"], sighting.reference.name.as_str());
    assert_eq!(metadata["uid"], sighting.uid.as_str());
    assert_eq!(metadata["namespace"].as_str(), sighting.reference.namespace.as_deref());
    assert_eq!(metadata["labels"]["writ.dev/instance"].as_str(), sighting.instance.as_deref());
});
