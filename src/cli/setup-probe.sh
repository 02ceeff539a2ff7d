# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
#
# What `stead setup` asks of a machine, before it changes anything: lines KEY=VALUE. It comes through standard input of `sh -s`, behind a
# line `wanted='PACKAGE…'` of the program's own table; "a|b" there: whichever this distribution has.
LC_ALL=C
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export LC_ALL PATH
echo stead-setup=1
if [ -r /etc/os-release ]; then
  # shellcheck disable=SC1091
  (
    . /etc/os-release
    printf 'id=%s\nlike=%s\nversion=%s\nname=%s\n' "${ID:-}" "${ID_LIKE:-}" "${VERSION_ID:-}" "${PRETTY_NAME:-}"
  )
fi
echo "machine=$(uname -m)"
echo "arch=$(dpkg --print-architecture 2>/dev/null)"
echo "user=$(id -un)"
uid=$(id -u)
if [ "$uid" -eq 0 ]; then
  echo root=yes
elif ! command -v sudo >/dev/null; then
  echo root=no
elif sudo -n true 2>/dev/null; then
  echo root=sudo
else
  echo root=password
fi
if [ -d /run/systemd/system ] && command -v systemctl >/dev/null; then echo systemd=yes; else echo systemd=no; fi
if command -v systemctl >/dev/null && systemctl is-active --quiet stead.service 2>/dev/null; then echo active=yes; else echo active=no; fi
echo "stead=$(stead --version 2>/dev/null | head -n 1)"
if getent group stead >/dev/null; then echo group=yes; else echo group=no; fi
case " $(id -nG) " in *" stead "*) echo member=yes ;; *) echo member=no ;; esac
echo "free=$(df -Pk /usr 2>/dev/null | awk 'NR == 2 { print $4 }')"
installed() { [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }
names=$(apt-cache pkgnames 2>/dev/null)
# shellcheck disable=SC2154 # the line before this script
for alternatives in $wanted; do
  found='' known=''
  for p in $(echo "$alternatives" | tr '|' ' '); do
    if installed "$p"; then
      found=$p
      break
    fi
    if [ -z "$known" ] && echo "$names" | grep -qxF -- "$p"; then known=$p; fi
  done
  # A fresh machine has no lists yet: the installer looks again once it has them.
  [ -n "$found" ] || echo "missing=${known:-$alternatives}"
done
echo end=1
