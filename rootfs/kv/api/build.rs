//! Generates messages and services from `proto/`, with no compiler but our own crates'.

use std::error::Error;
use std::path::PathBuf;

use prost::Message as _;

const FILES: [&str; 7] =
    ["kv.proto", "auth.proto", "rpc.proto", "lock.proto", "election.proto", "health.proto", "log.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    let folder = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?);
    std::fs::write(folder.join("descriptors.bin"), descriptors.encode_to_vec())?;
    let mut names = prost_build::Config::new();
    // So that a type knows its descriptor, for JSON.
    names.enable_type_names();
    tonic_prost_build::configure()
        .bytes(".")
        // How a connection is made is for those who make one.
        .build_transport(false)
        .compile_fds_with_config(descriptors, names)?;
    Ok(())
}
