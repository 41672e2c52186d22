//! Name resolution: the caching stub on 127.0.0.53, LLMNR, and `resolvectl`.
