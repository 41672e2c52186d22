//! Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};

use super::number::Histogram;

/// A page that is being written.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// What was written.
    pub fn finish(self) -> String {
        self.0
    }

    /// Begins a family. Its samples must follow before the next one.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// A sample of the family.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        self.put(format_args!(" {value}\n"));
    }

    /// A counter without labels.
    pub fn counter(&mut self, name: &str, help: &str, value: u64) {
        self.family(name, "counter", help);
        self.sample(name, &[], value);
    }

    /// A gauge without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.family(name, "gauge", help);
        self.sample(name, &[], value);
    }

    /// A histogram without labels.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.family(name, "histogram", help);
        self.buckets(name, &[], histogram);
    }

    /// The samples of a histogram.
    pub fn buckets(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let (up_to, count, sum) = histogram.totals();
        for (bound, below) in histogram.bounds().iter().zip(up_to) {
            self.put(format_args!("{name}_bucket"));
            self.labels(labels, Some(&bound.to_string()));
            self.put(format_args!(" {below}\n"));
        }
        self.put(format_args!("{name}_bucket"));
        self.labels(labels, Some("+Inf"));
        self.put(format_args!(" {count}\n{name}_sum"));
        self.labels(labels, None);
        self.put(format_args!(" {sum}\n{name}_count"));
        self.labels(labels, None);
        self.put(format_args!(" {count}\n"));
    }

    fn labels(&mut self, labels: &[(&str, &str)], le: Option<&str>) {
        let le = le.map(|bound| ("le", bound));
        let mut open = '{';
        for (name, value) in labels.iter().copied().chain(le) {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            self.put(format_args!("{open}{name}=\"{value}\""));
            open = ',';
        }
        if open == ',' {
            self.0.push('}');
        }
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // A string takes everything.
        let _ = self.0.write_fmt(text);
    }
}
