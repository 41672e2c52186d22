//! `NAME-VERSION.spdx.json`: a software bill of materials, SPDX 2.3.

use super::ids::Ids;
use crate::inputs::lock::{LockedFile, LockedPackage};
use serde_json::{Value, json};

/// The bill of an image built of these packages and files at `epoch` (seconds since 1970).
pub fn sbom(ids: Ids<'_>, epoch: i64, packages: &[LockedPackage], files: &[LockedFile]) -> Value {
    let image = "SPDXRef-image";
    let mut elements = vec![json!({
        "SPDXID": image,
        "name": ids.name,
        "versionInfo": ids.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "primaryPackagePurpose": "OPERATING-SYSTEM",
    })];
    let mut relations = vec![relation("SPDXRef-DOCUMENT", "DESCRIBES", image)];
    let parts = packages.iter().map(|package| {
        // purl-spec, type deb: the version's colon and tilde are percent-encoded where they must be.
        let version = package.version.replace('%', "%25").replace(':', "%3A").replace('+', "%2B");
        let purl = format!("pkg:deb/debian/{}@{version}?arch={}", package.name, package.architecture);
        (package.name.as_str(), package.version.as_str(), package.sha256, Some(purl))
    });
    let parts = parts.chain(files.iter().map(|file| (file.path.as_str(), "", file.sha256, None)));
    for (index, (name, version, hash, purl)) in parts.enumerate() {
        let id = format!("SPDXRef-input-{}", index + 1);
        let mut element = json!({
            "SPDXID": id,
            "name": name,
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": "NOASSERTION",
            "copyrightText": "NOASSERTION",
            "checksums": [{ "algorithm": "SHA256", "checksumValue": hash.to_string() }],
        });
        if !version.is_empty() {
            element["versionInfo"] = version.into();
        }
        if let Some(purl) = purl {
            element["externalRefs"] = json!([{
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": purl,
            }]);
        }
        elements.push(element);
        relations.push(relation(image, "CONTAINS", &id));
    }
    let unique: String = ids.uuid("sbom").iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{}-{}", ids.name, ids.version),
        "documentNamespace": format!("urn:slipway:sbom:{}:{}:{unique}", ids.name, ids.version),
        "creationInfo": {
            "created": utc(epoch),
            "creators": [format!("Tool: slipway-{}", env!("CARGO_PKG_VERSION"))],
        },
        "packages": elements,
        "relationships": relations,
    })
}

fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({ "spdxElementId": from, "relationshipType": kind, "relatedSpdxElement": to })
}

/// A time as `2026-01-01T00:00:00Z` (civil date by H. Hinnant's algorithm `civil_from_days`).
fn utc(epoch: i64) -> String {
    let (days, seconds) = (epoch.div_euclid(86_400), epoch.rem_euclid(86_400));
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 { month_index + 3 } else { month_index - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        // date -u -d @… +%FT%TZ
        assert_eq!(utc(0), "1970-01-01T00:00:00Z");
        assert_eq!(utc(1_767_225_600), "2026-01-01T00:00:00Z");
        assert_eq!(utc(951_827_696), "2000-02-29T12:34:56Z");
    }
}
