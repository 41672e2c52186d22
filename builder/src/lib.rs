//! Builds, inspects and boots immutable appliance images.
//!
//! Start with [`image::build`] (spec to files) and [`machine::Machine`] (an image that runs).
//! The library never prints, exits or reads the environment: the `slipway` program does.

pub mod boot;
mod capability;
pub mod image;
pub mod inputs;
pub mod inspect;
pub mod machine;
pub mod progress;
pub mod spec;
mod time;
pub mod user_data;
