//! The only unsafe code: mounts, device-mapper, modules, reboot.
