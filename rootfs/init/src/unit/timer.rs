//! `[Timer]` (systemd.timer(5)).

use super::config::{Special, Unit};
use super::directive::Scope;
use super::name::UnitName;
use super::{Fault, Kind, value};
use crate::time::Calendar;
use std::time::Duration;

/// From when a span is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each variant is the On…Sec key of the same name")]
pub enum Base {
    Active,
    Boot,
    Startup,
    UnitActive,
    UnitInactive,
}

/// `[Timer]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, as the manual has them")]
pub struct Timer {
    /// `OnActiveSec=` and its kin.
    pub monotonic: Vec<(Base, Duration)>,
    /// `OnCalendar=`.
    pub calendar: Vec<Calendar>,
    /// `OnClockChange=`.
    pub on_clock_change: bool,
    /// `OnTimezoneChange=`.
    pub on_timezone_change: bool,
    /// `AccuracySec=`.
    pub accuracy: Duration,
    /// `RandomizedDelaySec=`.
    pub randomized_delay: Duration,
    /// `FixedRandomDelay=`.
    pub fixed_random_delay: bool,
    /// `Persistent=`.
    pub persistent: bool,
    /// `RemainAfterElapse=`.
    pub remain_after_elapse: bool,
    /// `Unit=`.
    pub unit: Option<UnitName>,
}

impl Default for Timer {
    fn default() -> Self {
        Self {
            monotonic: Vec::new(),
            calendar: Vec::new(),
            on_clock_change: false,
            on_timezone_change: false,
            accuracy: Duration::from_mins(1),
            randomized_delay: Duration::ZERO,
            fixed_random_delay: false,
            persistent: false,
            remain_after_elapse: true,
            unit: None,
        }
    }
}

impl Timer {
    /// Whether nothing makes it elapse.
    pub fn is_empty(&self) -> bool {
        self.monotonic.is_empty()
            && self.calendar.is_empty()
            && !self.on_clock_change
            && !self.on_timezone_change
    }
}

/// `Unit=` of timers and paths, which defaults to the service of the same name.
pub(super) fn triggered(own: &UnitName, unit: Option<&UnitName>) -> Option<UnitName> {
    unit.cloned().or_else(|| UnitName::parse(&format!("{}.service", own.stem())).ok())
}

/// Reads a `Unit=` line.
pub(super) fn unit_key(at: &Scope<'_>, own: Kind) -> Result<Option<UnitName>, Fault> {
    let name =
        at.optional()?.map(|name| UnitName::parse(&name)).transpose().map_err(|why| at.invalid(why))?;
    if name.as_ref().is_some_and(|name| name.kind() == own || name.is_template()) {
        return Err(at.invalid(format_args!("want a unit that is neither a template nor a {}", own.suffix())));
    }
    Ok(name)
}

pub(super) fn section(unit: &mut Unit, at: &Scope<'_>) -> Result<(), Fault> {
    let Special::Timer(timer) = &mut unit.special else { return Err(at.no_section()) };
    let bases = [
        ("OnActiveSec", Base::Active),
        ("OnBootSec", Base::Boot),
        ("OnStartupSec", Base::Startup),
        ("OnUnitActiveSec", Base::UnitActive),
        ("OnUnitInactiveSec", Base::UnitInactive),
    ];
    let key = at.key();
    let base = bases.iter().find(|(known, _)| *known == key);
    if at.text().is_empty() && (base.is_some() || key == "OnCalendar") {
        // Any of them empties all: systemd.timer(5).
        timer.monotonic.clear();
        timer.calendar.clear();
        return Ok(());
    }
    if let Some((_, base)) = base {
        let span = value::span(&at.expanded()?).flatten();
        timer.monotonic.push((*base, at.want(span, "a time span that ends")?));
        return Ok(());
    }
    let span = || at.want(value::span(at.text()).flatten(), "a time span that ends");
    match key {
        "OnCalendar" => {
            timer.calendar.push(Calendar::parse(&at.expanded()?).map_err(|why| at.invalid(why))?);
        }
        "OnClockChange" => timer.on_clock_change = at.boolean_or(false)?,
        "OnTimezoneChange" => timer.on_timezone_change = at.boolean_or(false)?,
        "AccuracySec" => timer.accuracy = span()?,
        "RandomizedDelaySec" => timer.randomized_delay = span()?,
        "FixedRandomDelay" => timer.fixed_random_delay = at.boolean_or(false)?,
        "Persistent" => timer.persistent = at.boolean_or(false)?,
        "RemainAfterElapse" => timer.remain_after_elapse = at.boolean_or(true)?,
        "Unit" => timer.unit = unit_key(at, Kind::Timer)?,
        _ => return Err(at.unknown()),
    }
    Ok(())
}
