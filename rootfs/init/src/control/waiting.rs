//! Tables of what waits to start something: `systemctl list-timers` and `list-sockets`.

use super::UnitStatus;
use super::usage::span;
use journal::time::Civil;

/// The two clocks at one moment, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// `CLOCK_BOOTTIME`.
    pub(super) boot_us: u64,
    /// Since 1970.
    pub(super) wall_us: u64,
}

/// Timers, the one that elapses first on top; those that will not at the end.
pub(super) fn timers(units: &[UnitStatus], now: Now) -> String {
    let mut found: Vec<&UnitStatus> = units.iter().filter(|unit| unit.id.ends_with(".timer")).collect();
    let next = |unit: &UnitStatus| Some(unit.next_elapse_us).filter(|next| *next != 0);
    found.sort_by_key(|unit| (next(unit).unwrap_or(u64::MAX), unit.id.clone()));
    let rows = found.into_iter().map(|unit| {
        let (at, left) = match next(unit) {
            None => ("-".to_owned(), "-".to_owned()),
            Some(next) => {
                let left = next.saturating_sub(now.boot_us);
                (Civil::from_us(now.wall_us + left).full(), span(left))
            }
        };
        let (last, passed) = match u64::try_from(unit.last_trigger_wall_us) {
            Ok(last) if last > 0 => {
                (Civil::from_us(last).full(), format!("{} ago", span(now.wall_us.saturating_sub(last))))
            }
            _ => ("-".to_owned(), "-".to_owned()),
        };
        vec![at, left, last, passed, unit.id.clone(), activates(unit)]
    });
    table(["NEXT", "LEFT", "LAST", "PASSED", "UNIT", "ACTIVATES"], rows.collect(), "timers")
}

/// Sockets, a row for each address.
pub(super) fn sockets(units: &[UnitStatus]) -> String {
    let sockets = units.iter().filter(|unit| unit.id.ends_with(".socket"));
    let rows = sockets
        .flat_map(|unit| unit.listen.iter().map(|at| vec![at.clone(), unit.id.clone(), activates(unit)]));
    let mut rows: Vec<_> = rows.collect();
    rows.sort();
    table(["LISTEN", "UNIT", "ACTIVATES"], rows, "sockets")
}

/// A table without its head and its sum.
pub(super) fn rows_only(text: &str) -> String {
    text.lines().skip(1).take_while(|line| !line.is_empty()).map(|line| format!("{line}\n")).collect()
}

fn activates(unit: &UnitStatus) -> String {
    let names = unit.relations.iter().filter(|(relation, _)| relation == "Triggers");
    names.flat_map(|(_, names)| names.clone()).collect::<Vec<_>>().join(" ")
}

fn table<const N: usize>(head: [&str; N], rows: Vec<Vec<String>>, what: &str) -> String {
    let count = rows.len();
    let head: Vec<String> = head.map(str::to_owned).into();
    let all: Vec<Vec<String>> = [head].into_iter().chain(rows).collect();
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let lines = all.iter().map(|row| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("{}\n", cells.join(" ").trim_end())
    });
    format!("{}\n{count} {what} listed.\n", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(id: &str, triggers: &str) -> UnitStatus {
        let relations = vec![("Triggers".to_owned(), vec![triggers.to_owned()])];
        UnitStatus { id: id.to_owned(), relations, ..UnitStatus::default() }
    }

    #[test]
    fn timers_come_in_the_order_in_which_they_elapse() {
        let now = Now { boot_us: 60_000_000, wall_us: 1_795_370_709_000_000 };
        let late = UnitStatus { next_elapse_us: 3_660_000_000, ..unit("late.timer", "late.service") };
        let soon = UnitStatus {
            next_elapse_us: 65_000_000,
            last_trigger_wall_us: 1_795_370_704_000_000,
            ..unit("soon.timer", "soon.service")
        };
        let shown = timers(&[unit("never.timer", "never.service"), late, soon, unit("x.socket", "x")], now);
        assert_eq!(
            shown,
            "NEXT                        LEFT    LAST                        PASSED     UNIT        ACTIVATES
Sun 2026-11-22 18:05:14 UTC 5.000s  Sun 2026-11-22 18:05:04 UTC 5.000s ago soon.timer  soon.service
Sun 2026-11-22 19:05:09 UTC 1h 0min -                           -          late.timer  late.service
-                           -       -                           -          never.timer never.service

3 timers listed.
"
        );
    }

    #[test]
    fn a_socket_has_a_row_for_each_address() {
        let two =
            UnitStatus { listen: vec!["[::]:22".into(), "/run/x".into()], ..unit("a.socket", "a.service") };
        assert_eq!(
            sockets(&[two, unit("a.service", "b")]),
            "LISTEN  UNIT     ACTIVATES\n/run/x  a.socket a.service\n[::]:22 a.socket a.service\n\n2 sockets listed.\n"
        );
    }
}
