//! What one boot leaves on STATE, the next one finds.

use journal::{Query, Span};
use qemu_tests::{Boot, Disk, Image, POWER_OFF, document, give, oneshot, row};

#[test]
fn state_the_machine_id_and_the_journal_are_kept() {
    let image = Image::older();
    let disk = Disk::of(&image);
    let script = "busybox cat /var/lib/left; echo left by boot one >> /var/lib/left; \
                  echo id is `busybox cat /etc/machine-id`";
    let user_data = document(&[("leave.service", &oneshot("", script)), POWER_OFF]);
    let mut consoles = Vec::new();
    for _ in 0..2 {
        let mut spec = Boot::direct(&disk, &image);
        give(&mut spec, &disk, &user_data);
        let mut boot = Boot::start(&spec);
        boot.ready();
        consoles.push(boot.ends_by("guest-shutdown"));
        disk.assert_state_clean();
    }
    assert_eq!(row(&consoles[0], "state"), "formatted");
    assert_eq!(row(&consoles[1], "state"), "kept");
    assert!(!consoles[0].contains("left by boot one"));
    assert!(consoles[1].contains("left by boot one"));

    let id = |console: &str| console.split_once("id is ").unwrap().1.chars().take(32).collect::<String>();
    assert_eq!(id(&consoles[0]), id(&consoles[1]));
    assert!(id(&consoles[0]).bytes().all(|byte| byte.is_ascii_hexdigit()), "{}", consoles[0]);

    let folder = disk.journal();
    assert_eq!(journal::boots(&folder).unwrap().len(), 2);
    let query = Query::field("_SYSTEMD_UNIT", "leave.service");
    let entries = journal::read(&folder, &query, Span::default(), false).unwrap();
    let said: Vec<String> = entries.map(|entry| entry.text("MESSAGE")).collect();
    assert_eq!(said.iter().filter(|line| *line == "left by boot one").count(), 1, "{said:#?}");
}
