//! Time and the machine's identity: the NTP client, `timedatectl` and `hostnamectl`.
