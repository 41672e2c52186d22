//! Paths inside the image.

/// Turns an absolute path of the image into a key of the file tree (no slash at either end).
///
/// # Errors
/// A reader's words for what is wrong: not absolute, empty parts, `.` or `..`, a NUL, a part over 255 bytes.
pub fn image_path(path: &str) -> Result<Vec<u8>, String> {
    let Some(inner) = path.strip_prefix('/') else {
        return Err(format!("`{path}` is not absolute: paths of the image start with /"));
    };
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if inner.is_empty() {
        return Ok(Vec::new());
    }
    for part in inner.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(format!("`{path}` has an empty part, `.` or `..`"));
        }
        if part.len() > 255 || part.contains('\0') {
            return Err(format!("`{path}` has a part over 255 bytes or with a NUL byte"));
        }
    }
    Ok(inner.as_bytes().to_vec())
}
