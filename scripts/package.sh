#!/usr/bin/env bash
# Makes a tarball that runs where it is unpacked, on machines without Swift: Ubuntu 22.04 and 24.04, Debian 12 and newer.
# The Swift runtime is linked statically; the image codecs lie beside the program; NVIDIA's libraries are found at run time.
# Usage: scripts/package.sh [--scratch-path FOLDER] [--no-archive] [OUT_FOLDER]
. "$(dirname "$0")/lib.sh"
scratch=.build-package
archive=yes
out=
while [ $# -gt 0 ]; do
    case $1 in
        --scratch-path) scratch=${2:?--scratch-path needs a folder}; shift ;;
        --no-archive) archive= ;;
        -*) die "$1 is not known; usage: scripts/package.sh [--scratch-path FOLDER] [--no-archive] [OUT_FOLDER]" ;;
        *) out=$1 ;;
    esac
    shift
done
out=${out:-$scratch/package}
newest_glibc=2.35  # of Ubuntu 22.04, the oldest system the tarball is for
check_swift
install_libraries

say "Building"
mkdir -p "$scratch"
# The linker takes the first libstdc++ it meets: in a folder that holds only the static one, that is the static one.
static=$(cd "$scratch" && pwd)/static
mkdir -p "$static"
clang=$(dirname "$(readlink -f "$(command -v swift)")")/clang
library=$("$clang" -print-file-name=libstdc++.a)
[ -e "$library" ] || die "there is no static libstdc++; install libstdc++-12-dev or the one that fits your compiler"
ln -sf "$library" "$static/"
# Debian 12's libstdc++ takes its random numbers from a function that Ubuntu 22.04's glibc does not have yet.
"$clang" -O2 -c -x c -o "$static/random.o" - <<'C'
#include <stdint.h>
#include <sys/random.h>
uint32_t arc4random(void) {
    uint32_t value;
    while (getrandom(&value, sizeof value, 0) != sizeof value) {}
    return value;
}
C
flags=(-Xlinker "-L$static" -Xlinker "$static/random.o" -Xswiftc -Xclang-linker -Xswiftc -static-libgcc -Xlinker --gc-sections
    # An old-style path, which the codecs' own dependencies are looked up by too.
    -Xlinker -rpath -Xlinker "\$ORIGIN/../lib" -Xlinker --disable-new-dtags
    -Xswiftc -file-prefix-map -Xswiftc "$PWD=.")
swift build -c release --product vlm --static-swift-stdlib --scratch-path "$scratch" "${flags[@]}"
program=$scratch/release/vlm

say "Collecting"
version=$("$program" --version)
name=swift-vlm-$version-linux-$(uname -m)
folder=$out/$name
rm -rf "$folder"
mkdir -p "$folder"/{bin,lib,licenses,share/swift-vlm}
strip -o "$folder/bin/vlm" "$program"
cp -r Sources/VLM/Resources/demo "$folder/share/swift-vlm/demo"
cp -r LICENSE README.md Examples "$folder/"
cp LICENSE "$folder/licenses/swift-vlm"
while read -r library path; do
    case $library in
        libjpeg.* | libpng* | libwebp* | libsharpyuv* | libz.*)
            cp -L "$path" "$folder/lib/$library"
            owner=$(dpkg -S "$(readlink -f "$path")" 2>/dev/null || dpkg -S "$path" 2>/dev/null || true)
            owner=${owner%%:*}
            [ -n "$owner" ] && cp "/usr/share/doc/$owner/copyright" "$folder/licenses/$owner"
            ;;
        libc.* | libm.* | libdl.* | libpthread.* | librt.*) ;;
        *) die "vlm needs $library, which a bare machine may not have" ;;
    esac
done < <(ldd "$program" | sed -n 's/^\s*\(lib[^ ]*\) => \([^ ]*\) .*/\1 \2/p')
needed=$(objdump -T "$folder"/bin/vlm "$folder"/lib/* | grep -o 'GLIBC_[0-9.]*' | sed 's/GLIBC_//' | sort -Vu | tail -n 1)
[ "$(printf '%s\n' "$needed" $newest_glibc | sort -V | tail -n 1)" = $newest_glibc ] \
    || die "this build needs glibc $needed, Ubuntu 22.04 has $newest_glibc; build on Ubuntu 22.04 or Debian 12"
echo "needs glibc $needed; beside the program: $(cd "$folder/lib" && echo *)"

say "Trying it in another folder, without an environment"
trial=$(mktemp -d)
trap 'rm -rf "$trial"' EXIT
cp -r "$folder" "$trial/moved"
(cd "$trial" && env -i moved/bin/vlm run demo "What does the sign say?" --image moved/Examples/sign.png)

[ -n "$archive" ] || exit 0
say "Packing"
tar -C "$out" --owner=0 --group=0 --sort=name -c "$name" | xz -T0 -6 >"$out/$name.tar.xz"
ls -lh "$out/$name.tar.xz"
