//! An image spec. Never a panic or a deep recursion; refused with problems that have places
//! within the text, or taken with the sizes and the name that the planner relies on.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slipway::spec::Spec;
use std::path::Path;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    match Spec::read(text, Path::new("image.yaml")) {
        Err(problems) => {
            assert!(!problems.is_empty());
            let lines = text.split(['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}']).count();
            for problem in problems {
                assert!(problem.place.line >= 1 && problem.place.line <= lines + 1, "{problem}");
            }
        }
        Ok(spec) => {
            assert!(!spec.name.is_empty() && !spec.name.contains(['/', '\0', '\n']));
            assert!(!spec.outputs.is_empty());
            for size in [spec.sizes.esp, spec.sizes.slot, spec.sizes.state] {
                assert!(size > 0 && size % (1 << 20) == 0);
            }
            let paths =
                spec.files.iter().map(|file| &file.path).chain(spec.links.iter().map(|link| &link.path));
            for path in paths {
                assert!(!path.is_empty() && !path.starts_with(b"/"));
                assert!(path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b"..")));
            }
        }
    }
});
