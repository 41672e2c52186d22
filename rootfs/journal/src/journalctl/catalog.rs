//! What `-x` adds to an entry: an explanation of its `MESSAGE_ID`, and what to do.
//!
//! The ids are those of systemd's sd-messages.h, the words are for this machine. `@FIELD@`
//! stands for the entry's field.

use crate::entry::Entry;
use std::io::{self, Write};

/// Id, subject, explanation.
const CATALOG: [(&str, &str, &str); 11] = [
    (
        "7d4958e842da4a758f6c1cdc7b36dcc5",
        "A start job of @UNIT@ has begun",
        "Its processes are being started. The job's number is @JOB_ID@.",
    ),
    (
        "39f53479d3a045ac8e11786248231fbf",
        "@UNIT@ is up",
        "Its start job has ended well. The job's number is @JOB_ID@.",
    ),
    (
        "be02cf6855d2428ba40df7e9d022f03d",
        "A start job of @UNIT@ has failed",
        "The job's number is @JOB_ID@, its result `@JOB_RESULT@`.\n\
         `systemctl status @UNIT@` and `journalctl -u @UNIT@` show why; with the result `dependency`, look\n\
         for the unit that it needs: `systemctl list-dependencies @UNIT@`.",
    ),
    (
        "de5b426a63be47a7b6ac3eaac82e2f6f",
        "A stop job of @UNIT@ has begun",
        "Its processes are being ended. The job's number is @JOB_ID@.",
    ),
    (
        "9d1aaa27d60140bd96365438aad20286",
        "@UNIT@ is down",
        "Its stop job is done. The job's number is @JOB_ID@.",
    ),
    (
        "7b05ebc668384222baa8881179cfda54",
        "@UNIT@ was reloaded",
        "It has read its configuration again. The job's number is @JOB_ID@.",
    ),
    (
        "d9b373ed55a64feb8242e02dbe79a49c",
        "@UNIT@ has failed",
        "Its result is `@UNIT_RESULT@` (systemd.exec(5), SERVICE_RESULT). `systemctl reset-failed @UNIT@`\n\
         forgets it.",
    ),
    (
        "98e322203f7a4ed290d09fe03c09fe15",
        "A process of @UNIT@ has ended",
        "The process @COMMAND@ has ended: @EXIT_CODE@, status @EXIT_STATUS@.",
    ),
    (
        "5eb03494b6584870a536b337290809b3",
        "@UNIT@ is being started again",
        "Its `Restart=` wants so; it was started again @N_RESTARTS@ times.",
    ),
    (
        "f77379a8490b408bbe5f6940505a777b",
        "The journal was started",
        "systemd-journald.service takes entries from now on.",
    ),
    (
        "a596d6fe7bfa4994828e72309e95d61e",
        "Messages of a unit were dropped",
        "It said more than its rate limit lets through: `RateLimitIntervalSec=` and `RateLimitBurst=` in\n\
         /etc/systemd/journald.conf, `LogRateLimitBurst=` in its unit file.",
    ),
];

/// Writes the explanation of an entry, if there is one.
///
/// # Errors
/// The writer's.
pub(super) fn write(entry: &Entry, out: &mut impl Write) -> io::Result<()> {
    let id = entry.text("MESSAGE_ID").to_ascii_lowercase();
    let Some((_, subject, text)) = CATALOG.iter().find(|(known, ..)| *known == id) else { return Ok(()) };
    writeln!(out, "░░ Subject: {}", filled(subject, entry))?;
    writeln!(out, "░░ Defined-By: slipway")?;
    writeln!(out, "░░ ")?;
    filled(text, entry).lines().try_for_each(|line| writeln!(out, "░░ {line}"))
}

/// With the entry's fields; the name of one that it does not have stays.
fn filled(text: &str, entry: &Entry) -> String {
    let parts = text.split('@').enumerate().map(|(number, part)| match entry.get(part) {
        Some(value) if number % 2 == 1 => {
            String::from_utf8_lossy(value).chars().filter(|c| !c.is_control()).collect()
        }
        _ => part.to_owned(),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explanations_have_the_entrys_fields() {
        let fields = ["MESSAGE_ID=39f53479d3a045ac8e11786248231fbf", "UNIT=a.service\u{1b}"];
        let entry = Entry {
            fields: fields.iter().map(|field| field.as_bytes().to_vec()).collect(),
            ..Entry::default()
        };
        let mut out = Vec::new();
        write(&entry, &mut out).unwrap();
        let expected = "░░ Subject: a.service is up\n░░ Defined-By: slipway\n░░ \n\
                        ░░ Its start job has ended well. The job's number is JOB_ID.\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
        for (id, subject, text) in CATALOG {
            assert!(id.len() == 32 && !subject.is_empty() && text.split('@').count() % 2 == 1, "{id}");
        }
        let mut out = Vec::new();
        write(&Entry::default(), &mut out).unwrap();
        assert!(out.is_empty());
    }
}
