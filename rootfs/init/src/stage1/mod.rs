//! Stage 1: from the kernel's first process to PID 1 on the slot.

mod report;

pub use report::{REPORT_PATH, Report};
