//! What is done with kept boxes besides working in them.

use super::record::Running;
use super::{BoxError, Boxes, Kept, layer, session};
use crate::facts::Facts;
use crate::images::{ImageError, Images};
use crate::plan::Ids;
use serde_json::json;
use std::fmt::Write;
use toolbox_store::{ImageId, StoreError};

/// A box and what it is doing.
struct Row {
    kept: Kept,
    running: Option<Running>,
    sessions: u64,
    size_bytes: Option<u64>,
}

fn row(kept: Kept, ids: Option<&Ids>) -> Row {
    let running = kept.running();
    let lock = super::lock::Lock::open(&kept.folder).and_then(|lock| lock.sessions());
    let size_bytes = layer::size_bytes(&kept, ids).ok();
    Row { sessions: if running.is_some() { lock.unwrap_or(0) } else { 0 }, running, size_bytes, kept }
}

/// All boxes, as text or JSON; and what cannot be read.
///
/// # Errors
/// The folder of boxes cannot be read.
pub fn list(boxes: &Boxes, facts: &Facts, json: bool) -> Result<(String, Vec<BoxError>), BoxError> {
    let (all, failures) = boxes.all()?;
    let rows = all.into_iter().map(|kept| {
        let ids = session::ids(&kept.record, facts);
        row(kept, ids.as_ref())
    });
    let rows: Vec<Row> = rows.collect();
    let text = if json { as_json(&rows) } else { as_table(&rows) };
    Ok((text, failures))
}

fn as_json(rows: &[Row]) -> String {
    let of = |row: &Row| {
        json!({
            "name": row.kept.name, "source": row.kept.record.source,
            "image": row.kept.record.image.as_ref().map(ImageId::as_str),
            "options": row.kept.record.options, "created": row.kept.record.created,
            "running": row.running.is_some(), "pid": row.running.as_ref().map(|running| running.pid),
            "keeper": row.running.as_ref().map(|running| running.keeper), "sessions": row.sessions,
            "size_bytes": row.size_bytes,
        })
    };
    serde_json::Value::from(rows.iter().map(of).collect::<Vec<_>>()).to_string()
}

fn as_table(rows: &[Row]) -> String {
    let mut text =
        format!("{:<20} {:>8} {:>8} {:>9}  {:<20} IMAGE", "NAME", "PID", "SESSIONS", "MiB", "CREATED");
    for row in rows {
        let pid = row.running.as_ref().map_or_else(|| "-".to_owned(), |running| running.pid.to_string());
        let size =
            row.size_bytes.map_or_else(|| "?".to_owned(), |size| format!("{:.1}", size as f64 / 1_048_576.0));
        let (name, record) = (&row.kept.name, &row.kept.record);
        // Writing to a String cannot fail.
        let _ = write!(
            text,
            "\n{name:<20} {pid:>8} {:>8} {size:>9}  {:<20} {}",
            row.sessions,
            time(record.created),
            record.source
        );
    }
    text
}

/// Seconds since 1970 as ISO 8601 has it, in UTC: the days of the civil calendar by Howard Hinnant's
/// `civil_from_days`.
fn time(seconds: u64) -> String {
    let (days, second) = ((seconds / 86_400) as i64 + 719_468, seconds % 86_400);
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
}

/// Removes a box, or an image: what has the name. Gives in words what was done.
///
/// # Errors
/// It runs, or is in use; or both a box and an image have the name.
pub fn remove(
    boxes: &Boxes,
    images: &Images,
    facts: &Facts,
    name: &str,
    only_box: bool,
) -> Result<String, BoxError> {
    let store = images.store();
    // What cannot be a box's name is an image's.
    let kept = match boxes.find(name) {
        Err(BoxError::Name(_)) if !only_box => None,
        other => other?,
    };
    let image = if only_box { None } else { store.find(name).ok() };
    match (kept, image) {
        (Some(_), Some(_)) => Err(BoxError::Both(name.to_owned())),
        (Some(kept), None) => {
            let ids = session::ids(&kept.record, facts);
            boxes.remove(&kept, ids.as_ref())?;
            Ok(format!("{name}: removed, with its layer"))
        }
        (None, None) if only_box => Err(BoxError::Unknown(name.to_owned())),
        (None, None) => Err(ImageError::from(StoreError::Unknown { name: name.to_owned() }).into()),
        (None, Some(id)) => {
            if let Some(kept) =
                boxes.every()?.into_iter().find(|kept| kept.record.image.as_ref() == Some(&id))
            {
                return Err(BoxError::Needed { image: name.to_owned(), name: kept.name });
            }
            let gone = store.remove(name).map_err(ImageError::from)?;
            let what = if gone { "removed" } else { "the name is gone, the image has others" };
            Ok(format!("{name}: {what}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_dates() {
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399, "2000-02-28T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(time(seconds), text);
        }
    }
}
