# Sourced by the other scripts: what every one of them needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Shared by all clones of one user, so that a clean clone reuses compiled dependencies and fetched inputs.
SLIPWAY_CACHE=${SLIPWAY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/slipway}
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$SLIPWAY_CACHE/target}
export SLIPWAY_CACHE
# The builder, and beside it what images are made of: init, host and toolbox.
bin=$SLIPWAY_CACHE/bin
slipway=$bin/slipway
# The tests' own builder is elsewhere.
export SLIPWAY_PROGRAMS=${SLIPWAY_PROGRAMS:-$bin}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# missing_packages NAME...: those that are not installed.
missing_packages() {
    local name
    for name in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' || echo "$name"
    done
}

# need_packages NAME...: installs the Debian packages that are missing.
need_packages() {
    local missing round
    mapfile -t missing < <(missing_packages "$@")
    [ ${#missing[@]} -gt 0 ] || return 0
    as_root apt-get update -qq >&2
    # Twice if need be: a package of another suite makes room for one of this suite by going itself.
    for round in 1 2; do
        echo "installing ${missing[*]}" >&2
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
        mapfile -t missing < <(missing_packages "$@")
        [ ${#missing[@]} -gt 0 ] || return 0
    done
    echo "error: apt-get does not keep ${missing[*]}" >&2
    exit 1
}

# need_rust: a compiler that is new enough. Debian's own is too old; from Debian 13 on it has rustup.
need_rust() {
    local needed=1.95
    if [ -d "$HOME/.cargo/bin" ]; then PATH=$HOME/.cargo/bin:$PATH; fi
    if ! command -v rustup >/dev/null && ! command -v cargo >/dev/null; then
        as_root apt-get update -qq >&2
        if ! apt-cache show rustup >/dev/null 2>&1; then
            echo "error: there is no Rust here, and this release of Debian has no package rustup" >&2
            echo "hint: install Rust $needed or newer by rustup (https://rustup.rs), then run this again" >&2
            exit 1
        fi
        need_packages rustup
        rustup default stable >&2
    fi
    local found
    found=$(rustc --version | cut -d' ' -f2)
    if [ "$(printf '%s\n' "$needed" "$found" | sort -V | head -1)" != "$needed" ]; then
        echo "error: Rust $found is older than the $needed that is needed" >&2
        echo "hint: rustup update stable" >&2
        exit 1
    fi
}

# need_tool NAME VERSION: a cargo tool of that version, built once into the cache.
tools=$SLIPWAY_CACHE/tools
need_tool() {
    if ! "$tools/bin/$1" --version 2>/dev/null | grep -q " $2\$"; then
        echo "installing $1 $2" >&2
        CARGO_TARGET_DIR=$tools/build cargo install --quiet --locked --force --root "$tools" "$1@$2"
    fi
}

# build_programs: the builder, what goes into images, and the toolbox.
build_programs() {
    local made=$CARGO_TARGET_DIR/x86_64-unknown-linux-gnu
    echo "compiling; the first time takes some minutes" >&2
    cargo build --release --quiet -p slipway
    cargo build --profile dist --quiet -p init -p host -p toolbox
    # Those that are the same keep their time, so that no image is built anew for nothing.
    install -C -D -t "$bin" "$made"/release/slipway "$made"/dist/init "$made"/dist/host "$made"/dist/toolbox
}

# need_inputs SPEC...: makes sure that the pinned inputs are in the cache. An archive drops old
# versions; then the present ones are pinned, which git shows as a change of the lock file.
need_inputs() {
    local spec
    for spec in "$@"; do
        if ! "$slipway" --quiet fetch "$spec"; then
            echo "the pinned inputs of $spec cannot be had: pinning the archive's present versions" >&2
            as_root apt-get update -qq >&2
            "$slipway" lock "$spec"
        fi
    done
}
