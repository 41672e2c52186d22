//! Unpacks a source into a store and says how long it took: `import STORE SOURCE`. For measuring.

use std::path::Path;
use std::time::Instant;
use toolbox_store::{Ownership, Policy, Source, Store};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, store, source] = arguments.as_slice() else { return Err("usage: import STORE SOURCE".into()) };
    let begun = Instant::now();
    let store = Store::open(Path::new(store))?;
    let held = store.get(&Source::parse(source)?, &Policy::new(Ownership::Keep), &mut |_| ())?;
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    println!("{} in {:?}, {peak}", held.image.tree.display(), begun.elapsed());
    println!("{:?}", held.image.notes);
    Ok(())
}
