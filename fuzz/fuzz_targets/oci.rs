//! The documents of images, and names of images. Never a panic; what is chosen is one of the
//! entries, and a name that is read is written and read again as the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use toolbox_store::oci::document::{self, Index, Manifest, Saved};
use toolbox_store::{Digest, Reference};

fuzz_target!(|input: &[u8]| {
    if let Ok(index) = document::parse::<Index>("index", input) {
        for chosen in [index.choose(None), index.choose(Some("latest")), index.for_machine()] {
            if let Ok(chosen) = chosen {
                assert!(index.manifests.iter().any(|entry| std::ptr::eq(entry, chosen)));
                if let Ok(digest) = chosen.digest.parse::<Digest>() {
                    assert_eq!(digest.to_string(), chosen.digest);
                }
            }
        }
    }
    let _ = document::parse::<Manifest>("manifest", input);
    let _ = document::parse::<Vec<Saved>>("manifest.json", input);
    let _ = document::config(input);
    let _ = document::media_type(input);
    if let Some(reference) = std::str::from_utf8(input).ok().and_then(|text| text.parse::<Reference>().ok()) {
        assert_eq!(reference.to_string().parse::<Reference>().ok().as_ref(), Some(&reference));
    }
});
