#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What is in no stead goes to a box as well: archives, layouts, images of another engine. No daemon is needed where they are.

load helpers
load ship

@test "archives and layouts, plain and compressed, need no daemon here" {
  app packed a
  ok stead load -i packed.tar
  gzip -k packed.tar
  mkdir layout
  stead save -o saved.tar packed
  tar -C layout -xf saved.tar

  local id source
  id=$(here_id packed)
  for source in ./packed.tar ./packed.tar.gz ./layout ./saved.tar; do
    far rmi packed >rmi.log 2>&1 || true
    ok stead -H unix:///nowhere/at.all ship "$source" --to "$FAR_URL"
    is "$(far_id packed)" "$id"
    says "sent "
  done
  far rmi packed
  capture stead ship - --to "$FAR_URL" <packed.tar.gz
  is "$status" 0
  is "$(far_id packed)" "$id"
  echo "no archive" >bad.tar
  fails 2 stead ship ./bad.tar --to "$FAR_URL"
}

@test "Docker's images: by their own save, and hinted at where stead has none" {
  mkdir bin
  app dockered a
  cat >bin/docker <<END
#!/bin/sh
case "\$1 \$2" in
  "image inspect") [ "\$3" = dockered ] ;;
  "save dockered") cat $PWD/dockered.tar ;;
  *) echo "Error response from daemon: reference does not exist" >&2; exit 1 ;;
esac
END
  chmod 755 bin/docker
  PATH=$PWD/bin:$PATH
  fails 2 stead ship dockered --to "$FAR_URL"
  says "stead ship docker:dockered"
  ok stead ship docker:dockered --to "$FAR_URL"
  far_has dockered
  capture stead ship docker:none --to "$FAR_URL"
  [[ $status -ne 0 ]]
  says "docker save"
}

@test "a user without root: the group opens the sockets, and nothing else is needed" {
  local user=65534 group=54321
  app mine a
  gzip -k mine.tar
  chgrp "$group" "$FAR_SOCK"
  chmod 666 mine.tar.gz
  # Where the build is, the user may have no way in.
  mkdir programs
  cp "$STEAD_EXE" "${STEAD_EXE%/main/stead}/worker/stead-worker" programs
  as_user() { setpriv --reuid="$user" --regid="$user" --groups="$group" "$PWD/programs/stead" "$@"; }
  # Neither the archive's layers nor the temporary files ask for more; what is unpacked there is root's as the image has it.
  ok as_user -H unix:///nowhere/at.all ship ./mine.tar.gz --to "$FAR_URL"
  says "sent "
  far_has mine
  is "$(find "$FAR/state/layers" -path '*/srv/data' -printf '%U:%G\n' | sort -u)" 0:0
  is "$(find /var/tmp -maxdepth 1 -name 'stead-ship.*' -user "$user")" ""
  # An image of the box here is read by the daemon.
  ok stead load -i mine.tar
  far rmi mine
  chgrp "$group" "$SOCK"
  ok as_user -H "$HERE_URL" ship mine --to "$FAR_URL"
  is "$(far_id mine)" "$(here_id mine)"
  # Without the group nothing is sent.
  chgrp root "$SOCK" "$FAR_SOCK"
  fails 2 as_user -H unix:///nowhere/at.all ship ./mine.tar.gz --to "$FAR_URL"
  says "usermod -aG stead"
}
