//! Limits of a unit's cgroup: systemd.resource-control(5) to the files of cgroup-v2.rst.

use super::Fault;
use super::directive::Scope;
use super::value;
use std::collections::BTreeMap;

/// A limit of one block device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceLimit {
    /// A device node, or a path on its file system.
    pub path: String,
    /// `io.max`, `io.weight` or `io.latency`.
    pub file: &'static str,
    /// What is written behind the device's numbers.
    pub text: String,
}

/// All limits of a unit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Files with what is written into them.
    pub files: BTreeMap<&'static str, String>,
    /// The same while the machine boots, of the keys that begin with `Startup`.
    pub startup: BTreeMap<&'static str, String>,
    /// Of devices.
    pub devices: Vec<DeviceLimit>,
    /// `CPUQuota=` in 1/10 per mille of a processor.
    quota: Option<u64>,
    /// `CPUQuotaPeriodSec=`, microseconds.
    period_us: Option<u64>,
}

/// The keys of this file.
pub(super) const KEYS: &str = " MemoryMax MemoryHigh MemorySwapMax MemoryZSwapMax MemoryMin MemoryLow MemoryLimit \
    TasksMax CPUWeight CPUShares CPUQuota CPUQuotaPeriodSec AllowedCPUs AllowedMemoryNodes IOWeight \
    IODeviceWeight IOReadBandwidthMax IOWriteBandwidthMax IOReadIOPSMax IOWriteIOPSMax IODeviceLatencyTargetSec \
    BlockIOWeight BlockIODeviceWeight BlockIOReadBandwidth BlockIOWriteBandwidth MemoryAccounting \
    TasksAccounting CPUAccounting IOAccounting BlockIOAccounting StartupCPUWeight StartupCPUShares \
    StartupIOWeight StartupBlockIOWeight StartupAllowedCPUs StartupAllowedMemoryNodes StartupMemoryLow \
    StartupMemoryHigh StartupMemoryMax StartupMemorySwapMax ";

/// The default period, in which a quota of 100 % is 100 ms of one processor.
const PERIOD_US: u64 = 100_000;

/// Applies such a key; `None` if it is another key.
pub(super) fn apply(resources: &mut Resources, at: &Scope<'_>) -> Option<Result<(), Fault>> {
    KEYS.split_ascii_whitespace().any(|known| known == at.key()).then(|| {
        let Some(key) = at.key().strip_prefix("Startup") else { return assign(resources, at.key(), at) };
        if at.text().is_empty() {
            // Unset: during the boot holds what holds after it.
            for file in files_of(key) {
                resources.startup.remove(file);
            }
            return Ok(());
        }
        let mut during = Resources::default();
        assign(&mut during, key, at)?;
        for file in files_of(key) {
            resources.startup.remove(file);
        }
        resources.startup.extend(during.files);
        Ok(())
    })
}

/// The files that a key with a `Startup` form writes.
fn files_of(key: &str) -> &'static [&'static str] {
    match key {
        "CPUWeight" | "CPUShares" => &["cpu.weight", "cpu.idle"],
        "IOWeight" | "BlockIOWeight" => &["io.weight"],
        "AllowedCPUs" => &["cpuset.cpus"],
        "AllowedMemoryNodes" => &["cpuset.mems"],
        "MemoryLow" => &["memory.low"],
        "MemoryHigh" => &["memory.high"],
        "MemoryMax" => &["memory.max"],
        "MemorySwapMax" => &["memory.swap.max"],
        _ => &[],
    }
}

/// What a new cgroup has in such a file (cgroup-v2.rst).
fn initial(file: &str) -> &'static str {
    match file {
        "cpu.weight" => "100",
        "io.weight" => "default 100",
        "cpu.idle" | "memory.low" => "0",
        "cpuset.cpus" | "cpuset.mems" => "\n",
        _ => "max",
    }
}

impl Resources {
    /// What holds while the machine boots, or after it: then what held only during the boot is taken
    /// back.
    #[must_use]
    pub fn effective(&self, booting: bool) -> Self {
        let mut found = self.clone();
        for (file, text) in &self.startup {
            if booting {
                found.files.insert(file, text.clone());
            } else {
                found.files.entry(file).or_insert_with(|| initial(file).to_owned());
            }
        }
        found
    }
}

fn assign(resources: &mut Resources, key: &str, at: &Scope<'_>) -> Result<(), Fault> {
    let weight = |text: &str| text.parse::<u64>().ok().filter(|n| (1..=10_000).contains(n));
    let file = match key {
        "MemoryMax" | "MemoryLimit" => ("memory.max", bytes(at)?),
        "MemoryHigh" => ("memory.high", bytes(at)?),
        "MemorySwapMax" => ("memory.swap.max", bytes(at)?),
        "MemoryZSwapMax" => ("memory.zswap.max", bytes(at)?),
        "MemoryMin" => ("memory.min", low(at)?),
        "MemoryLow" => ("memory.low", low(at)?),
        "TasksMax" => ("pids.max", tasks(at)?),
        "CPUWeight" => match at.text() {
            "idle" => {
                resources.files.remove("cpu.weight");
                ("cpu.idle", "1".to_owned())
            }
            "" => ("cpu.weight", "100".to_owned()),
            text => ("cpu.weight", at.want(weight(text), "idle, or a weight from 1 to 10000")?.to_string()),
        },
        // 1024 shares are a weight of 100: systemd maps them in proportion.
        "CPUShares" => {
            let shares = if at.text().is_empty() { 1024 } else { at.number(2..=262_144_u64)? };
            ("cpu.weight", (shares * 100 / 1024).clamp(1, 10_000).to_string())
        }
        "CPUQuota" | "CPUQuotaPeriodSec" => return quota(resources, at),
        "AllowedCPUs" => ("cpuset.cpus", list(at)?),
        "AllowedMemoryNodes" => ("cpuset.mems", list(at)?),
        "IOWeight" => match at.text() {
            "" => ("io.weight", "default 100".to_owned()),
            text => ("io.weight", format!("default {}", at.want(weight(text), "a weight from 1 to 10000")?)),
        },
        "BlockIOWeight" => {
            let old = if at.text().is_empty() { 500 } else { at.number(10..=1000_u64)? };
            ("io.weight", format!("default {}", from_block_weight(old)))
        }
        // Accounting is always on in cgroup v2, so both values are already met or harmless.
        "MemoryAccounting" | "TasksAccounting" | "CPUAccounting" | "IOAccounting" | "BlockIOAccounting" => {
            return at.boolean_or(true).map(|_| ());
        }
        _ => return device(resources, at),
    };
    resources.files.insert(file.0, file.1);
    Ok(())
}

/// 500 was the middle of the old scale, 100 is that of the new.
fn from_block_weight(old: u64) -> u64 {
    (old * 100 / 500).clamp(1, 10_000)
}

/// A size, `infinity`, or per cent of the machine's memory.
fn bytes(at: &Scope<'_>) -> Result<String, Fault> {
    let found = match at.text() {
        "" | "infinity" => return Ok("max".to_owned()),
        text => match text.strip_suffix('%') {
            Some(percent) => share(percent, total_memory()),
            None => value::size(text),
        },
    };
    Ok(at.want(found, "a size such as 1G, per cent, or infinity")?.to_string())
}

/// As [`bytes`], where the default is none.
fn low(at: &Scope<'_>) -> Result<String, Fault> {
    if at.text().is_empty() { Ok("0".to_owned()) } else { bytes(at) }
}

fn share(percent: &str, of: u64) -> Option<u64> {
    let percent = percent.parse::<f64>().ok().filter(|percent| (0.0..=100.0).contains(percent))?;
    Some((of as f64 * percent / 100.0) as u64)
}

fn total_memory() -> u64 {
    nix::sys::sysinfo::sysinfo().map_or(u64::MAX, |info| info.ram_total())
}

fn tasks(at: &Scope<'_>) -> Result<String, Fault> {
    let found = match at.text() {
        "" | "infinity" => return Ok("max".to_owned()),
        // Of what the kernel allows by default (pid_max of 64-bit kernels, systemd: `system_tasks_max`).
        text => match text.strip_suffix('%') {
            Some(percent) => share(percent, 4_194_304),
            None => value::size(text),
        },
    };
    Ok(at.want(found.filter(|n| *n > 0), "a number, per cent, or infinity")?.to_string())
}

fn list(at: &Scope<'_>) -> Result<String, Fault> {
    let numbers = at.want(value::number_list(at.text()), "numbers such as 0 2-3")?;
    Ok(numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

fn quota(resources: &mut Resources, at: &Scope<'_>) -> Result<(), Fault> {
    if at.key() == "CPUQuota" {
        resources.quota = match at.text() {
            "" => None,
            text => {
                let percent = text.strip_suffix('%').and_then(|text| text.trim().parse::<f64>().ok());
                let percent = percent.filter(|percent| *percent > 0.0 && *percent < 1e9);
                Some((at.want(percent, "per cent of one processor, such as 20%")? * 100.0) as u64)
            }
        };
    } else {
        resources.period_us = match at.text() {
            "" => None,
            _ => {
                let span = at.want(at.span()?, "a time span that ends")?;
                // The kernel takes 1 ms to 1 s (cgroup-v2.rst, cpu.max).
                Some((span.as_micros() as u64).clamp(1000, 1_000_000))
            }
        };
    }
    let period = resources.period_us.unwrap_or(PERIOD_US);
    let text = match resources.quota {
        None => format!("max {period}"),
        Some(quota) => format!("{} {period}", (quota * period / 10_000).max(1000)),
    };
    resources.files.insert("cpu.max", text);
    Ok(())
}

fn device(resources: &mut Resources, at: &Scope<'_>) -> Result<(), Fault> {
    let (file, key) = match at.key() {
        "IOReadBandwidthMax" | "BlockIOReadBandwidth" => ("io.max", "rbps"),
        "IOWriteBandwidthMax" | "BlockIOWriteBandwidth" => ("io.max", "wbps"),
        "IOReadIOPSMax" => ("io.max", "riops"),
        "IOWriteIOPSMax" => ("io.max", "wiops"),
        "IODeviceLatencyTargetSec" => ("io.latency", "target"),
        "IODeviceWeight" | "BlockIODeviceWeight" => ("io.weight", ""),
        _ => return Err(at.unknown()),
    };
    if at.text().is_empty() {
        resources.devices.retain(|limit| limit.file != file || !limit.text.starts_with(key));
        return Ok(());
    }
    let words = at.words()?;
    let [path, limit] = words.as_slice() else { return Err(at.invalid("want a path and a limit")) };
    if !path.starts_with('/') {
        return Err(at.invalid("want an absolute path"));
    }
    let text = match at.key() {
        "IODeviceLatencyTargetSec" => {
            let span = value::span(limit).flatten();
            format!("target={}", at.want(span, "a time span such as 25ms")?.as_micros())
        }
        "IODeviceWeight" | "BlockIODeviceWeight" => {
            let weight = limit.parse::<u64>().ok().filter(|n| (1..=10_000).contains(n));
            let weight = at.want(weight, "a weight from 1 to 10000")?;
            if at.key() == "IODeviceWeight" {
                weight.to_string()
            } else {
                from_block_weight(weight).to_string()
            }
        }
        _ if limit == "infinity" => format!("{key}=max"),
        // Bandwidths count in thousands (systemd.resource-control(5)).
        _ => format!(
            "{key}={}",
            at.want(value::size_decimal(limit), "a number with K, M, G or T, or infinity")?
        ),
    };
    resources.devices.push(DeviceLimit { path: path.clone(), file, text });
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::unit::load::apply_text;
    use crate::unit::{Facts, LoadState, Unit, UnitName};
    use std::path::Path;

    #[test]
    fn limits_of_the_boot_are_taken_back() {
        let mut unit = Unit::new(UnitName::parse("a.service").unwrap(), LoadState::Loaded);
        let text = "[Service]\nCPUWeight=50\nStartupCPUWeight=900\nStartupIOWeight=20\nStartupMemoryMax=1M\n\
                    StartupMemoryHigh=1M\nStartupMemoryHigh=\nStartupAllowedCPUs=0-1\n";
        assert_eq!(apply_text(&mut unit, Path::new("x"), text.as_bytes(), &Facts::default()), []);
        let resources = &unit.service.as_ref().unwrap().context.cgroup;
        let of = |booting: bool, file: &str| resources.effective(booting).files.get(file).cloned();
        for (file, during, after) in [
            ("cpu.weight", Some("900"), Some("50")),
            ("io.weight", Some("default 20"), Some("default 100")),
            ("memory.max", Some("1048576"), Some("max")),
            ("cpuset.cpus", Some("0,1"), Some("\n")),
            ("memory.high", None, None),
        ] {
            assert_eq!((of(true, file).as_deref(), of(false, file).as_deref()), (during, after), "{file}");
        }
    }
}
