//! Builds, inspects and boots immutable appliance images.
