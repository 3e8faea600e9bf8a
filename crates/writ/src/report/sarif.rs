//! SARIF 2.1.0 (<https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html>): what is refused or held, with the register
//! of codes as rules.

use std::{collections::BTreeMap, fmt::Write as _};

use manifest::CodeEntry;
use serde_json::{Value, json};

use super::{Place, Refusal, Verification, short};
use crate::output::printable_lines;

/// Where the register of codes is read.
const REGISTER: &str = "https://writ.dev/docs/codes.md";
const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// The document.
pub(super) fn report(verification: &Verification) -> Result<String, serde_json::Error> {
    let rules: BTreeMap<&str, &CodeEntry> =
        verification.findings().map(|refusal| (refusal.entry.code, refusal.entry)).collect();
    let index = |code: &str| rules.keys().position(|known| *known == code);
    let results: Vec<Value> =
        verification.findings().map(|refusal| result(&refusal, index(refusal.entry.code))).collect();
    let rules: Vec<Value> = rules.values().map(|entry| rule(entry)).collect();
    let document = json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "writ", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    });
    serde_json::to_string(&document).map(|text| format!("{text}\n"))
}

fn rule(entry: &CodeEntry) -> Value {
    // The anchor that a heading `### W301 Unsigned` gets.
    let anchor = format!("{}-{}", entry.code, entry.reason).to_lowercase();
    json!({
        "id": entry.code,
        "name": entry.reason,
        "shortDescription": {"text": entry.reason},
        "fullDescription": {"text": entry.meaning},
        "help": {"text": entry.action},
        "helpUri": format!("{REGISTER}#{anchor}"),
        "defaultConfiguration": {"level": "error"},
    })
}

fn result(refusal: &Refusal<'_>, index: Option<usize>) -> Value {
    let id = refusal.commit.to_string();
    let mut location = json!({
        "logicalLocations": [{"name": short(&refusal.commit), "fullyQualifiedName": id, "kind": "commit"}],
    });
    if let (Some(place), Some(fields)) = (refusal.place, location.as_object_mut()) {
        fields.insert("physicalLocation".to_owned(), physical(place));
    }
    json!({
        "ruleId": refusal.entry.code,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": printable_lines(&refusal.text())},
        "locations": [location],
        "partialFingerprints": {"commit/v1": id},
    })
}

fn physical(place: &Place) -> Value {
    let mut physical = json!({"artifactLocation": {"uri": reference(&place.path), "uriBaseId": "%SRCROOT%"}});
    if let (Some(line), Some(fields)) = (place.line, physical.as_object_mut()) {
        let region = place
            .column
            .map_or_else(|| json!({"startLine": line}), |column| json!({"startLine": line, "startColumn": column}));
        fields.insert("region".to_owned(), region);
    }
    physical
}

/// A path as a relative reference by RFC 3986.
fn reference(path: &str) -> String {
    path.bytes().fold(String::with_capacity(path.len()), |mut uri, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ok = write!(uri, "%{byte:02X}");
        }
        uri
    })
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{held, hostile, sample},
        *,
    };

    #[test]
    fn refusals_with_their_rules_and_places() {
        let document: Value = serde_json::from_str(&report(&sample()).unwrap()).unwrap();
        let run = &document["runs"][0];
        assert_eq!((&document["version"], &run["tool"]["driver"]["name"]), (&json!("2.1.0"), &json!("writ")));
        let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
        assert_eq!(rules.iter().map(|rule| &rule["id"]).collect::<Vec<_>>(), ["W301", "W502"]);
        assert_eq!(rules[0]["helpUri"], "https://writ.dev/docs/codes.md#w301-unsigned");
        let (two, three) = ("02".repeat(20), "03".repeat(20));
        let expected = json!([
            {
                "ruleId": "W301", "ruleIndex": 0, "level": "error",
                "message": {"text": "commit 020202020202: unsigned; needed: a signature\nfix: git x && y"},
                "locations": [{"logicalLocations": [{"name": "020202020202", "fullyQualifiedName": two, "kind": "commit"}]}],
                "partialFingerprints": {"commit/v1": two},
            },
            {
                "ruleId": "W502", "ruleIndex": 1, "level": "error",
                "message": {"text": ".writ/a file.yaml:3:7: a mistake; needed: a signature\nfix: git x && y"},
                "locations": [{
                    "logicalLocations": [{"name": "030303030303", "fullyQualifiedName": three, "kind": "commit"}],
                    "physicalLocation": {
                        "artifactLocation": {"uri": ".writ/a%20file.yaml", "uriBaseId": "%SRCROOT%"},
                        "region": {"startLine": 3, "startColumn": 7},
                    },
                }],
                "partialFingerprints": {"commit/v1": three},
            },
        ]);
        assert_eq!(run["results"], expected);
    }

    #[test]
    fn what_is_held_is_a_result() {
        let document: Value = serde_json::from_str(&report(&held()).unwrap()).unwrap();
        let results = document["runs"][0]["results"].as_array().unwrap();
        let [result] = results.as_slice() else { panic!("{results:?}") };
        assert_eq!((&result["ruleId"], &result["level"]), (&json!("W304"), &json!("error")));
        assert_eq!(result["partialFingerprints"]["commit/v1"], "01".repeat(20));
    }

    /// The headings of the register are what the anchors name.
    #[test]
    fn the_anchor_is_that_of_the_register() {
        let register = include_str!("../../../../docs/codes.md");
        for entry in trust::TrustCode::ALL.iter().map(|code| code.entry()) {
            assert!(register.contains(&format!("\n### {} {}\n", entry.code, entry.reason)), "{}", entry.code);
        }
    }

    #[test]
    fn a_hostile_path_is_a_reference_and_hostile_text_is_text() {
        let text = report(&hostile()).unwrap();
        let document: Value = serde_json::from_str(&text).unwrap();
        let result = &document["runs"][0]["results"][0];
        let uri = result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].as_str().unwrap();
        assert!(uri.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~/%".contains(&byte)), "{uri}");
        let message = result["message"]["text"].as_str().unwrap();
        assert!(!message.contains('\u{1b}') && message.contains("<script>&\""), "{message}");
    }
}
