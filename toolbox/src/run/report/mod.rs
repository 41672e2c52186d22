//! What a session did outside of itself. The calls that change files, mount, or bind sockets wait until the monitor
//! has noted what they are about to do; at the end, what is still there of it is told.

mod calls;
mod noted;

pub(super) use calls::program;
pub(super) use noted::Noted;
