#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
#
# Everything that works here works on another machine with -H ssh://…, with the same output and exit codes: through the user's own
# ssh, one process a command. What goes wrong with the connection is said in words that tell what to do.

load helpers
load ssh

# Of every ssh.
NO_SESSION="-o RemoteCommand=none -o PermitLocalCommand=no -o ClearAllForwardings=yes"

setup_file() { sandbox_up && ssh_start; }
teardown_file() {
  local status=0
  ssh_stop
  sandbox_down || status=1
  sandbox_destroy "$SANDBOX"
  return "$status"
}

eval "$(declare -f setup | sed '1s/setup/helpers_setup/')"
eval "$(declare -f teardown | sed '1s/teardown/helpers_teardown/')"
setup() {
  helpers_setup
  ssh_anew
  export XDG_CONFIG_HOME=$PWD/config
}
teardown() {
  local status=0
  within 20 ssh_quiet || status=1
  helpers_teardown || status=1
  return "$status"
}

one() { # [SERVICE…]: each sleeps
  {
    echo "services:"
    printf '  %s: { image: tiny, stop_grace_period: 1s }\n' "${@:-a}"
  } >compose.yaml
}

same() { # COMMAND…: the same output and exit code here and over ssh, but for ages, which go on meanwhile
  local here code
  capture stead "$@"
  here=$(ageless) code=$status
  capture over "$@"
  is "$(ageless)" "$here"
  is "$status" "$code"
}
ageless() { sed -E 's/(Less than a second|About a minute|[0-9]+ (second|minute)s?)( ago)?/AGE/g; s/ +/ /g' <<<"$output"; }

# --- as local

@test "the same output and exit codes as local" {
  one a b
  ok over up -d --wait
  same ps -a -q
  same ps --services
  same images
  same inspect "$(container a)"
  same ls
  same exec -T a sh -c 'echo out; echo err >&2; exit 7'
  same exec -T a no-such-command
  same exec -T a /etc/passwd
  same exec -T nobody true
  same logs a
  same rmi no-such-image
  same top a
  same wait no-such-service
  same no-such-command
  ok over stop -t 0 a
  has_status exited a
  ok over down -t 0
  is "$(containers)" ""
}

@test "progress, and the error of a failure" {
  one
  ok over --progress plain up -d
  says "$PROJECT-a-1"
  compose <<'END'
services: { a: { image: no-such-image-here } }
END
  fails 2 over up -d
  says "no-such-image-here"
}

@test "one ssh for a command, however many connections it needs" {
  one a b c
  ok over up -d --wait
  is "$(ssh_runs)" 1
  ssh_forget
  ok over logs
  is "$(ssh_runs)" 1
  ssh_forget
  ok over exec -T a true
  is "$(ssh_runs)" 1
  is "$(cat "$SSH/runs")" "-T $NO_SESSION -p $(ssh_port) -- 127.0.0.1 stead dial-stdio"
}

@test "completion asks nobody" {
  one web
  ok over up -d
  ssh_forget
  ok over __complete service
  says web
  is "$(cat "$SSH/runs")" "-T $NO_SESSION -o BatchMode=yes -o ConnectTimeout=3 -p $(ssh_port) -- 127.0.0.1 stead dial-stdio"
  : >"$SSH/known"
  ok over __complete service
  is "$output" web # what the file says
}

@test "data both ways, with the end of standard input" {
  one
  ok over up -d
  head -c 20000000 /dev/urandom >big
  over exec -T a sha256sum <big >sum
  is "$(cut -d' ' -f1 sum)" "$(sha256sum <big | cut -d' ' -f1)"
  over exec -T a cat <big >back
  cmp big back
}

@test "images: save and load" {
  ok over save -o image.tar tiny
  ok over load -i image.tar
  says tiny
  over save tiny | tar -t >list
  grep -q manifest.json list
}

@test "exec -it: a terminal, and its size when it changes" {
  one
  ok over up -d
  ok "$BATS_TEST_DIRNAME/terminal" "$STEAD_EXE" -H "$BOX$SOCK" exec -it a sh <<'END'
import fcntl, struct, termios
def has_size(rows, columns):
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0)) # the kernel tells the foreground process
    got = None
    while got != (rows, columns): # the change travels beside the keys
        type_(b"echo =$(stty size)=")
        got = tuple(map(int, until(rb"=(\d+) (\d+)=").groups()))
until(rb"[#$] ")
type_(b"tty")
until(rb"/dev/pts")
has_size(41, 123)
has_size(20, 70)
type_(b"echo =$((1+1))=; sleep 1000; echo =$((2+2))=")
until(rb"=2=")
interrupt(rb"=4=|[#$] ")
type_(b"exit 5")
ends(5)
END
}

@test "logs -f of several containers, until Ctrl-C" {
  compose <<'END'
services:
  a: { image: tiny, command: sh -c 'i=0; while :; do echo "a $$((i=i+1))"; sleep 0.2; done', stop_grace_period: 0s }
  b: { image: tiny, command: sh -c 'i=0; while :; do echo "b $$((i=i+1))"; sleep 0.2; done', stop_grace_period: 0s }
END
  ok over up -d
  group logs -f
  within 30 grep -q 'a-1.*a 5$' out.txt
  within 30 grep -q 'b-1.*b 5$' out.txt
  kill -INT -- "-$background" # as a terminal: ssh is in the group
  ends_with 130
  within 20 ssh_quiet
}

# In a process group of its own, as a terminal's foreground job is; its output goes to out.txt.
group() {
  setsid "$BATS_TEST_DIRNAME/foreground" "$STEAD_EXE" -H "$BOX$SOCK" "$@" >out.txt 2>&1 </dev/null 3>&- &
  background=$!
}
ends_with() { # CODE
  local code=0
  wait "$background" || code=$?
  output=$(cat out.txt)
  is "$code" "$1"
}

@test "build: context, ignore file, secret and output, in one connection" {
  mkdir -p ctx/src
  echo content >ctx/src/file
  head -c 3000000 /dev/urandom >ctx/src/large
  echo no >ctx/src/no.log
  echo '**/*.log' >ctx/.dockerignore
  echo hush-hush >token
  printf 'FROM tiny\nCOPY src /src\nRUN --mount=type=secret,id=s wc -c </run/secrets/s >/size; ls /src; sha256sum /src/large\n' >ctx/Dockerfile
  ok over build --secret id=s,src=token -t "built:$PROJECT" ctx
  says "$(sha256sum ctx/src/large | cut -d' ' -f1)"
  says_not no.log
  says_not hush-hush
  is "$(ssh_runs)" 1
  is "$(stead inspect "built:$PROJECT" | jq '.[0].RootFS.Layers | length')" 3
  ok over build -t "built:$PROJECT" ctx
  says "#2 CACHED"
  printf 'FROM tiny\nRUN echo "last words"; exit 7\n' >ctx/Dockerfile
  fails 1 over build ./ctx
  says "last words"
  says "exit code 7"
  fails 2 over build nowhere/
}

@test "build: Ctrl-C ends it there, and so does kill -9 of the command" {
  local signal code
  nothing_builds() { [[ -z $(find "$SANDBOX/run/containers" "$SANDBOX/run/netns" -mindepth 1 -maxdepth 1) ]]; }
  printf 'FROM tiny\nRUN echo begun; sleep 1000\n' >Dockerfile
  for signal in INT KILL; do
    group build .
    within 60 grep -q '^#.*begun' out.txt
    if [[ $signal == INT ]]; then
      kill -INT -- "-$background"
      code=130
    else
      kill -KILL "$background"
      code=137
    fi
    ends_with "$code"
    within 30 nothing_builds
    within 20 ssh_quiet
  done
}

@test "up in the foreground: Ctrl-C stops the stack" {
  compose <<'END'
services:
  talker: { image: tiny, command: sh -c 'trap "echo bye; exit 0" TERM; i=0; while :; do echo "line $$((i=i+1))"; sleep 0.2; done' }
END
  group up
  within 30 grep -q 'talker.*line 3' out.txt
  kill -INT -- "-$background"
  ends_with 130
  says "bye"
  has_status exited talker
}

waiting() { # VERSION: its deploy waits for a health check that never succeeds
  cat >compose.yaml <<END
services:
  web:
    image: tiny
    environment: { VERSION: "$1" }
    stop_grace_period: 1s
    x-stead: { deploy: { bake: 100ms, drain: 1s, health_timeout: 10m } }
END
  [[ $1 -eq 1 ]] || echo '    healthcheck: { test: [CMD, "false"], interval: 1s, retries: 1000 }' >>compose.yaml
}
release() { stead releases "$1" --json | jq -r "$2"; } # N FILTER

@test "Ctrl-C calls a deploy off, and waits until the old is back" {
  waiting 1
  ok over deploy
  local before
  before=$(containers)
  waiting 2
  group deploy
  within 30 grep -q "waiting for health" out.txt
  kill -INT -- "-$background"
  ends_with 130
  says "calling release 2 off"
  says "Release 1 serves on"
  is "$(containers)" "$before"
  has_status running web
}

@test "kill -9 of the command: its deploy is called off, and nothing of it stays" {
  waiting 1
  ok over deploy
  waiting 2
  group deploy
  within 30 grep -q "waiting for health" out.txt
  kill -KILL "$background"
  ends_with 137
  within 20 ssh_quiet
  within 60 eval '[[ $(release 2 .result) == failed ]]'
  has_status running web
}

# --- which machine

@test "-H, STEAD_HOST, x-stead.host, named hosts, and which of them counts" {
  one
  ok over up -d
  mkdir -p config/stead
  printf '# machines\nbox  %s   # the one\nother ssh://127.0.0.1:1\n' "$BOX$SOCK" >config/stead/hosts
  ok "$STEAD_EXE" -H box ps -q
  local id=$output
  STEAD_HOST=box ok "$STEAD_EXE" ps -q
  is "$output" "$id"
  STEAD_HOST=other ok "$STEAD_EXE" -H box ps -q
  echo 'x-stead: { host: box }' >>compose.yaml
  ok "$STEAD_EXE" ps -q
  is "$output" "$id"
  ok "$STEAD_EXE" up -d
  says_not "recreat"
  ok "$STEAD_EXE" config
  says "host: box"
  # STEAD_HOST goes before the file, -H before both.
  STEAD_HOST=other fails 2 "$STEAD_EXE" ps
  says "127.0.0.1:1: nobody listens"
  sed -i 's/host: box/host: other/' compose.yaml
  fails 2 "$STEAD_EXE" ps
  says "127.0.0.1:1: nobody listens"
  STEAD_HOST=box ok "$STEAD_EXE" ps -q
  is "$output" "$id"
  # From standard input, too.
  sed 's/host: other/host: box/' compose.yaml >in
  ok "$STEAD_EXE" -p "$PROJECT" -f - up -d <in
}

@test "a jump host of the user's own configuration" {
  local inner=("Host inner" "HostName 127.0.0.1" "Port $(ssh_port)" "ProxyJump outer" "Host outer" "HostName 127.0.0.1")
  ssh_user_config "${inner[@]}" "Port $(ssh_port)" "Host *"
  ok "$STEAD_EXE" -H "ssh://inner$SOCK" ps -A
  ssh_user_config "${inner[@]}" "Port 1" "Host *"
  fails 2 "$STEAD_EXE" -H "ssh://inner$SOCK" ps -A
}

@test "what the user's configuration has for sessions at a terminal is left out" {
  local port=$((PORTS + 96)) holder
  ssh_user_config "RemoteCommand echo a session" "RequestTTY force" "PermitLocalCommand yes" "LocalCommand echo connected" \
    "LocalForward $port 127.0.0.1:1" "ExitOnForwardFailure yes"
  # The port is taken, as by a session that is open.
  python3 -c "import socket, time; s = socket.create_server(('127.0.0.1', $port)); print('taken', flush=True); time.sleep(1000)" >taken 3>&- 4>&- &
  holder=$!
  within 20 grep -q taken taken
  capture over ps -A
  kill "$holder"
  wait "$holder" || true
  is "$status" 0 || { echo "$output"; return 1; }
}

@test "hosts that cannot be: by file and line, and before ssh is run" {
  one
  mkdir -p config/stead
  local bad
  for bad in ssh://-oProxyCommand=touch,x ssh://-l@box ssh://a@-x 'ssh://a b' $'ssh://a\nb' 'ssh://a;b' 'ssh://$(x)' ssh://a:b@c ssh://a:0 -x nobody; do
    fails 2 "$STEAD_EXE" "-H$bad" ps
  done
  says "nobody"
  fails 2 "$STEAD_EXE" -H pi@box:22 ps
  says "an address is written ssh://pi@box:22"
  printf 'a ssh://b\nb ssh://-c\n' >config/stead/hosts
  fails 2 "$STEAD_EXE" -H a ps
  says "config/stead/hosts:2: ssh://-c: a host that begins with '-'"
  printf 'a ssh://b\n' >config/stead/hosts
  fails 2 "$STEAD_EXE" -H aa ps
  says "did you mean 'a'?"
  echo 'x-stead: { host: "ssh://-x" }' >>compose.yaml
  fails 2 "$STEAD_EXE" ps
  says "x-stead.host: ssh://-x"
  echo 'x-stead: [' >compose.yaml
  fails 2 "$STEAD_EXE" ls
  says "compose.yaml:"
  says "-H chooses one"
  is "$(ssh_runs)" 0
}

# --- what can be wrong with a connection

refused() { # TEXT…: `ps` ends with 2, and says so
  local text
  fails 2 over -p "$PROJECT" ps
  for text in "$@"; do says "$text"; done
}

@test "an unknown host key" {
  : >"$SSH/known"
  refused "is not known here" "ssh-keygen -lf" "ssh-keyscan -p $(ssh_port) 127.0.0.1" "Nothing was sent"
  is "$(cat "$SSH/known")" ""
}

@test "a changed host key" {
  printf '[127.0.0.1]:%s %s\n' "$(ssh_port)" "$(cut -d' ' -f1-2 "$SSH/other.pub")" >"$SSH/known"
  refused "has another host key" "$(ssh-keygen -lf "$SSH/host.pub" | cut -d' ' -f2)" "ssh-keygen -R '[127.0.0.1]:$(ssh_port)'"
}

@test "a wrong key" {
  sed -i "s|IdentityFile .*|IdentityFile $SSH/other|" "$SSH/config"
  refused "refuses the key" "ssh-copy-id"
}

@test "no stead there" {
  rm "$REMOTE/stead"
  refused "stead is not installed there" "stead setup -H $BOX"
}

@test "no permission on the socket" {
  ssh_remote_program <<END
#!/bin/sh
exec setpriv --reuid=65534 --regid=65534 --clear-groups $STEAD_EXE "\$@"
END
  refused "may not use the daemon's socket $SOCK" "sudo usermod -aG stead nobody"
}

@test "no daemon there" {
  fails 2 "$STEAD_EXE" -H "$BOX/run/no-such.sock" ps -A
  says "daemon is not running there"
  says "sudo systemctl start stead"
}

@test "a name that does not resolve, a port where nobody listens, a machine that does not answer" {
  ssh_user_config "Host dead" "ProxyCommand sleep 1000" "ConnectTimeout 1" "Host *"
  fails 2 "$STEAD_EXE" -H ssh://no-such-host.invalid ps -A
  says "the name 'no-such-host.invalid' does not resolve"
  fails 2 "$STEAD_EXE" -H ssh://127.0.0.1:1 ps -A
  says "nobody listens for ssh there"
  fails 2 "$STEAD_EXE" -H ssh://dead ps -A
  says "cannot be reached"
}

@test "no ssh here" {
  PATH=/nonexistent fails 2 over ps -A
  says "openssh-client"
}

@test "a peer that answers nonsense" {
  ssh_remote_program <<'END'
#!/bin/sh
echo "Welcome to this machine!"
exec cat >/dev/null
END
  refused "begins with \"Welcome to this machine!\"" "must print nothing"
  ssh_remote_program <<'END'
#!/bin/sh
head -c 100000 /dev/urandom
END
  refused "is not stead's"
  # Another program altogether.
  ssh_remote_program <<'END'
#!/bin/sh
echo "stead: unknown command 'dial-stdio'" >&2
exit 2
END
  refused "too old" "stead setup -H"
  # After the greeting.
  ssh_remote_program <<'END'
#!/usr/bin/env python3
import json, sys
text = json.dumps({"stead": "dial-stdio", "version": "VERSION"}).encode()
sys.stdout.buffer.write(b"H\0\0\0" + len(text).to_bytes(4, "big") + text + b"Z" * 100)
sys.stdout.buffer.flush()
while sys.stdin.buffer.read(1):
    pass
END
  sed -i "s|VERSION|$(this_version)|" "$REMOTE/stead"
  fails 1 over -p "$PROJECT" ps
  says "does not keep to the protocol"
}

this_version() { "$STEAD_EXE" --version | cut -d' ' -f2; }

@test "versions: one minor release apart works, two do not" {
  local version major minor
  version=$(this_version)
  IFS=. read -r major minor _ <<<"$version"
  ssh_remote_program <<'END'
#!/usr/bin/env python3
import json, subprocess, sys
text = json.dumps({"stead": "dial-stdio", "version": "VERSION"}).encode()
p = subprocess.Popen(["REAL_STEAD", "dial-stdio"], stdout=subprocess.PIPE)
n = int.from_bytes(p.stdout.read(8)[4:], "big")
p.stdout.read(n)
out = sys.stdout.buffer
out.write(b"H\0\0\0" + len(text).to_bytes(4, "big") + text)
out.flush()
while True:
    data = p.stdout.read1(65536)
    if not data:
        break
    out.write(data)
    out.flush()
END
  sed -i "s|REAL_STEAD|$STEAD_EXE|; s|VERSION|$major.$((minor + 1)).7|" "$REMOTE/stead"
  ok over ps -A
  sed -i "s|$major.$((minor + 1)).7|$major.$((minor + 2)).0|" "$REMOTE/stead"
  refused "stead $major.$((minor + 2)).0 is there, and $version here" "stead setup -H"
}

@test "the connection is lost midway" {
  waiting 1
  ok over deploy
  waiting 2
  group deploy
  within 30 grep -q "waiting for health" out.txt
  local sessions
  mapfile -t sessions < <(ps -o pid= --ppid "$(cat "$SSH/sshd.pid")")
  kill -KILL "${sessions[@]}" || true # one of the command before may just be ending
  ends_with 1
  says "$BOX$SOCK: the connection was lost"
  says "stead releases 2"
  says_not "when the daemon starts"
  within 60 eval '[[ $(release 2 .result) == failed ]]'
  has_status running web
}

@test "a build's cache lies on this side" {
  printf 'FROM tiny\nRUN echo "made it" anew; head -c 3000000 /dev/urandom >/made\n' >Dockerfile
  ok over build --cache-to ./cache -t "app:$PROJECT" .
  says "made it anew"
  test -s cache/index.json
  ok over rmi "app:$PROJECT"
  ok over builder prune -a -f
  ok over build --cache-from ./cache -t "app:$PROJECT" .
  says_not "made it anew"
  ok over rmi "app:$PROJECT"
}

@test "the daemon goes away midway, and is there again" {
  compose <<'END'
services: { a: { image: tiny, command: sh -c 'echo ready; exec sleep 1000', stop_grace_period: 0s } }
END
  ok over up -d
  group logs -f
  within 30 grep -q ready out.txt
  daemon_kill
  ends_with 1
  says "daemon"
  daemon_start
  ok over ps
}

@test "dial-stdio is for ssh alone" {
  fails 2 stead dial-stdio --help-me
  ok stead dial-stdio --help
  ok stead --help
  says_not "dial-stdio"
  # A client that hangs up, one that says nothing, and one that talks nonsense.
  stead dial-stdio </dev/null >out
  grep -q '"stead":"dial-stdio"' out
  echo "GET / HTTP/1.1" >in
  fails 1 stead dial-stdio <in
  says "not stead's"
}
