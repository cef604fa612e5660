# What the scripts share. Source it: . "$(dirname "$0")/lib.sh"
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PATH=$PATH:/usr/sbin:/sbin  # ldconfig, which a user's PATH may lack

say() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command as root: directly, or through sudo where there is one.
as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null; then sudo "$@"; else
        die "installing $* needs root; run it yourself and start again"
    fi
}

# The image codecs' headers, from the system's package manager.
install_libraries() {
    local missing=()
    [ -e /usr/include/jpeglib.h ] || missing+=(libjpeg-dev)
    [ -e /usr/include/png.h ] || missing+=(libpng-dev)
    [ -e /usr/include/webp/decode.h ] || missing+=(libwebp-dev)
    ldconfig -p | grep -q 'libcurl\(-gnutls\)\?\.so\.4' || missing+=(libcurl4)
    [ ${#missing[@]} = 0 ] && return
    command -v apt-get >/dev/null || die "these libraries are missing: ${missing[*]} (Debian's names); install them and start again"
    say "Installing ${missing[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

check_swift() {
    command -v swift >/dev/null || die "Swift 6.2 or newer is needed: https://www.swift.org/install/linux"
    local version
    version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p' | head -n 1)
    set -- $version
    [ "${1:-0}" -gt 6 ] || { [ "${1:-0}" = 6 ] && [ "${2:-0}" -ge 2 ]; } || die "Swift 6.2 or newer is needed, this is ${1:-?}.${2:-?}"
}
