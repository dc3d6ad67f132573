//! PID 1 inside a kernel target's VM.
