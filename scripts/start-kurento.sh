#!/usr/bin/env bash
# Starts a Kurento Media Server for Apiary in a container, with the settings that Apiary has for it.
set -euo pipefail

container="apiary-kurento"
# With its registry: Podman takes no short name without being asked.
repository=docker.io/kurento/kurento-media-server
# Where the image's server looks for its settings.
modules=/etc/kurento/modules/kurento
# Tells whether a container of that name is ours, and was started with what is asked for now.
label=apiary.fingerprint
# How long a server may take to start, in seconds.
patience=60

usage() {
  cat <<'TEXT'
Usage: scripts/start-kurento.sh [OPTIONS] [VERSION]

Starts the official image of Kurento Media Server in a container called
apiary-kurento, with Podman or Docker, and waits until it answers at
ws://127.0.0.1:8888/kurento. Its settings are made from those of Apiary
(`apiary kurento-files`). Does nothing where it runs so already; replaces it
where version or settings have changed.

  VERSION           the image's tag [default: 6.16.0]
  --config FILE     Apiary's settings [default: as `apiary serve` finds them]
  --files DIR       where Kurento's settings are kept
                    [default: ~/.local/state/apiary/kurento]
  --engine ENGINE   podman or docker [default: the first that is there]
  --port PORT       where the image's server listens [default: 8888]
  --dry-run         print the commands, change nothing
  --stop            stop it and remove the container
  --help            this text
TEXT
}

fail() {
  printf '%s\n' "$@" >&2
  exit 1
}

bad_usage() {
  printf '%s\n\n' "$1" >&2
  usage >&2
  exit 2
}

version=6.16.0
config=
files=
engine=
port=8888
dry_run=false
stop=false

parse() {
  local versions=0
  while [[ $# -gt 0 ]]; do
    case "$1" in
      --config | --files | --engine | --port)
        [[ -n "${2:-}" ]] || bad_usage "$1 wants a value."
        printf -v "${1#--}" '%s' "$2"
        shift
        ;;
      --dry-run) dry_run=true ;;
      --stop) stop=true ;;
      --help | -h)
        usage
        exit 0
        ;;
      -*) bad_usage "There is no option $1." ;;
      *)
        version=$1
        versions=$((versions + 1))
        ;;
    esac
    shift
  done
  [[ $versions -le 1 ]] || bad_usage "One version is enough."
  [[ "$version" =~ ^[A-Za-z0-9_][A-Za-z0-9._-]*$ ]] || bad_usage "\`$version\` is no version."
  [[ "$port" =~ ^[0-9]+$ ]] || bad_usage "\`$port\` is no port."
  [[ "$engine" =~ ^(podman|docker|)$ ]] || bad_usage "The engine is podman or docker, not \`$engine\`."
}

# run COMMAND...: does it, or says what would be done.
run() {
  if ! $dry_run; then
    "$@"
    return
  fi
  local word line=
  for word; do
    # Bash quotes commas too, which no shell needs.
    [[ "$word" =~ ^[A-Za-z0-9_./:=,-]+$ ]] || printf -v word %q "$word"
    line+=" $word"
  done
  printf '%s\n' "${line# }"
}

choose_engine() {
  if [[ -z "$engine" ]]; then
    if command -v podman >/dev/null; then
      engine=podman
    elif command -v docker >/dev/null; then
      engine=docker
    else
      fail "Neither Podman nor Docker is there." "On Debian: sudo apt-get install podman"
    fi
  fi
  command -v "$engine" >/dev/null || fail "$engine is not there; install it, or leave out --engine."
  local answer
  if ! answer=$("$engine" info 2>&1 >/dev/null); then
    if $dry_run; then
      echo "$engine does not answer; without it, this is what would be done where there is no container yet:" >&2
      return
    fi
    case "$engine" in
      docker)
        fail "Docker does not answer: its daemon does not run, or this user may not use it." \
          "Try: sudo systemctl start docker, and: sudo usermod -aG docker $(id -un)" "$answer"
        ;;
      podman) fail "Podman does not work for this user:" "$answer" ;;
    esac
  fi
}

# The container: empty where there is none, else `true FINGERPRINT` or `false FINGERPRINT`, after whether it runs.
inspect() {
  "$engine" container inspect --format "{{.State.Running}} {{index .Config.Labels \"$label\"}}" "$container" \
    2>/dev/null || true
}

# ours STATE: stops where the container is somebody else's.
ours() {
  [[ -n "${1#* }" ]] ||
    fail "There is a container called $container that this script did not make." \
      "Remove it if nobody needs it: $engine rm --force $container"
}

find_apiary() {
  local root
  root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
  if command -v apiary >/dev/null; then
    apiary=apiary
  elif [[ -x "$root/target/release/apiary" ]]; then
    apiary=$root/target/release/apiary
  else
    fail "The program apiary is neither in the PATH nor in $root/target/release." \
      "Build it there: cargo build --release"
  fi
}

choose_files() {
  if [[ -z "$files" ]]; then
    [[ -n "${XDG_STATE_HOME:-${HOME:-}}" ]] || fail "HOME is not set; say with --files where to keep Kurento's settings."
    files=${XDG_STATE_HOME:-$HOME/.local/state}/apiary/kurento
  fi
  [[ "$files" == /* ]] || files=$PWD/$files
  [[ "$files" != *:* ]] || fail "The path $files holds a colon, which containers' paths must not; choose another with --files."
}

# make_files DIR
make_files() {
  "$apiary" kurento-files --out "$1" ${config:+--config "$config"}
}

is_taken() {
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

wait_until_it_answers() {
  run "$apiary" kurento-ping --wait "$patience" "ws://127.0.0.1:$port/kurento" && return
  echo "Kurento does not answer. What it said last ($engine logs $container):" >&2
  "$engine" logs --tail 20 "$container" >&2 || true
  exit 1
}

stop_it() {
  local state
  state=$(inspect)
  if [[ -z "$state" ]]; then
    echo "There is no container $container."
    return
  fi
  ours "$state"
  run "$engine" rm --force "$container" >&3
  $dry_run || echo "$container is stopped and removed."
}

start_it() {
  local image="$repository:$version" made state file arguments
  find_apiary
  choose_files
  if $dry_run; then
    made=$(mktemp -d)
    # shellcheck disable=SC2064 # the path of now
    trap "rm -r '$made'" EXIT
    run "$apiary" kurento-files --out "$files" ${config:+--config "$config"}
    make_files "$made" >/dev/null
  else
    made=$files
    make_files "$made"
  fi

  arguments=(--name "$container" --network host --restart unless-stopped)
  for file in WebRtcEndpoint.conf.ini BaseRtpEndpoint.conf.ini; do
    arguments+=(--volume "$files/$file:$modules/$file:ro,z")
  done
  local fingerprint
  fingerprint=$({
    printf '%s\n' "$engine" "$image" "${arguments[@]}"
    cat "$made"/{WebRtc,BaseRtp}Endpoint.conf.ini
  } | sha256sum)
  fingerprint=${fingerprint%% *}

  state=$(inspect)
  case "$state" in
    "true $fingerprint")
      echo "$container runs already, with Kurento $version and these settings."
      wait_until_it_answers
      return
      ;;
    "") ;;
    *) ours "$state" ;;
  esac
  if [[ "$state" != true\ * ]] && is_taken; then
    fail "Port $port is taken by another program, so Kurento cannot listen there." \
      "This names it: sudo ss -ltnp 'sport = :$port'"
  fi
  if [[ "$state" == "false $fingerprint" ]]; then
    run "$engine" start "$container" >&3
    wait_until_it_answers
    return
  fi
  if ! "$engine" image inspect "$image" >/dev/null 2>&1; then
    run "$engine" pull "$image" ||
      fail "The image $image cannot be pulled; check the version ($version) and the way to the registry."
  fi
  if [[ -n "$state" ]]; then
    $dry_run || echo "Replacing $container: version or settings have changed."
    run "$engine" rm --force "$container" >&3
  fi
  run "$engine" run --detach "${arguments[@]}" --label "$label=$fingerprint" "$image" >&3 ||
    fail "The container cannot be started; $engine says why above."
  wait_until_it_answers
}

parse "$@"
# Ids of containers are for nobody; what would be done is for who asks.
if $dry_run; then
  exec 3>&1
else
  exec 3>/dev/null
fi
choose_engine
if $stop; then
  stop_it
else
  start_it
fi
