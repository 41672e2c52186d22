//! User-data documents out of units.

use std::fmt::Write as _;

/// A `#cloud-config` document with these units (name, text), all of them enabled.
pub fn document(units: &[(&str, &str)]) -> String {
    let mut text = "#cloud-config\nunits:\n".to_owned();
    for (name, content) in units {
        // Writing into a string does not fail.
        let _ = writeln!(text, "  - name: {name}\n    enable: true\n    content: |");
        for line in content.lines() {
            let _ = writeln!(text, "      {line}");
        }
    }
    text
}

/// A unit that runs a shell script once at boot, after its dependencies, and shows what it says.
/// The script has no `"`; `$` and `%` are doubled, for they mean something in units.
pub fn oneshot(dependencies: &str, script: &str) -> String {
    format!(
        "[Unit]\n{dependencies}\n[Service]\nType=oneshot\nRemainAfterExit=yes\nStandardOutput=journal+console\n\
         StandardError=journal+console\nExecStart=/usr/bin/busybox sh -c \"{script}\"\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// A unit that switches the machine off once it is ready.
pub const POWER_OFF: (&str, &str) = (
    "off.service",
    "[Unit]\nAfter=multi-user.target\n[Service]\nExecStart=/usr/bin/systemctl poweroff\n\
     [Install]\nWantedBy=multi-user.target\n",
);
