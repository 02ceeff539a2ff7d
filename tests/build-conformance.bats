#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# What `stead build` makes is what buildah makes: the same files, modes, owners, contents, links and attributes, and the same
# image configuration. Each directory of tests/build is a project:
#
#   context/   what is built, with its Dockerfile
#   prepare    makes what git does not keep (hard links, modes, archives); runs in a copy of context/
#   options    of the build, a word a line; '@' stands for the project's directory
#   expected   what is in /out, for files that Debian's buildah cannot read; see tests/build/listing
#
# An image of ours goes to buildah as an archive, which unpacks it by its own rules; then both are listed.
#
# Where docker and buildah 1.28 differ, stead does as docker: the mode of a directory that COPY --chmod makes, owners in an archive with
# ADD --chown, no trace of mount points in a layer, EXPOSE of a range. The projects leave that out.

load helpers

PROJECTS=$BATS_TEST_DIRNAME/build

setup_file() {
  sandbox_up || return 1
  local dir=$SANDBOX/buildah
  mkdir -p "$dir"
  echo '{"default": [{"type": "insecureAcceptAnything"}]}' >"$dir/policy.json"
  printf '%s\n' 'unqualified-search-registries = ["docker.io"]' 'short-name-mode = "disabled"' >"$dir/registries.conf"
  printf '[storage]\ndriver = "overlay"\nrunroot = "%s"\ngraphroot = "%s"\n' "$dir/run" "$dir/root" >"$dir/storage.conf"
}

teardown_file() {
  local status=0 mount
  sandbox_down || status=1
  while read -r mount; do
    umount "$mount"
  done < <(awk -v dir="$SANDBOX/buildah/" 'index($2, dir) == 1 { print $2 }' /proc/mounts | sort -r)
  sandbox_destroy "$SANDBOX"
  return "$status"
}

bud() {
  local dir=$SANDBOX/buildah
  CONTAINERS_REGISTRIES_CONF=$dir/registries.conf CONTAINERS_STORAGE_CONF=$dir/storage.conf \
    buildah --root "$dir/root" --runroot "$dir/run" --storage-driver overlay "$@"
}

# Gives an image of ours to buildah.
share() { # IMAGE
  rm -f image.tar
  ok stead save -o image.tar "$1"
  ok bud pull --policy never "docker-archive:$PWD/image.tar"
  rm image.tar
}

# The base images, made when the first project needs them.
base() { # IMAGE [PACKAGES]
  command -v buildah >/dev/null || skip "buildah is not installed"
  if ! stead inspect "$1" >/dev/null 2>&1; then
    timeout 60 apt-get update -qq -o Dir::State::lists="$PWD" -o Debug::NoLocking=1 >/dev/null 2>&1 || skip "the package mirror cannot be reached"
    ok timeout 900 "$STEAD_EXE" -H "unix://$SOCK" image bootstrap "$1" ${2:+--packages "$2"}
  fi
  bud inspect --type image "$1" >/dev/null 2>&1 || share "$1"
}

# A copy of the project's context in ./context, and its options in $options.
prepare() { # PROJECT
  options=()
  cp -a "$PROJECTS/$1/context" context
  chmod -R u=rwX,go=rX context # whatever the umask of the checkout was
  [[ ! -e $PROJECTS/$1/prepare ]] || (cd context && "$PROJECTS/$1/prepare")
  [[ ! -e $PROJECTS/$1/options ]] || mapfile -t options < <(sed "s|@|$PROJECTS/$1|" "$PROJECTS/$1/options")
}

# What buildah finds in an image: files below PATH, and its configuration.
show() { # IMAGE OUT [PATH]
  local container root
  container=$(bud from --signature-policy "$SANDBOX/buildah/policy.json" --pull-never "localhost/$1") || return 1
  root=$(bud mount "$container") || return 1
  "$PROJECTS/listing" "$root" ${3:+"$3"} >"$2.files" || return 1
  bud umount "$container" >/dev/null && bud rm "$container" >/dev/null
  bud inspect --type image "localhost/$1" |
    jq -S '.Docker.config | with_entries(select(.value | . != null and . != "" and . != [] and . != {} and . != false)) | del(.Hostname, .Image)
      | if .Env then .Env |= sort else . end' >"$2.config"
}

build() { # PROJECT
  local id
  cd context || return 1 # where the options' paths start from
  ok stead build "${options[@]}" -t "ours-$1" .
  id=$(stead inspect "ours-$1" | jq -r '.[0].Id')
  # Once more, all of it from the cache, gives the same image.
  ok stead build "${options[@]}" -t "ours-$1" .
  cd ..
  is "$(stead inspect "ours-$1" | jq -r '.[0].Id')" "$id"
}

same() { # PROJECT
  local options
  base tiny
  prepare "$1"
  [[ " ${options[*]} " == *" -f "* ]] || set -- "$1" -f Dockerfile
  (cd context && ok bud bud --signature-policy "$SANDBOX/buildah/policy.json" --isolation chroot --format docker --identity-label=false \
    --pull-never --layers=false "${@:2}" "${options[@]}" -t "theirs-$1" .)
  show "theirs-$1" theirs
  build "$1"
  share "ours-$1"
  show "ours-$1" ours
  diff -u theirs.files ours.files
  diff -u theirs.config ours.config
}

expected() { # PROJECT
  local options
  base tiny
  prepare "$1"
  build "$1"
  share "ours-$1"
  show "ours-$1" ours /out
  diff -u "$PROJECTS/$1/expected" ours.files
}

@test "each project has a test" {
  local project
  for project in "$PROJECTS"/*/; do
    grep -qE "^  (same|expected) $(basename "$project")\$" "$BATS_TEST_FILENAME" || { echo "$project has none"; return 1; }
  done
}

# --- languages

@test "node: a build stage, npm's files, a user" {
  base node:18-slim nodejs
  same node
}

@test "python: compiled in one stage, copied with an owner to the next" {
  base python:3-slim python3-minimal
  same python
}

@test "c: a static program in an image of nothing else" {
  base gcc:12 gcc,libc6-dev
  same c
}

@test "go: with a cache for the compiler" {
  base golang:1.19 golang-go,ca-certificates
  same go
}

@test "java: classes, an archive of them, a volume" {
  base eclipse-temurin:17 openjdk-17-jdk-headless
  same java
}

@test "debian: users, removed files, bash" {
  base debian:bookworm-slim
  same debian
}

@test "a static site" {
  same static-site
}

# --- stages, arguments, the language

@test "stages: by name and number, unneeded ones skipped, a target" {
  same multi-stage
}

@test "ARG and ENV: scopes, defaults, expansion" {
  same env-args
}

@test "expansion of variables: all operators" {
  expected expansion
}

@test "heredocs" {
  expected heredocs
}

@test "WORKDIR: relative, made when missing" {
  same workdir
}

@test "what only the configuration knows" {
  same config
}

@test "CMD and ENTRYPOINT of a base and of one's own" {
  same cmd
}

@test "SHELL, exec form, continued lines" {
  same shell
}

@test "another escape character" {
  same escape
}

@test "ONBUILD, across stages" {
  same onbuild
}

@test "FROM scratch" {
  same scratch
}

@test "a Dockerfile in a directory, with an own ignore file's name" {
  same subdir
}

# --- mounts

@test "RUN --mount=type=cache" {
  same cache-mount
}

@test "RUN --mount=type=bind and tmpfs" {
  same bind-mount
}

@test "RUN --mount=type=secret" {
  same secret
}

# --- what is copied

@test "wildcards" {
  same wildcards
}

@test ".dockerignore: all kinds of patterns" {
  same ignore
}

@test ".dockerignore: all but some" {
  same ignore-all-but
}

@test "paths of sources and destinations" {
  same copy-paths
}

@test "names with spaces, quotes, umlauts" {
  same names
}

@test "COPY --link, --exclude, --parents, symbolic modes, ADD --unpack" {
  expected copy-flags
}

@test "owners" {
  same chown
}

@test "modes that are set" {
  same chmod
}

@test "modes that are kept" {
  same modes
}

@test "symbolic links of the context and of the image" {
  same symlinks
}

@test "symbolic links of a stage" {
  same symlinks-stage
}

@test "hard links" {
  same hard-links
}

@test "extended attributes and capabilities" {
  base python:3-slim python3-minimal
  same xattrs
}

@test "removed, replaced and opaque directories" {
  same opaque
}

@test "COPY over what is there" {
  same replace
}

@test "ADD of archives" {
  same add-archive
}
