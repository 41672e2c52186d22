//! Dates of the Gregorian calendar and seconds since 1970-01-01 00:00.

/// A date and time of day without a zone. Fields may be out of range until [`Civil::normalized`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each field is what its name says")]
pub struct Civil {
    pub year: i64,
    /// From 1.
    pub month: i64,
    /// From 1.
    pub day: i64,
    pub hour: i64,
    pub minute: i64,
    pub second: i64,
    pub microsecond: i64,
}

/// Days of a month (from 1).
pub(super) fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 (`days_from_civil` of H. Hinnant's "chrono-compatible low-level date
/// algorithms").
pub(super) fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let of_era = year.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

/// The day of the week, Monday is 0.
pub(super) fn weekday(year: i64, month: i64, day: i64) -> i64 {
    (days(year, month, day) + 3).rem_euclid(7)
}

impl Civil {
    /// Of seconds since 1970-01-01 00:00 in the same zone, and microseconds.
    pub fn from_seconds(seconds: i64, microsecond: i64) -> Self {
        let (day, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let shifted = day + 719_468;
        let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let part = (5 * of_year + 2) / 153;
        let month = if part < 10 { part + 3 } else { part - 9 };
        Self {
            year: year + era * 400 + i64::from(month <= 2),
            month,
            day: of_year - (153 * part + 2) / 5 + 1,
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
            microsecond,
        }
    }

    /// Seconds since 1970-01-01 00:00 in the same zone; takes months from 1 to 12 and anything
    /// else out of range.
    pub fn seconds(&self) -> i64 {
        days(self.year, self.month, self.day) * 86_400 + self.hour * 3600 + self.minute * 60 + self.second
    }

    /// The same moment with every field in its range, as mktime(3) does.
    #[must_use]
    pub fn normalized(mut self) -> Self {
        self.year += (self.month - 1).div_euclid(12);
        self.month = (self.month - 1).rem_euclid(12) + 1;
        Self::from_seconds(self.seconds(), self.microsecond)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for day in (-200_000..200_000).step_by(7) {
            let civil = Civil::from_seconds(day * 86_400 + 3_723, 5);
            assert_eq!(civil.seconds(), day * 86_400 + 3_723);
            assert!(civil.day <= days_in_month(civil.year, civil.month), "{civil:?}");
        }
        let odd = Civil { year: 2023, month: 14, day: 31, hour: 25, minute: 61, second: 61, microsecond: 0 };
        let odd = odd.normalized();
        assert_eq!((odd.year, odd.month, odd.day, odd.hour, odd.minute, odd.second), (2024, 3, 3, 2, 2, 1));
        assert_eq!(weekday(2026, 11, 24), 1);
    }
}
