//! Stage 1 (initramfs) and PID 1.
