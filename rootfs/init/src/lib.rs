//! Stage 1 (initramfs) and PID 1.
//!
//! A boot passes through here in this order: [`stage1`] finds the slot and makes it
//! the root; [`setup`] makes the machine usable (API file systems, STATE, /etc, user-data); then
//! units run; at last [`bless`] records that this version boots.

pub mod bless;
pub mod control;
pub mod engine;
mod lists;
pub mod manager;
pub mod setup;
pub mod stage1;
pub mod time;
pub mod unit;
pub mod verdict;
