//! bundle.json, and all that is made of one that is accepted.

#![no_main]

use libfuzzer_sys::fuzz_target;
use provision::bundle::{BundleManifest, Labels, contents, cyclonedx, html, spdx, text};

fuzz_target!(|input: &str| {
    if let Ok(manifest) = BundleManifest::from_json(input, "bundle.json") {
        let labels = Labels::new();
        let _ = (cyclonedx(&manifest, &labels), spdx(&manifest, &labels));
        let contents = contents(&manifest, &labels);
        let _ = text(&contents);
        html(&contents).expect("whatever is in a manifest can be shown");
    }
});
