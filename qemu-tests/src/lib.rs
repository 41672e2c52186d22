//! Tests that boot real images.
