//! The half-MD4 hash of a file name, by which large directories are indexed.
//!
//! Source: Documentation/filesystems/ext4, "Hash Tree Directories"; the algorithm is
//! `fs/ext4/hash.c`, with names taken as signed bytes (`s_flags` says so).

/// Hash and minor hash of `name`. The lowest bit of a hash is clear: the index uses it to
/// say that a block continues the hash of the block before.
pub(super) fn half_md4(name: &[u8], seed: &[u8; 16]) -> (u32, u32) {
    let mut state = if *seed == [0; 16] {
        [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476]
    } else {
        let (words, _) = seed.as_chunks::<4>();
        [0, 1, 2, 3].map(|word| u32::from_le_bytes(words[word]))
    };
    let mut rest = name;
    while !rest.is_empty() {
        transform(&mut state, &words(rest));
        rest = rest.get(32..).unwrap_or_default();
    }
    (state[1] & !1, state[2])
}

/// Up to 32 bytes as eight words, padded with the length of what is left of the name.
fn words(rest: &[u8]) -> [u32; 8] {
    let pad = u32::from(rest.len() as u8) * 0x0101_0101;
    let mut words = [pad; 8];
    for (word, bytes) in words.iter_mut().zip(rest.chunks(4)) {
        for byte in bytes {
            *word = (*word << 8).wrapping_add(*byte as i8 as u32);
        }
    }
    words
}

fn transform(state: &mut [u32; 4], input: &[u32; 8]) {
    type Function = fn(u32, u32, u32) -> u32;
    let rounds: [(Function, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (function, constant, order, shifts) in rounds {
        for (step, &word) in order.iter().enumerate() {
            let sum = a
                .wrapping_add(function(b, c, d))
                .wrapping_add(input[word])
                .wrapping_add(constant)
                .rotate_left(shifts[step % 4]);
            (a, b, c, d) = (d, sum, b, c);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    /// The second opinion is debugfs's `dx_hash`.
    #[test]
    fn agrees_with_debugfs() {
        let seed = "333fa1eb-588c-456e-b81c-d1d343cd0e01";
        let names = ["a", "lost+found", "Főtanúsítvány.pem", &"x".repeat(32), &"long ".repeat(51)];
        for name in names {
            let output = Command::new("/usr/sbin/debugfs")
                .args(["-R", &format!("dx_hash -h half_md4 -s {seed} \"{name}\"")])
                .output()
                .expect("debugfs runs (install e2fsprogs)");
            let bytes = u128::from_str_radix(&seed.replace('-', ""), 16).unwrap().to_be_bytes();
            let (hash, minor) = half_md4(name.as_bytes(), &bytes);
            let expected = format!("0x{hash:x} (minor 0x{minor:x})");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(text.contains(&expected), "{name}: {expected} is not in {text}");
        }
    }
}
