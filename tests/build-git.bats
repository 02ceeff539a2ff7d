#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Git repositories as build contexts, and in ADD: tests/git-server has them, and an sshd of the test's own.

load helpers
load ssh.bash

GIT=$SANDBOX/git

setup_file() {
  sandbox_up
  mkdir -p "$GIT/repos" "$SANDBOX/home"
  "$BATS_TEST_DIRNAME/git-server" "$GIT" >"$GIT/out" 2>&1 </dev/null 3>&- 4>&- &
  echo $! >"$GIT/pid"
  disown $!
  make_repositories
  within 20 test -s "$GIT/port"
  ssh_start
  # ADD reads no configuration of ssh's: known hosts come by the command line.
  printf '#!/bin/sh\nexec %s -o UserKnownHostsFile=%s -o GlobalKnownHostsFile=none "$@"\n' "$(command -v -p ssh)" "$SSH/known" >"$SANDBOX/bin/ssh"
}

teardown_file() {
  local status=0
  ssh_stop
  kill -TERM "$(cat "$GIT/pid")"
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

# git as nobody's: whoever runs the tests may have any configuration.
git_() { HOME=$SANDBOX/home GIT_CONFIG_NOSYSTEM=1 git -c user.name=t -c user.email=t@test -c init.defaultBranch=main -c protocol.file.allow=always "$@"; }

commit() { # DIR MESSAGE
  git_ -C "$1" add -A
  git_ -C "$1" commit -qm "$2"
}

# `app`: main with a Dockerfile, an annotated tag v1 on its first commit, a branch release/1.2, a directory web, links out of it.
make_repositories() {
  local app=$GIT/app library=$GIT/library
  git_ init -q "$library"
  echo library >"$library/code"
  commit "$library" one
  git_ init -q --bare "$GIT/repos/library.git"
  git_ -C "$library" push -q "$GIT/repos/library.git" HEAD:main
  git_ init -q "$app"
  mkdir -p "$app/web"
  printf 'FROM tiny\nCOPY . /app\n' >"$app/Dockerfile"
  printf 'FROM tiny\nCOPY page /page\n' >"$app/web/Dockerfile"
  echo first >"$app/file"
  echo page >"$app/web/page"
  commit "$app" one
  git_ -C "$app" tag -am one v1
  git_ -C "$app" branch release/1.2
  echo second >"$app/file"
  echo secret >"$app/ignored"
  echo ignored >"$app/.dockerignore"
  printf '#!/bin/sh\n' >"$app/run.sh"
  chmod 755 "$app/run.sh"
  ln -s /etc "$app/out"
  ln -s /etc/hostname "$app/Linked"
  commit "$app" two
  git_ -C "$app" submodule --quiet add ../library.git lib 2>/dev/null || git_ -C "$app" submodule --quiet add "$GIT/repos/library.git" lib
  sed -i 's,url = .*,url = ../library.git,' "$app/.gitmodules"
  commit "$app" three
  git_ init -q --bare "$GIT/repos/app.git"
  push_app
  git_ -C "$GIT/repos/app.git" symbolic-ref HEAD refs/heads/main
}

push_app() {
  git_ -C "$GIT/app" push -q --all "$GIT/repos/app.git"
  git_ -C "$GIT/app" push -q --tags "$GIT/repos/app.git"
  git_ -C "$GIT/repos/app.git" update-server-info
  git_ -C "$GIT/repos/library.git" update-server-info
}

setup() {
  . "$SANDBOX/env"
  PROJECT=t$BATS_TEST_NUMBER
  mkdir -p "$SANDBOX/$PROJECT/tmp"
  cd "$SANDBOX/$PROJECT" || return 1
  ssh_names
  URL=http://127.0.0.1:$(cat "$GIT/port")
  # What is left of a checkout is seen here.
  export TMPDIR=$PWD/tmp HOME=$SANDBOX/home GIT_CONFIG_NOSYSTEM=1
  : >"$GIT/log"
}

last_layer() { layer_of "$1" -1; }

id_of_commit() { git_ -C "$GIT/app" rev-parse "$1^{commit}"; }

nothing_left() { [[ -z $(ls -A tmp) ]]; }

@test "a repository is a context: branch, tag, commit, directory" {
  ok stead build -t "built:$PROJECT" "$URL/app.git"
  says "fetching $URL/app.git"
  local top
  top=$(last_layer "built:$PROJECT")/app
  is "$(cat "$top/file")" second
  is "$(cat "$top/lib/code")" library
  is "$(stat -c %a "$top/file") $(stat -c %a "$top/run.sh") $(stat -c %u "$top/file")" "644 755 0"
  is "$(readlink "$top/out")" /etc
  not test -e "$top/ignored"
  is "$(find "$top" -name .git)" ""
  nothing_left
  # The same files, from another commit's point of view: cached.
  ok stead build --progress plain -t "built:$PROJECT" "$URL/app.git#main"
  says CACHED
  local ref
  for ref in v1 refs/tags/v1 release/1.2 "$(id_of_commit v1)"; do
    ok stead build -t "built:$PROJECT" "$URL/app.git#$ref"
    is "$(cat "$(last_layer "built:$PROJECT")/app/file")" first
  done
  ok stead build -t "built:$PROJECT" "$URL/app.git#v1:web"
  is "$(cat "$(last_layer "built:$PROJECT")/page")" page
  ok stead build -t "built:$PROJECT" "$URL/app.git?branch=main&subdir=web"
  fails 2 stead build -f web/Dockerfile "$URL/app.git#:web"
  ok stead build -t "built:$PROJECT" -f web/../Dockerfile "$URL/app.git?tag=v1&checksum=$(id_of_commit v1)"
  nothing_left
}

@test "servers that give no single commits, or no shallow ones" {
  local kind
  for kind in dumb tip; do
    ok stead build --no-cache -t "built:$PROJECT" "$URL/$kind/app.git?submodules=0"
    is "$(cat "$(last_layer "built:$PROJECT")/app/file")" second
    ok stead build --no-cache -t "built:$PROJECT" "$URL/$kind/app.git?submodules=0#$(id_of_commit 'main~1')"
    is "$(cat "$(last_layer "built:$PROJECT")/app/file")" second
    not test -e "$(last_layer "built:$PROJECT")/app/.gitmodules"
  done
  ok stead build --no-cache -t "built:$PROJECT" "$URL/dumb/app.git"
  is "$(cat "$(last_layer "built:$PROJECT")/app/lib/code")" library
  nothing_left
}

@test ".git is kept where that is asked for" {
  ok stead build --build-arg BUILDKIT_CONTEXT_KEEP_GIT_DIR=1 -t "built:$PROJECT" "$URL/app.git"
  is "$(git_ -c safe.directory='*' -C "$(last_layer "built:$PROJECT")/app" rev-parse HEAD)" "$(id_of_commit main)"
  is "$(git_ -c safe.directory='*' -C "$(last_layer "built:$PROJECT")/app" config remote.origin.url)" "$URL/app.git"
}

@test "what is wrong with a repository is said" {
  fails 2 stead build "$URL/app.git#nosuch"
  says "there is no branch or tag 'nosuch'"
  fails 2 stead build "$URL/app.git#$(id_of_commit main | cut -c-10)"
  says "whole id"
  fails 2 stead build "$URL/none.git"
  says "$URL/none.git"
  fails 2 stead build "$URL/app.git#main:nosuch"
  says "no directory 'nosuch'"
  fails 2 stead build "$URL/app.git#main:out"
  says "no directory 'out'"
  fails 2 stead build -f Linked "$URL/app.git"
  says Linked
  fails 2 stead build "$URL/app.git?checksum=0123456"
  says "wrong checksum"
  fails 2 stead build "$URL/app.git#-x"
  says "no name of a branch"
  fails 2 stead build "ssh://-oProxyCommand=x/app.git"
  fails 2 stead build "ftp://127.0.0.1/app.zip"
  says "nor a git repository"
  fails 2 env "PATH=$SANDBOX/empty" "$STEAD_EXE" -H "unix://$SOCK" build "$URL/app.git"
  says "apt install git"
  nothing_left
}

@test "a repository gets no further than its files" {
  local evil=$GIT/evil kind
  git_ init -q "$evil"
  printf 'FROM scratch\n' >"$evil/Dockerfile"
  commit "$evil" one
  for kind in "file://$GIT/repos/library.git" "$GIT/repos/library.git" "ext::sh -c 'touch $PWD/run'"; do
    printf '[submodule "lib"]\n\tpath = lib\n\turl = %s\n' "$kind" >"$evil/.gitmodules"
    git_ -C "$evil" update-index --add --cacheinfo "160000,$(git_ -C "$GIT/library" rev-parse HEAD),lib"
    git_ -C "$evil" add .gitmodules
    git_ -C "$evil" commit -qm "$kind"
    rm -rf "$GIT/repos/evil.git"
    git_ clone -q --bare "$evil" "$GIT/repos/evil.git"
    fails 2 stead build "$URL/evil.git"
    says "submodules of"
    not test -e run
  done
  ok stead build "$URL/evil.git?submodules=0"
  nothing_left
}

@test "a context's credentials are the user's, or given" {
  fails 2 stead build "$URL/private/app.git"
  says "GIT_AUTH_TOKEN"
  printf '[credential]\n\thelper = "!f() { echo username=me; echo password=sesame; }; f"\n' >gitconfig
  ok env "GIT_CONFIG_GLOBAL=$PWD/gitconfig" "$STEAD_EXE" -H "unix://$SOCK" build "$URL/private/app.git?submodules=0"
  echo sesame >token
  ok stead build --secret id=GIT_AUTH_TOKEN,src=token "$URL/private/app.git?submodules=0"
  grep -q x-access-token:sesame "$GIT/log"
  ok stead build "http://me:sesame@${URL#http://}/private/app.git?submodules=0"
  says_not sesame
  nothing_left
}

@test "an interrupt ends the fetch and leaves nothing" {
  "$STEAD_EXE" -H "unix://$SOCK" build "$URL/hang/app.git" >build.log 2>&1 3>&- &
  local pid=$! code=0
  within 20 grep -q hang "$GIT/log"
  kill -TERM "$pid"
  wait "$pid" || code=$?
  is "$code" 130
  nothing_left
}

@test "behind ssh, and from compose" {
  local repo
  repo=ssh://root@127.0.0.1:$(ssh_port)$GIT/repos/app.git
  export GIT_SSH_COMMAND="ssh -F $SSH/config"
  ok stead build -t "built:$PROJECT" "$repo?submodules=0"
  is "$(cat "$(last_layer "built:$PROJECT")/app/file")" second
  unset GIT_SSH_COMMAND
  compose <<END
services:
  web:
    build: {context: "$URL/app.git#v1:web"}
    command: sleep 1000000
  keys:
    image: keys:$PROJECT
    build: {context: "$repo?submodules=0#v1", ssh: {default: "$SSH/id"}}
END
  ok stead up -d web
  is "$(inside web cat /page)" page
  ok env "GIT_SSH_COMMAND=ssh -F none" "$STEAD_EXE" -H "unix://$SOCK" build keys
  is "$(cat "$(last_layer "keys:$PROJECT")/app/file")" first
  nothing_left
}

@test "a repository under a name: fetched when something takes from it" {
  printf 'FROM tiny AS unused\nCOPY --from=code . /code\nFROM tiny\nCOPY --from=code file /file\n' >Dockerfile
  ok stead build -t "built:$PROJECT" --build-context "code=$URL/app.git#v1" .
  is "$(cat "$(last_layer "built:$PROJECT")/file")" first
  nothing_left
  ok stead build -t "built:$PROJECT" --build-context "code=$URL/app.git#main" .
  is "$(cat "$(last_layer "built:$PROJECT")/file")" second
  # What it ignores is not there; a directory of it; as a stage.
  printf 'FROM tiny\nCOPY --from=code ignored /file\n' >Dockerfile
  fails 2 stead build --build-context "code=$URL/app.git" .
  says "ignored"
  printf 'FROM code\n' >Dockerfile
  ok stead build -t "built:$PROJECT" --build-context "code=$URL/app.git#v1:web" .
  is "$(cat "$(last_layer "built:$PROJECT")/page")" page
  nothing_left
  # Nothing takes from it.
  : >"$GIT/log"
  printf 'FROM tiny\nRUN true\n' >Dockerfile
  ok stead build --build-context "code=$URL/app.git" .
  is "$(fetches)" 0
  fails 1 stead build --build-context "tiny=$URL/none.git" .
  says "none.git"
  compose <<END
services:
  web:
    build: { context: ., additional_contexts: { code: "$URL/app.git#v1:web" } }
    command: sleep 1000000
END
  printf 'FROM tiny\nCOPY --from=code page /page\n' >Dockerfile
  ok stead up -d
  is "$(inside web cat /page)" page
  nothing_left
}

fetches() { grep -c "POST" "$GIT/log" || true; }

add() { # LINE…: a Dockerfile with them
  printf 'FROM tiny\n' >Dockerfile
  printf '%s\n' "$@" >>Dockerfile
}

@test "ADD takes a repository, and its commit is the key" {
  add "ADD $URL/app.git#main:web /web" "ADD --chown=1000:2000 --exclude=run.sh $URL/app.git /app/"
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(layer_of "built:$PROJECT" 1)/web/page")" page
  local top
  top=$(layer_of "built:$PROJECT" 2)/app
  is "$(cat "$top/file" "$top/lib/code" | tr '\n' ' ')" "second library "
  is "$(stat -c '%u:%g %a' "$top/file")" "1000:2000 644"
  not test -e "$top/run.sh"
  test -e "$top/ignored" # the context's .dockerignore is none of this
  is "$(find "$top" -name .git)" ""
  # Once more: asked where the branches are, and nothing fetched.
  local before
  : >"$GIT/log"
  ok stead build --progress plain .
  says CACHED
  before=$(fetches)
  git_ -C "$GIT/app" checkout -qb moved v1
  push_app
  add "ADD $URL/app.git#moved /app"
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(last_layer "built:$PROJECT")/app/file")" first
  : >"$GIT/log"
  ok stead build .
  is "$(fetches)" "$((before / 2))"
  # The branch moves.
  echo third >"$GIT/app/file"
  commit "$GIT/app" moved
  push_app
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(last_layer "built:$PROJECT")/app/file")" third
  ok stead why "built:$PROJECT"
  says "another commit"
  git_ -C "$GIT/app" checkout -q main
  nothing_left
}

@test "ADD of a repository beside files, with .git, with a checksum" {
  echo local >here
  add "ADD here $URL/app.git?tag=v1 /all/" "ADD --keep-git-dir=true $URL/app.git#v1 /kept"
  ok stead build -t "built:$PROJECT" .
  is "$(cat "$(layer_of "built:$PROJECT" 1)"/all/{here,file} | tr '\n' ' ')" "local first "
  is "$(git_ -c safe.directory='*' -C "$(layer_of "built:$PROJECT" 2)/kept" rev-parse HEAD)" "$(id_of_commit v1)"
  add "ADD --checksum=$(id_of_commit v1) $URL/app.git#v1 /" "ADD --checksum=$(id_of_commit v1 | cut -c-7) $URL/app.git#v1 /"
  ok stead build .
  add "ADD --checksum=$(id_of_commit v1) $URL/app.git#main /"
  fails 2 stead build .
  says "Dockerfile:2"
  says "wrong checksum"
  add "ADD --checksum=sha256:$(printf '0%.0s' {1..64}) $URL/app.git#main /"
  fails 2 stead build .
  says "no commit of a repository"
  # A Dockerfile alone will do.
  printf 'FROM tiny\nADD %s /app\n' "$URL/app.git#v1" >Dockerfile
  ok stead build -t "built:$PROJECT" - <Dockerfile
  is "$(cat "$(last_layer "built:$PROJECT")/app/file")" first
  nothing_left
}

@test "ADD gets no credentials but those that the build was given" {
  printf '[credential]\n\thelper = "!f() { echo username=me; echo password=sesame; }; f"\n' >.gitconfig
  printf 'machine 127.0.0.1 login me password sesame\n' >.netrc
  add "ADD $URL/private/app.git?submodules=0 /"
  fails 1 env "HOME=$PWD" "$STEAD_EXE" -H "unix://$SOCK" build .
  says "Dockerfile:2"
  says GIT_AUTH_TOKEN
  not grep -q me:sesame "$GIT/log"
  TOKEN=sesame ok stead build --secret "id=GIT_AUTH_TOKEN.${URL#http://},env=TOKEN" .
  add "ADD ssh://root@127.0.0.1:$(ssh_port)$GIT/repos/app.git?submodules=0 /app"
  fails 1 env "GIT_SSH_COMMAND=ssh -i $SSH/id" "$STEAD_EXE" -H "unix://$SOCK" build .
  says "Dockerfile:2"
  says "--ssh default"
  fails 1 stead build --ssh "default=$SSH/other" .
  says "no key of the agent"
  ok stead build --ssh "default=$SSH/id" -t "built:$PROJECT" .
  is "$(cat "$(last_layer "built:$PROJECT")/app/file")" second
  nothing_left
}

@test "ADD of a repository that is none, by a client that fetches none" {
  add "ADD $URL/none.git /"
  fails 1 stead build .
  says "Dockerfile:2"
  says "$URL/none.git"
  add "ADD $URL/app.git#-x /"
  fails 2 stead build .
  says "no name of a branch"
  add "ADD $URL/app.git /"
  tar -cf context.tar Dockerfile
  ok api POST /build --data-binary @context.tar -H 'Content-Type: application/x-tar'
  says "stead build"
}
