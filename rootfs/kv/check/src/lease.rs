//! Rules of leases beside the search's own, which lets no lease end early where that shows in keys.

use crate::Bounds;
use crate::history::{Answer, Body, Call, End, Given, History, Operation, Time};
use crate::report::{Rule, Violation};

struct Renewal<'h> {
    at: usize,
    lease: i64,
    seconds: i64,
    operation: &'h Operation,
}

/// Checks them.
pub fn check(history: &History, bounds: Bounds) -> Result<(), Violation> {
    let mut renewals = Vec::new();
    let mut seconds_of = std::collections::HashMap::new();
    for (at, operation) in history.operations.iter().enumerate() {
        if let Call::Grant { lease, seconds } = operation.call {
            seconds_of.insert(lease, seconds);
        }
        if let Call::Grant { lease, .. } | Call::KeepAlive(lease) = operation.call {
            let seconds = match operation.outcome {
                End::Answered(Answer { body: Body::Alive(seconds), .. }) if seconds > 0 => seconds,
                _ => 0,
            };
            renewals.push(Renewal { at, lease, seconds, operation });
        }
    }
    for renewal in &renewals {
        if let (Call::KeepAlive(_), End::Answered(_), 0) =
            (&renewal.operation.call, &renewal.operation.outcome, renewal.seconds)
        {
            gone_early(history, bounds, &renewals, renewal)?;
        }
    }
    let Some(calm) = history.calm else { return Ok(()) };
    for (at, operation) in history.operations.iter().enumerate() {
        if operation.serializable || operation.begin < calm {
            continue;
        }
        let Some(Answer { body: Body::Steps { given, .. }, .. }) = operation.answer() else { continue };
        for kv in
            given.iter().flat_map(|given| if let Given::Got(got) = given { got.as_slice() } else { &[] })
        {
            let Some(seconds) = seconds_of.get(&kv.lease) else { continue };
            // Also a renewal that nobody answered may have been one.
            let of = renewals.iter().filter(|renewal| renewal.lease == kv.lease);
            let last: Time = of.map(|renewal| renewal.operation.end).max().unwrap_or(0).max(calm);
            let longest = *seconds as u64 * 1000 * (1000 + bounds.drift_per_mille);
            if operation.begin > last + longest + bounds.slack_us {
                let text = format!(
                    "{:?} is there at {}, though its lease {:x} of {seconds} s was last renewed at {last}",
                    kv.key, operation.begin, kv.lease
                );
                return Err(Violation::new(Rule::LeaseLong, text).at(kv.modified).by([at]));
            }
        }
    }
    Ok(())
}

/// A renewal was told that there is no such lease.
fn gone_early(
    history: &History,
    bounds: Bounds,
    renewals: &[Renewal<'_>],
    told: &Renewal<'_>,
) -> Result<(), Violation> {
    let revoked = history.operations.iter().any(|operation| {
        operation.call == Call::Revoke(told.lease)
            && operation.begin <= told.operation.end
            && !matches!(operation.outcome, End::Refused(_))
    });
    let until = |renewal: &Renewal<'_>| {
        renewal.operation.begin + renewal.seconds as u64 * 1000 * (1000 - bounds.drift_per_mille.min(1000))
    };
    let alive = renewals.iter().find(|renewal| {
        renewal.lease == told.lease
            && renewal.seconds > 0
            && renewal.operation.end < told.operation.begin
            && until(renewal) > told.operation.end
    });
    match alive {
        Some(renewal) if !revoked => {
            let text = format!(
                "lease {:x} was renewed until {} at least, but was gone at {}",
                told.lease,
                until(renewal),
                told.operation.end
            );
            Err(Violation::new(Rule::LeaseShort, text).by([renewal.at, told.at]))
        }
        _ => Ok(()),
    }
}
