# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# A virtual machine for tests and measurements that need one: Debian 12 with its own kernel, systemd and pure
# cgroup v2, 1 GiB of memory, no swap. QEMU, with KVM where it works and software emulation elsewhere; its
# network is QEMU's own user mode, without a way out, and in only to its sshd.
#
#   vm_prepare                 looks whether there is what it takes
#   vm_stage [--sources]       puts what is built, the tests and an image into the payload
#   vm_payload DIR…            what lies in these directories goes to the guest's root at the next boot
#   vm_new [DISK]              a fresh disk, backed by one that is made once and kept below build/vm:
#                                base   all that stead runs on, is built from and is compared with
#                                fresh  nothing of that: an sshd and sudo, and as packages to install what `stead setup` wants
#   vm_boot                    boots and waits until the guest listens
#   vm_do <<'END' …            runs a script in the guest; its output on standard output, its exit code
#   vm_cut                     the power fails: QEMU is killed at once
#   vm_off                     orderly; waits until it is off
#   $VM_SSH                    the port of 127.0.0.1 that leads to the guest's sshd, where it has one
#
# The host talks to a shell in the guest through a virtio port whose host end are two fifos. What the guest
# has not flushed to its disk when the power fails is lost, as on a real machine: the disk's cache
# is QEMU's writeback, whose qcow2 tables are only written on the guest's flushes.

VM_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VM=$VM_TOP/build/vm
VM_MEMORY=${VM_MEMORY:-1024}
VM_CPUS=${VM_CPUS:-2}
VM_PATIENCE=${VM_PATIENCE:-600} # seconds for a boot or a script
VM_PID=''
VM_DISK=base
vm_marks=0

vm_die() {
  echo "vm: $*" >&2
  exit 1
}

# --- the disk

vm_packages_base() {
  # What stead runs and is tested with, and what it is built from.
  echo crun runc conmon nftables mmdebstrap haproxy nginx-light uacme openssl nghttp2-client bats jq curl sqlite3 iproute2 procps netcat-openbsd busybox-static strace
  echo gcc libc6-dev meson ninja-build pkg-config make libuv1-dev libjansson-dev libfyaml-dev libsqlite3-dev libmd-dev libmnl-dev \
    libnftnl-dev libssl-dev libcurl4-openssl-dev zlib1g-dev libzstd-dev liblzma-dev libbz2-dev libxxhash-dev libseccomp-dev libhttp-parser-dev libcmocka-dev libnghttp2-dev
  # Its peer, whose client is a package of its own in later releases.
  echo docker.io
}

vm_packages_fresh() { echo openssh-server sudo libpam-systemd man-db bash-completion ca-certificates; }

# The distribution's mirror and the proxy that this machine's apt uses, if it is the same distribution.
vm_mirror() {
  apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "bookworm" && $3 == "main" { print $1; exit }'
}

vm_make_disk() { # DISK
  local tree=$VM/tree packages mirror proxy
  packages=$({ echo systemd-sysv dbus udev linux-image-cloud-amd64 initramfs-tools; "vm_packages_$1"; } | tr ' \n' ',,')
  mirror=$(vm_mirror)
  proxy=$(apt-config dump Acquire::http::Proxy 2>/dev/null || true)
  echo "making the virtual machine's disk '$1'; this is done once" >&2
  rm -rf --one-file-system "${tree:?}"
  # shellcheck disable=SC2016 # $1 is the hook's
  mmdebstrap --variant=minbase --mode=root --include="${packages%,}" ${proxy:+"--aptopt=$proxy"} \
    --dpkgopt='force-unsafe-io' --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d" && echo MODULES=list >"$1/etc/initramfs-tools/conf.d/vm" &&
      printf "%s\n" virtio_pci virtio_blk ext4 crc32c_generic >"$1/etc/initramfs-tools/modules"' \
    bookworm "$tree" ${mirror:+"$mirror"} >"$VM/mmdebstrap.log" 2>&1 ||
    { tail -n 20 "$VM/mmdebstrap.log" >&2; vm_die "the disk's packages could not be installed"; }
  echo stead-vm >"$tree/etc/hostname"
  echo '127.0.0.1 localhost stead-vm' >"$tree/etc/hosts"
  printf '/dev/vda / ext4 defaults,noatime 0 1\n' >"$tree/etc/fstab"
  printf '[Match]\nName=en* eth*\n[Network]\nDHCP=yes\n' >"$tree/etc/systemd/network/10-all.network"
  cat >"$tree/etc/systemd/system/vm-agent.service" <<'END'
[Unit]
Description=runs what the host sends
DefaultDependencies=no
After=local-fs.target systemd-udevd.service multi-user.target
[Service]
ExecStart=/usr/local/sbin/vm-agent
KillMode=process
SendSIGHUP=no
OOMScoreAdjust=-500
[Install]
WantedBy=multi-user.target
END
  cat >"$tree/usr/local/sbin/vm-agent" <<'END'
#!/bin/bash
for ((i = 0; i < 300; i++)); do [ -e /dev/virtio-ports/agent ] && break; sleep 0.1; done
exec 3<>/dev/virtio-ports/agent
[ "$(head -c 5 /dev/vdb | tr -d '\0')" = "" ] || tar -xf /dev/vdb -C / --no-same-owner --keep-directory-symlink
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
cd /root
echo '@@ready' >&3
exec bash <&3 >&3 2>&1
END
  chmod +x "$tree/usr/local/sbin/vm-agent"
  vm_mask "$tree" serial-getty@ttyS0.service getty@tty1.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
    e2scrub_all.timer e2scrub_reap.service fstrim.timer man-db.timer systemd-timesyncd.service
  "vm_finish_$1" "$tree"
  chroot "$tree" systemctl enable vm-agent systemd-networkd >/dev/null 2>&1 || vm_die "the disk's services could not be enabled"
  cp "$tree"/boot/vmlinuz-* "$VM/$1.kernel"
  cp "$tree"/boot/initrd.img-* "$VM/$1.initrd"
  rm -f "$VM/$1.new"
  truncate -s 8G "$VM/$1.new"
  mke2fs -q -t ext4 -d "$tree" "$VM/$1.new" || vm_die "mke2fs failed"
  rm -rf --one-file-system "${tree:?}"
  vm_recipe "$1" >"$VM/$1.recipe"
  mv "$VM/$1.new" "$VM/$1.img"
}

vm_mask() { # TREE UNIT…
  local tree=$1 unit
  shift
  for unit in "$@"; do ln -sf /dev/null "$tree/etc/systemd/system/$unit"; done
}

vm_finish_base() { vm_mask "$1" docker.service docker.socket containerd.service haproxy.service nginx.service; }

# The names in setup's own table, "a|b" for either.
vm_setup_packages() { sed -n '/^const char \*const setup_packages/,/NULL/p' "$VM_TOP/src/cli/setup-box.c" | grep -o '"[^"]*"' | tr -d '"'; }

# What the distribution's mirror is to other machines is a directory of packages in this one, which cannot reach any.
vm_finish_fresh() {
  local tree=$1 names either p wanted=() deb
  cp /etc/resolv.conf "$tree/etc/resolv.conf"
  {
    chroot "$tree" apt-get update
    names=$(chroot "$tree" apt-cache pkgnames)
    for either in $(vm_setup_packages); do
      for p in ${either//|/ }; do
        ! grep -qxF -- "$p" <<<"$names" || { wanted+=("$p"); break; }
      done
    done
    mkdir -p "$tree/srv/packages/partial"
    chroot "$tree" apt-get install -y --download-only --no-install-recommends -o APT::Sandbox::User=root -o Dir::Cache::archives=/srv/packages "${wanted[@]}"
  } >>"$VM/mmdebstrap.log" 2>&1 || { tail -n 20 "$VM/mmdebstrap.log" >&2; vm_die "the packages that setup wants could not be downloaded"; }
  rm -rf "$tree"/srv/packages/{partial,lock} "$tree"/var/lib/apt/lists/* "$tree"/etc/apt/sources.list.d/*
  for deb in "$tree"/srv/packages/*.deb; do
    p=${deb##*/}
    p=${p/_*%3a/_} # an epoch
    [[ $p == "${deb##*/}" ]] || mv "$deb" "${deb%/*}/$p"
    dpkg-deb -f "${deb%/*}/$p"
    printf 'Filename: ./%s\nSize: %s\nSHA256: %s\n\n' "$p" "$(stat -c %s "${deb%/*}/$p")" "$(sha256sum <"${deb%/*}/$p" | cut -d' ' -f1)"
  done >"$VM/packages"
  mv "$VM/packages" "$tree/srv/packages/Packages"
  echo 'deb [trusted=yes] file:/srv/packages ./' >"$tree/etc/apt/sources.list"
}

# Says whether the disk that is kept is still the one that would be made.
vm_recipe() { # DISK
  { declare -f "vm_packages_$1" vm_make_disk "vm_finish_$1"; [[ $1 != fresh ]] || vm_setup_packages; } | sha256sum
}

# A nested KVM may be there and not work. Whether a kernel says anything within some seconds tells.
vm_choose_accel() {
  VM_ACCEL=${VM_ACCEL:-}
  [[ -z $VM_ACCEL ]] || return 0
  VM_ACCEL=tcg
  [[ -w /dev/kvm ]] || return 0
  [[ ! -e $VM/no-kvm ]] || return 0
  rm -f "$VM/probe"
  timeout 15 qemu-system-x86_64 -M q35 -accel kvm -cpu host,-arch-capabilities -m 512 -display none -monitor none -serial "file:$VM/probe" \
    -net none -no-reboot -kernel "$VM/$VM_DISK.kernel" -append 'console=ttyS0 earlyprintk=serial panic=-1' >/dev/null 2>&1 || true
  if grep -q 'Linux version' "$VM/probe" 2>/dev/null; then VM_ACCEL=kvm; else touch "$VM/no-kvm"; fi
}

vm_prepare() {
  local tool
  [[ $EUID -eq 0 ]] || vm_die "making the disk needs root"
  for tool in qemu-system-x86_64 qemu-img mmdebstrap mke2fs; do
    command -v "$tool" >/dev/null || vm_die "no $tool; install it: apt-get install qemu-system-x86 qemu-utils mmdebstrap e2fsprogs"
  done
  mkdir -p "$VM"
  exec 6>"$VM/lock"
  flock -n 6 || vm_die "another run uses $VM"
  [[ -p $VM/agent.in ]] || mkfifo "$VM/agent.in" "$VM/agent.out"
  trap vm_cut EXIT
}

vm_new() { # [DISK]
  VM_DISK=${1:-base}
  [[ -s $VM/$VM_DISK.img && $(cat "$VM/$VM_DISK.recipe" 2>/dev/null) == "$(vm_recipe "$VM_DISK")" ]] || vm_make_disk "$VM_DISK"
  rm -f "$VM/disk.qcow2"
  qemu-img create -q -f qcow2 -b "$VM/$VM_DISK.img" -F raw "$VM/disk.qcow2" || vm_die "no disk"
}

vm_payload() { # DIRECTORY…
  local args=() d
  for d in "$@"; do args+=(-C "$(realpath "$d")" .); done
  tar --owner=0 --group=0 -cf "$VM/payload.tar" "${args[@]}"
}

# --- power

# One where nobody listens.
vm_choose_port() {
  VM_SSH=${VM_SSH:-22022}
  while (exec 9<>"/dev/tcp/127.0.0.1/$VM_SSH") 2>/dev/null; do VM_SSH=$((VM_SSH + 1)); done
}

vm_boot() {
  local cpu=max begin=$SECONDS
  vm_choose_accel
  vm_choose_port
  [[ $VM_ACCEL != kvm ]] || cpu=host,-arch-capabilities # which a nested KVM may not set
  [[ -s $VM/payload.tar ]] || truncate -s 64K "$VM/payload.tar"
  exec 7<>"$VM/agent.in" 8<>"$VM/agent.out"
  while read -r -t 0.01 -u 8 _; do :; done # what a killed machine has left
  while read -r -t 0.01 -u 7 _; do :; done
  qemu-system-x86_64 -M q35 -accel "$VM_ACCEL" -cpu "$cpu" -smp "$VM_CPUS" -m "$VM_MEMORY" -display none -monitor none \
    -serial "file:$VM/serial" -no-reboot -kernel "$VM/$VM_DISK.kernel" -initrd "$VM/$VM_DISK.initrd" \
    -append 'root=/dev/vda rw console=ttyS0 quiet panic=1 mitigations=off systemd.show_status=no' \
    -drive "file=$VM/disk.qcow2,if=virtio,format=qcow2,cache=writeback" \
    -drive "file=$VM/payload.tar,if=virtio,format=raw,readonly=on" \
    -netdev "user,id=n,restrict=on,hostfwd=tcp:127.0.0.1:$VM_SSH-:22" -device virtio-net-pci,netdev=n \
    -chardev "pipe,id=agent,path=$VM/agent" -device virtio-serial -device virtserialport,chardev=agent,name=agent \
    6>&- 7>&- 8>&- </dev/null &
  VM_PID=$!
  vm_wait '@@ready' || { tail -n 30 "$VM/serial" >&2; vm_die "the guest does not come up"; }
  rm -f "$VM/payload.tar" # unpacked
  echo "-- booted after $((SECONDS - begin)) s ($VM_ACCEL)"
}

# Copies the guest's words up to a line that begins with MARK; what follows it is in $vm_rest.
vm_wait() { # MARK
  local part line='' end=$((SECONDS + VM_PATIENCE))
  while [[ $SECONDS -lt $end ]]; do
    # When the second is over, what has come of a line so far counts too.
    if IFS= read -r -t 1 -u 8 part; then
      line=${line}${part%$'\r'}
      if [[ $line == *"$1"* ]]; then
        [[ -z ${line%%"$1"*} ]] || printf '%s\n' "${line%%"$1"*}"
        vm_rest=${line#*"$1"}
        return 0
      fi
      printf '%s\n' "$line"
      line=''
    else
      line=$line$part
    fi
    kill -0 "$VM_PID" 2>/dev/null || { echo "vm: the machine is off" >&2; return 1; }
  done
  echo "vm: nothing within $VM_PATIENCE s" >&2
  return 1
}

vm_do() {
  local mark
  vm_marks=$((vm_marks + 1))
  mark="@@done-$$-$vm_marks:"
  {
    printf '%s\n' "cat >/run/vm-script <<'@@END'"
    cat
    printf '\n@@END\nbash /run/vm-script </dev/null; echo "%s$?"\n' "$mark"
  } >&7
  vm_wait "$mark" || return 1
  return "$vm_rest"
}

vm_cut() {
  [[ -n $VM_PID ]] || return 0
  kill -KILL "$VM_PID" 2>/dev/null || true
  wait "$VM_PID" 2>/dev/null || true
  VM_PID=''
}

vm_off() { # [COMMAND]
  local i
  echo "${1:-poweroff}" >&7
  for ((i = 0; i < VM_PATIENCE; i++)); do
    kill -0 "$VM_PID" 2>/dev/null || { wait "$VM_PID" || true; VM_PID=''; return 0; }
    while read -r -t 0.01 -u 8 _; do :; done
    sleep 1
  done
  vm_cut
  return 1
}

# --- what goes into the guest

# A docker archive of two layers: the test image's, and one of sqlite3 and many files.
vm_make_archive() { # DIRECTORY
  local dir=$1 layer=$1/layer lib i a b
  rm -rf "${dir:?}"
  mkdir -p "$layer/opt/many"
  for lib in "$(command -v sqlite3)" $(ldd "$(command -v sqlite3)" | grep -oE '/[^ ]+'); do
    install -D "$(realpath "$lib")" "$layer$(dirname "$lib")/$(basename "$lib")"
  done
  for ((i = 0; i < 1500; i++)); do head -c $((RANDOM % 20000)) /dev/urandom >"$layer/opt/many/$i"; done
  (cd "$layer/opt/many" && sha256sum -- *) >"$dir/sums"
  tar --owner=0 --group=0 -C "$layer" -cf "$dir/b.tar" .
  cp build/test/images/tiny.tar "$dir/a.tar"
  rm -rf "${layer:?}"
  a=$(sha256sum <"$dir/a.tar") b=$(sha256sum <"$dir/b.tar")
  printf '{"architecture":"amd64","os":"linux","config":{"Env":["PATH=/bin:/usr/bin"],"Cmd":["sleep","1000000"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s","sha256:%s"]}}' \
    "${a%% *}" "${b%% *}" >"$dir/config.json"
  echo '[{"Config":"config.json","RepoTags":["app:1"],"Layers":["a.tar","b.tar"]}]' >"$dir/manifest.json"
  tar -C "$dir" -cf "$dir/app.tar" manifest.json config.json a.tar b.tar
}

vm_app() {
  cd "$VM_TOP" || exit 1
  [[ -s build/test/images/tiny.tar ]] || STEAD_TEST_CACHE=$VM_TOP/build/test/images tests/tiny/make >"$VM/tiny.log" 2>&1 ||
    { cat "$VM/tiny.log" >&2; exit 1; }
  [[ -s $VM/archive/app.tar ]] || vm_make_archive "$VM/archive"
}

vm_stage() { # [--sources]: what is built; with them all that a build needs
  local stage=$VM/stage
  vm_app
  rm -rf "${stage:?}"
  mkdir -p "$stage/root" "$stage/src"
  DESTDIR=$stage meson install -C build --no-rebuild --quiet >"$VM/install.log" || { cat "$VM/install.log" >&2; exit 1; }
  git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$stage/src"
  if [[ ${1:-} != --sources ]]; then
    mkdir -p "$stage/src/build/src" "$stage/src/build/test/images"
    cp build/test/images/tiny.tar "$stage/src/build/test/images/"
    (cd build && find src -maxdepth 2 -type f -perm -u+x ! -name 'test-*' ! -name 'fuzz-*' -print0 | tar --null -T - -cf -) | tar -xf - -C "$stage/src/build"
  fi
  cp "$VM/archive/app.tar" "$VM/archive/sums" "$stage/root/"
  vm_words "$stage"
  mkdir -p "$stage/srv/app"
  cat >"$stage/srv/app/compose.yaml" <<'END'
services:
  db:
    image: app:1
    restart: always
    command:
      - sh
      - -c
      - >-
        rm -f /data/ready; sleep 1; sqlite3 /data/app.db 'create table if not exists t(n integer primary key, x text)' && touch /data/ready;
        while sqlite3 /data/app.db 'insert into t(x) values (hex(randomblob(300)))' && echo wrote; do :; done; echo FAILED; exit 3
    volumes: [data:/data]
    healthcheck: { test: "test -e /data/ready", interval: 1s, timeout: 20s, retries: 30 }
    mem_limit: 48m
    cpus: 0.75
    pids_limit: 40
  api:
    image: app:1
    restart: unless-stopped
    command: sh -c 'test -e /data/ready && echo in order || echo too early; mkdir -p /www; echo it works >/www/index.html; exec httpd -f -p 80 -h /www'
    volumes: [data:/data]
    ports: ["8080:80"]
    depends_on: { db: { condition: service_healthy } }
  once: { image: app:1 }
  parked: { image: app:1, restart: unless-stopped }
  always: { image: app:1, restart: always }
volumes: { data: {} }
END
  vm_payload "$stage"
}

# What scripts in the guest begin with.
vm_words() { # DIRECTORY
  mkdir -p "$1/root"
  cat >"$1/root/vm.sh" <<'END'
within() { # SECONDS COMMAND…
  local end=$((SECONDS + $1)); shift
  until "$@" >/tmp/within 2>&1; do
    [ $SECONDS -lt $end ] || { echo "not in time: $*"; cat /tmp/within; journalctl -u stead -n 20 --no-pager -o cat; stead ps -a; return 1; }
    sleep 0.3
  done
}
is() { [ "$1" = "$2" ] || { echo "got '$1', wanted '$2'"; return 1; }; }
note() { echo "+ $*"; }
inspect() { stead inspect "$1" | jq -r ".[0]$2"; }
running() { is "$(inspect "$1" .State.Status)" running; }
healthy() { is "$(inspect "$1" .State.Health.Status)" healthy; }
page() { is "$(curl -s --max-time 5 http://127.0.0.1:8080/index.html)" "it works"; }
group() { echo "/sys/fs/cgroup$(sed -n 's/^0:://p' "/proc/$(inspect "$1" .State.Pid)/cgroup")"; }
mkdir -p /srv/app
cd /srv/app
END
}
