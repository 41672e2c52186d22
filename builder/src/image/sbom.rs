//! `NAME-VERSION.spdx.json`: a software bill of materials, SPDX 2.3.

use super::ids::Ids;
use crate::inputs::lock::{LockedFile, LockedPackage};
use crate::time::utc;
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
