//! `ls`, `cat`, `tree`, `stat`: entries of a file system as text or JSON.

use super::error::InspectError;
use super::volume::{Kind, Node, Volume, Walk};
use super::{Output, Verdict, shown};
use serde_json::{Value, json};

/// Bytes of a file that are read at once.
const CHUNK: usize = 256 << 10;

pub(super) fn ls(
    volume: &Volume,
    path: &[u8],
    long: bool,
    json: bool,
    out: &mut Output<'_>,
) -> Result<Verdict, InspectError> {
    let node = volume.resolve(path, true)?;
    let nodes = if node.kind == Kind::Directory { volume.list(&node)? } else { vec![node] };
    if json {
        let values = nodes.iter().map(|node| volume.json(node)).collect::<Result<Vec<_>, _>>()?;
        out.json(&Value::from(values))?;
        return Ok(Verdict::Done);
    }
    for node in nodes {
        let name = name_and_target(&node);
        if long { out.line(&long_line(&node, &name))? } else { out.line(&name)? }
    }
    Ok(Verdict::Done)
}

fn name_and_target(node: &Node) -> String {
    let name = shown::name(node.name());
    match &node.kind {
        Kind::Symlink(target) => format!("{name} -> {}", shown::name(target)),
        _ => name,
    }
}

fn long_line(node: &Node, name: &str) -> String {
    let size = match node.kind.device() {
        Some((major, minor)) => format!("{major}:{minor}"),
        None => node.size.to_string(),
    };
    match &node.unix {
        Some(unix) => {
            let mode = shown::mode(node.kind.letter(), unix.mode);
            let (links, uid, gid, time) = (unix.links, unix.uid, unix.gid, crate::time::utc(unix.mtime));
            format!("{mode} {links:3} {uid:5} {gid:5} {size:>10} {time} {name}")
        }
        None => format!("{} {size:>10} {name}", node.kind.letter()),
    }
}

pub(super) fn cat(volume: &Volume, path: &[u8], out: &mut Output<'_>) -> Result<Verdict, InspectError> {
    let mut content = volume.open_file(&volume.resolve(path, true)?)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match content.read(&mut buffer)? {
            0 => return Ok(Verdict::Done),
            count => out.bytes(&buffer[..count])?,
        }
    }
}

pub(super) fn tree(
    volume: &Volume,
    path: &[u8],
    json: bool,
    out: &mut Output<'_>,
) -> Result<Verdict, InspectError> {
    let root = volume.resolve(path, true)?;
    let depth = |path: &[u8]| match path {
        [] => 0,
        path => path.split(|byte| *byte == b'/').count(),
    };
    let top = depth(&root.path);
    // JSON is an array, given out entry by entry as well.
    if json {
        out.bytes(b"[")?;
    }
    for (index, node) in Walk::new(volume, root).enumerate() {
        let node = node?;
        if json {
            out.bytes(if index == 0 { b"\n" } else { b",\n" })?;
            out.bytes(volume.json(&node)?.to_string().as_bytes())?;
            continue;
        }
        let mut line = "  ".repeat(depth(&node.path) - top);
        line += &if index == 0 { shown::path(&node.path) } else { name_and_target(&node) };
        line += if node.kind == Kind::Directory && !line.ends_with('/') { "/" } else { "" };
        out.line(&line)?;
    }
    if json {
        out.bytes(b"\n]\n")?;
    }
    Ok(Verdict::Done)
}

pub(super) fn stat(
    volume: &Volume,
    path: &[u8],
    json: bool,
    out: &mut Output<'_>,
) -> Result<Verdict, InspectError> {
    let node = volume.resolve(path, false)?;
    if json {
        let mut value = volume.json(&node)?;
        value["partition"] = json!(volume.place().label());
        out.json(&value)?;
        return Ok(Verdict::Done);
    }
    out.line(&format!("path:      {}", shown::path(&node.path)))?;
    out.line(&format!("partition: {}", volume.place().label()))?;
    out.line(&format!("type:      {}", node.kind.name()))?;
    if let Kind::Symlink(target) = &node.kind {
        out.line(&format!("target:    {}", shown::name(target)))?;
    }
    match node.kind.device() {
        Some((major, minor)) => out.line(&format!("device:    {major}:{minor}"))?,
        None => out.line(&format!("size:      {}", node.size))?,
    }
    if let Some(unix) = &node.unix {
        let mode = shown::mode(node.kind.letter(), unix.mode);
        out.line(&format!("mode:      {:04o} {mode}", unix.mode))?;
        out.line(&format!("owner:     {}:{}", unix.uid, unix.gid))?;
        out.line(&format!("inode:     {}", unix.inode))?;
        out.line(&format!("links:     {}", unix.links))?;
        out.line(&format!("modified:  {}", crate::time::utc(unix.mtime)))?;
    }
    for (name, value) in volume.xattrs(&node)? {
        out.line(&format!("xattr:     {}={}", shown::name(&name), shown::value(&value)))?;
    }
    Ok(Verdict::Done)
}
