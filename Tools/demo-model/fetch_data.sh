#!/usr/bin/env bash
# Downloads the Debian packages of packages.txt without installing them and prepares the fonts and words.
#
# Usage: fetch_data.sh FOLDER      makes FOLDER/data, the DATA of the other programs (needs apt-get, dpkg, Pillow, numpy, fonttools)
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
mkdir -p "$1/debs" "$1/unpacked"
cd "$1/debs"
apt-get download -q $(cat "$here/packages.txt") > /dev/null
for package in *.deb; do dpkg -x "$package" "../unpacked/${package%%_*}"; done
cd ..
"${PYTHON:-python3}" "$here/prepare_fonts.py" unpacked data
(cd data && sha256sum -- * | sha256sum)
