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
  # How much there is in compressed layers is known of those that are there, too.
  mkdir small
  cp archive.packed/* small
  gzip small/tiny.tar small/layer.packed.a.tar
  sed -i 's|[a-z.]*[.]tar|&.gz|g' small/manifest.json
  tar -C small -cf small.tar .
  ok stead ship ./small.tar --to "$FAR_URL" --json
  is "$(tail -n 1 <<<"$output" | jq '.image_bytes > 6000000 and .layers_sent == 0')" true
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

@test "podman's images: what it calls localhost/… goes by the name that was asked for" {
  mkdir bin
  app potted a
  sed -i 's|potted:latest|localhost/potted:latest|' archive.potted/manifest.json
  tar -C archive.potted -cf potted.tar .
  cat >bin/podman <<END
#!/bin/sh
case "\$1 \$2 \$3" in
  "save --multi-image-archive potted" | "save --multi-image-archive localhost/potted") cat $PWD/potted.tar ;;
  *) echo "Error: image not known" >&2; exit 125 ;;
esac
END
  chmod 755 bin/podman
  PATH=$PWD/bin:$PATH
  ok stead ship podman:potted --to "$FAR_URL"
  says "potted:latest"
  says_not localhost
  far_has potted
  not far_has localhost/potted
  ok stead ship podman:localhost/potted --to "$FAR_URL"
  says "localhost/potted:latest"
  far_has localhost/potted
}

@test "an image of several platforms: the one for the box there goes" {
  setarch linux32 true || skip "this kernel runs nothing of 32 bits"
  local platform digest
  # The box is of another architecture than this machine from now on.
  eval "$(declare -f daemon_argv | sed '1s/daemon_argv/plain_argv/')"
  daemon_argv() { printf '%s\n' setarch linux32 && plain_argv; }
  far_stop
  far_start
  platform=$(far_api GET /stead/v1/box | jq -r .architecture)
  not is "$platform" "$(here_arch)"
  app native a
  archive foreign "$platform" "$STEAD_TEST_CACHE/tiny.tar"
  ok stead load -i native.tar
  ok stead load -i foreign.tar
  ok stead save -o both.tar native foreign
  mkdir both
  tar -C both -xf both.tar
  rm -f both/manifest.json
  jq -c --arg there "$platform" --arg here "$(here_arch)" '{schemaVersion: 2, manifests: [.manifests[] | {mediaType, digest, size,
    platform: {os: "linux", architecture: (if (.annotations | tostring | test("foreign")) then $there else $here end)}}]}' both/index.json >index
  digest=$(sha256sum <index | cut -d' ' -f1)
  mv index "both/blobs/sha256/$digest"
  jq -nc --arg d "sha256:$digest" --argjson n "$(stat -c %s "both/blobs/sha256/$digest")" '{schemaVersion: 2, manifests: [{
    mediaType: "application/vnd.oci.image.index.v1+json", digest: $d, size: $n, annotations: {"org.opencontainers.image.ref.name": "both:1"}}]}' >both/index.json
  ok stead ship ./both --to "$FAR_URL"
  is "$(far_id both:1)" "$(here_id foreign)"
  # Of what is for another one alone it is said.
  fails 2 stead ship ./native.tar --to "$FAR_URL"
  says "--platform linux/$platform"
  eval "$(declare -f plain_argv | sed '1s/plain_argv/daemon_argv/')"
  far_stop
  far_start
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
