# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
#
# bash completion of stead. The table below is what `stead __options` prints, a line an option:
# VERB|--OPTION|-LETTER|KIND OF VALUE|WORDS OR WHAT THE VALUE IS; lines without a verb are options
# of all. Names of services, containers, images … come from `stead __complete`.

_stead_table='
|--file|-f|list|file
|--project-name|-p|string|stack
|--host|-H|string|
|--project-directory||string|directory
|--env-file||list|file
|--profile||list|
|--json||flag|
|--ansi||choice|auto never always
|--progress||choice|auto tty plain quiet
|--help|-h|flag|
|--version||flag|
up|||operands|service
up|--detach|-d|flag|
up|--wait||flag|
up|--wait-timeout||number|
up|--force-recreate||flag|
up|--no-recreate||flag|
up|--always-recreate-deps||flag|
up|--no-deps||flag|
up|--no-start||flag|
up|--remove-orphans||flag|
up|--scale||list|service
up|--timeout|-t|number|
up|--renew-anon-volumes|-V|flag|
up|--abort-on-container-exit||flag|
up|--abort-on-container-failure||flag|
up|--exit-code-from||string|service
up|--attach||list|service
up|--no-attach||list|service
up|--no-log-prefix||flag|
up|--no-color||flag|
up|--timestamps||flag|
up|--pull||choice|always missing never
up|--quiet-pull||flag|
up|--build||flag|
up|--no-build||flag|
up|--ship-from||string|
up|--no-ship||flag|
down|||operands|
down|--volumes|-v|flag|
down|--remove-orphans||flag|
down|--timeout|-t|number|
down|--rmi||choice|local all
build|||operands|service
build|--tag|-t|list|image
build|--file|-f|string|file
build|--target||string|
build|--build-arg||list|
build|--platform||string|
build|--no-cache||flag|
build|--no-cache-filter||list|
build|--cache-from||list|directory
build|--cache-to||list|directory
build|--pull||flag|
build|--label||list|
build|--secret||list|
build|--ssh||list|
build|--network||choice|default host none
build|--add-host||list|
build|--build-context||list|
build|--memory|-m|string|
build|--cpus||string|
build|--shm-size||string|
build|--ulimit||list|
build|--quiet|-q|flag|
build|--iidfile||string|file
build|--check||flag|
build|--shell-on-fail||flag|
builder prune|||operands|
builder prune|--all|-a|flag|
builder prune|--force|-f|flag|
builder prune|--dry-run||flag|
builder prune|--filter||list|
builder prune|--keep-storage||string|
why|||operands|service
deploy|||operands|service
deploy|--plan||flag|
deploy|--no-wait||flag|
deploy|--pull||choice|always missing never
deploy|--quiet-pull||flag|
deploy|--no-build||flag|
deploy|--timeout|-t|number|
deploy|--ship-from||string|
deploy|--no-ship||flag|
releases|||operands|service
releases|--quiet|-q|flag|
releases|--no-trunc||flag|
releases|--format||choice|table json
rollback|||operands|
rollback|--to||number|release
rollback|--no-wait||flag|
routes|||operands|
routes|--all-stacks|-A|flag|
routes|--ca||flag|
routes|--format||choice|table json
maintenance|||operands|service
cache purge|||operands|service
ship|||operands|image
ship|--to||string|
ship|--from||string|
ps|||operands|service
ps|--all|-a|flag|
ps|--all-stacks|-A|flag|
ps|--quiet|-q|flag|
ps|--services||flag|
ps|--filter||list|
ps|--status||list|
ps|--format||choice|table json
ps|--no-trunc||flag|
logs|||operands|service
logs|--follow|-f|flag|
logs|--tail|-n|string|
logs|--since||string|
logs|--until||string|
logs|--timestamps|-t|flag|
logs|--no-color||flag|
logs|--no-log-prefix||flag|
exec|||operands|service
exec|--detach|-d|flag|
exec|--env|-e|list|
exec|--index||number|
exec|--interactive|-i|flag|
exec|--tty|-t|flag|
exec|--no-tty|-T|flag|
exec|--privileged||flag|
exec|--user|-u|string|
exec|--workdir|-w|string|
start|||operands|service
stop|||operands|service
stop|--timeout|-t|number|
restart|||operands|service
restart|--timeout|-t|number|
kill|||operands|service
kill|--signal|-s|string|
rm|||operands|service
rm|--force|-f|flag|
rm|--stop|-s|flag|
rm|--volumes|-v|flag|
wait|||operands|service
top|||operands|service
stats|||operands|service
stats|--no-stream||flag|
stats|--format||choice|table json
ls|||operands|
ls|--all|-a|flag|
ls|--quiet|-q|flag|
ls|--format||choice|table json
config|||operands|service
config|--format||choice|yaml json
config|--output|-o|string|file
config|--quiet|-q|flag|
config|--services||flag|
config|--images||flag|
config|--volumes||flag|
config|--networks||flag|
config|--hash||optional|service
events|||operands|service
events|--since||string|
events|--until||string|
events|--filter||list|
inspect|||operands|container
inspect|--type||choice|container service image network volume
inspect|--format||choice|json
images|||operands|image
images|--all|-a|flag|
images|--quiet|-q|flag|
images|--filter||list|
images|--format||choice|table json
images|--no-trunc||flag|
rmi|||operands|image
rmi|--force|-f|flag|
rmi|--no-prune||flag|
pull|||operands|service
pull|--quiet|-q|flag|
pull|--platform||string|
pull|--policy||choice|always missing
pull|--include-deps||flag|
pull|--ignore-pull-failures||flag|
push|||operands|image
push|--quiet|-q|flag|
push|--all-tags|-a|flag|
login|||operands|
login|--username|-u|string|
login|--password|-p|string|
login|--password-stdin||flag|
logout|||operands|
load|||operands|
load|--input|-i|string|file
load|--quiet|-q|flag|
save|||operands|image
save|--output|-o|string|file
import|||operands|file
import|--arch||string|
import|--cmd||string|
import|--entrypoint||string|
import|--env|-e|list|
import|--port||list|
import|--user|-u|string|
import|--workdir|-w|string|
import|--volume||list|
import|--label|-l|list|
image bootstrap|||operands|
image bootstrap|--packages||list|
image bootstrap|--suite||string|
image bootstrap|--mirror||string|
image bootstrap|--arch||string|
image bootstrap|--cmd||string|
image bootstrap|--entrypoint||string|
image bootstrap|--env|-e|list|
image bootstrap|--port||list|
image bootstrap|--user|-u|string|
image bootstrap|--workdir|-w|string|
image bootstrap|--volume||list|
image bootstrap|--label|-l|list|
image prune|||operands|
image prune|--all|-a|flag|
image prune|--force|-f|flag|
image prune|--dry-run||flag|
image prune|--filter||list|
image ls|||operands|image
image ls|--all|-a|flag|
image ls|--quiet|-q|flag|
image ls|--filter||list|
image ls|--format||choice|table json
image ls|--no-trunc||flag|
image rm|||operands|image
image rm|--force|-f|flag|
image rm|--no-prune||flag|
image pull|||operands|service
image pull|--quiet|-q|flag|
image pull|--platform||string|
image pull|--policy||choice|always missing
image pull|--include-deps||flag|
image pull|--ignore-pull-failures||flag|
image push|||operands|image
image push|--quiet|-q|flag|
image push|--all-tags|-a|flag|
image load|||operands|
image load|--input|-i|string|file
image load|--quiet|-q|flag|
image save|||operands|image
image save|--output|-o|string|file
image import|||operands|file
image import|--arch||string|
image import|--cmd||string|
image import|--entrypoint||string|
image import|--env|-e|list|
image import|--port||list|
image import|--user|-u|string|
image import|--workdir|-w|string|
image import|--volume||list|
image import|--label|-l|list|
image-bootstrap|||operands|
image-bootstrap|--packages||list|
image-bootstrap|--suite||string|
image-bootstrap|--mirror||string|
image-bootstrap|--arch||string|
image-bootstrap|--cmd||string|
image-bootstrap|--entrypoint||string|
image-bootstrap|--env|-e|list|
image-bootstrap|--port||list|
image-bootstrap|--user|-u|string|
image-bootstrap|--workdir|-w|string|
image-bootstrap|--volume||list|
image-bootstrap|--label|-l|list|
volume ls|||operands|
volume ls|--quiet|-q|flag|
volume ls|--filter||list|
volume ls|--format||choice|table json
volume rm|||operands|volume
volume rm|--force|-f|flag|
network ls|||operands|
network ls|--quiet|-q|flag|
network ls|--filter||list|
network ls|--format||choice|table json
setup|||operands|
setup|--yes|-y|flag|
setup|--dry-run|-s|flag|
setup|--binary-dir||string|directory
version|||operands|
version|--short||flag|
version|--format||choice|text json
info|||operands|
daemon|||operands|
daemon|--name||string|
daemon|--state-dir||string|directory
daemon|--run-dir||string|directory
daemon|--runtime||string|file
daemon|--edge-http||string|
daemon|--edge-https||string|
daemon|--acme-server||string|
daemon|--acme-email||string|
daemon|--acme-ca||string|file
daemon|--registries||string|file
daemon|--image-quota||string|
daemon|--build-cache-quota||string|
daemon|--debug||flag|
help|||operands|command
'

# The line of an option of a verb, or of all verbs.
_stead_option() { # VERB OPTION
  local line verb long short
  for verb in "$1" ''; do
    while IFS= read -r line; do
      IFS='|' read -r _ long short _ <<<"$line"
      if [[ $line == "$verb|"* && ($2 == "$long" || $2 == "$short") ]]; then
        printf '%s\n' "$line"
        return 0
      fi
    done <<<"$_stead_table"
  done
  return 1
}

# Does the option take the next word as its value?
_stead_takes_value() { # VERB OPTION
  local kind
  IFS='|' read -r _ _ _ kind _ < <(_stead_option "$1" "$2") || return 1
  [[ $kind == string || $kind == list || $kind == number || $kind == choice ]]
}

_stead_words() { # WORDS…: those that continue the current one
  local word
  while IFS= read -r word; do
    [[ -n $word && $word == "$_stead_cur"* ]] && COMPREPLY+=("$word")
  done < <(printf '%s\n' "$@")
}

# Words of a kind. The shell breaks "redis:7" at the colon: what stands before it must not be given again.
_stead_kind() { # KIND
  local colon=${_stead_cur%"${_stead_cur##*:}"}
  case $1 in
    file) mapfile -t COMPREPLY < <(compgen -f -- "$_stead_cur") && compopt -o filenames 2>/dev/null ;;
    directory) mapfile -t COMPREPLY < <(compgen -d -- "$_stead_cur") && compopt -o filenames 2>/dev/null ;;
    service | container | image | volume | network | stack | release)
      mapfile -t words < <("${COMP_WORDS[0]}" "${_stead_context[@]}" __complete "$1" 2>/dev/null)
      _stead_words "${words[@]}"
      if [[ -n $colon && $COMP_WORDBREAKS == *:* ]]; then
        COMPREPLY=("${COMPREPLY[@]#"$colon"}")
      fi
      ;;
    command) _stead_words up down deploy releases rollback routes maintenance cache ps logs exec start stop restart kill rm wait top \
      stats ls config events inspect images rmi load save import image volume network setup version info daemon help ;;
    ?*)
      # A choice: its words stand in the table.
      local choices
      read -ra choices <<<"$1"
      _stead_words "${choices[@]}"
      ;;
  esac
}

_stead_value() { # VERB OPTION
  local kind words
  IFS='|' read -r _ _ _ kind words < <(_stead_option "$1" "$2")
  [[ $1 == up && $2 == --scale ]] && compopt -o nospace 2>/dev/null
  _stead_kind "$words"
}

_stead_options() { # VERB
  local verb long
  while IFS='|' read -r verb long _; do
    [[ $verb == "$1" || -z $verb ]] && [[ $long == --* ]] && _stead_words "$long"
  done <<<"$_stead_table"
}

_stead() {
  local words verb='' group='' operands=0 ended='' i word previous
  local -a _stead_context=()
  local _stead_cur=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  # With ":" and "=" among the word breaks, "redis:7" comes as three words: put them together again.
  if [[ $COMP_CWORD -ge 2 && ${COMP_WORDS[COMP_CWORD - 1]} == : && $_stead_cur != -* ]]; then
    _stead_cur=${COMP_WORDS[COMP_CWORD - 2]}:$_stead_cur
  elif [[ $_stead_cur == : ]]; then
    _stead_cur=${COMP_WORDS[COMP_CWORD - 1]}:
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    word=${COMP_WORDS[i]}
    [[ $word == : || $word == = ]] && continue
    if [[ -z $ended && $word == -?* ]]; then
      [[ $word == -- ]] && ended=1
      if _stead_takes_value "$verb" "$word"; then
        ((i + 1 < COMP_CWORD)) && [[ ${COMP_WORDS[i + 1]} == = ]] && ((i++))
        # What picks the stack and the daemon is passed on.
        case $(_stead_option "$verb" "$word") in
          '|--file|'* | '|--project'* | '|--host|'* | '|--env-file|'*)
            ((i + 1 < COMP_CWORD)) && _stead_context+=("$word" "${COMP_WORDS[i + 1]}") ;;
        esac
        ((i++))
      fi
    elif [[ -n $verb ]]; then
      operands=$((operands + 1))
      [[ $verb == exec ]] && ended=1
    elif [[ -n $group ]]; then
      verb="$group $word"
    elif [[ $word == image || $word == volume || $word == network || $word == cache ]]; then
      group=$word
    else
      verb=$word
    fi
  done

  previous=${COMP_WORDS[COMP_CWORD - 1]}
  if [[ $previous == = && $COMP_CWORD -ge 2 ]]; then
    previous=${COMP_WORDS[COMP_CWORD - 2]}
  elif [[ $_stead_cur == = ]]; then
    _stead_cur=''
  fi
  if [[ -z $ended && $previous == -?* ]] && _stead_takes_value "$verb" "$previous"; then
    _stead_value "$verb" "$previous"
  elif [[ -z $ended && $_stead_cur == -* ]]; then
    _stead_options "$verb"
  elif [[ -z $verb && -n $group ]]; then
    while IFS='|' read -r word _; do
      [[ $word == "$group "* ]] && _stead_words "${word#"$group" }"
    done < <(printf '%s' "$_stead_table" | grep '|||operands|')
  elif [[ -z $verb ]]; then
    _stead_kind command
  elif [[ $verb == exec && $operands -gt 0 ]]; then
    return 0
  elif [[ $verb == maintenance && $operands -eq 0 ]]; then
    _stead_words on off
  else
    while IFS='|' read -r word previous _ _ words; do
      [[ $word == "$verb" && -z $previous ]] && _stead_kind "$words"
    done <<<"$_stead_table"
  fi
  return 0
}

complete -F _stead stead
