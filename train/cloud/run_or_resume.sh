#!/usr/bin/env bash
# Starts a training run, or goes on with it where it stopped: the same command after every interruption, on any machine.
#
#   train/cloud/run_or_resume.sh runs/NAME --data garbage --model efficientnet_lite0 --epochs 20
#
# The flags are those of train/run.py; a run that goes on keeps the ones that it began with. SIGTERM and Ctrl-C save the
# state first. Exit code: 0 finished, 143 stopped with its state saved, else that of the training.
#
# Environment:
#   MIRROR        a folder or s3://BUCKET/PREFIX that keeps a copy of the run directory: a run that is not here is brought
#                 back from it, and what changes is copied to it every MIRROR_S seconds and at the end
#   MIRROR_S      seconds from copy to copy (120)
#   PROCESSES     training processes, one a GPU, through torchrun (default: the number of GPUs)
#   PYTHON        interpreter (python)
#   TRAIN         what trains, after the interpreter (train/run.py of this checkout)
#   SMARTBIN_DATA where named data sets lie; also for a run that goes on, so that the folder may be another one
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
run=${1:?usage: run_or_resume.sh RUN_DIRECTORY [flags of train/run.py]}
shift
mirror=${MIRROR:-}
python=${PYTHON:-python}
read -r -a train <<<"${TRAIN:-$here/../run.py}"
copied=$run/.mirrored # its time is that of the last copy
child='' copier='' stopped=''

say() { echo "run_or_resume: $*"; }

# Copies one file of the run directory. A folder gets it under another name first, so that a machine which is lost
# meanwhile leaves no half file; an object store does so by itself.
copy_file() {
  case $mirror in
    s3://*) aws s3 cp --only-show-errors "$run/$1" "$mirror/$1" ;;
    *) mkdir -p "$(dirname "$mirror/$1")" && cp "$run/$1" "$mirror/$1.part" && mv -f "$mirror/$1.part" "$mirror/$1" ;;
  esac
}

# Copies what has changed since the last time. The time is taken before the copying, so that a file which is replaced
# while it is copied counts as changed the next time. Hidden files are half-written ones.
save_to_mirror() {
  local file count=0
  [ -n "$mirror" ] && [ -d "$run" ] || return 0
  touch "$copied.next"
  while IFS= read -r -d '' file; do
    if [ ! "$copied" -nt "$run/$file" ]; then
      copy_file "$file" || return 1
      count=$((count + 1))
    fi
  done < <(cd "$run" && find . -type f ! -path '*/.*' -printf '%P\0' | sort -z)
  mv -f "$copied.next" "$copied"
  [ "$count" = 0 ] || say "files copied to $mirror: $count"
}

bring_from_mirror() {
  [ -n "$mirror" ] && [ ! -e "$run" ] || return 0
  case $mirror in
    s3://*) aws s3 cp --only-show-errors --recursive "$mirror" "$run.part" ;;
    *) [ ! -d "$mirror" ] || cp -r "$mirror" "$run.part" ;;
  esac
  [ ! -d "$run.part" ] || { mv "$run.part" "$run" && touch "$copied" && say "brought $run back from $mirror"; }
}

processes() {
  local gpus=0
  if command -v nvidia-smi >/dev/null; then
    gpus=$(nvidia-smi -L 2>/dev/null | grep -c '^GPU' || true) # none, or a driver that does not run: one process
  fi
  echo "${PROCESSES:-$((gpus > 1 ? gpus : 1))}"
}

stop_copier() {
  [ -z "$copier" ] || { kill -TERM -- "-$copier" && wait "$copier"; } 2>/dev/null || true
  copier=''
}

# Several signals are one wish: train/run.py notes the first, and saves after the step that it is in. So the first that
# can be passed on is the last that is taken. Until there is a child none is ignored: it would inherit that.
# shellcheck disable=SC2329  # the trap calls it
pass_on() {
  stopped=yes
  [ -n "$child" ] || return 0
  trap '' TERM INT
  kill -TERM "$child" 2>/dev/null || true
}

rm -rf "$run.part"
mkdir -p "$(dirname "$run")"
bring_from_mirror
if [ -e "$run/.finished" ]; then
  say "$run is finished already"
  exit 0
fi
if [ -e "$run/checkpoint.pt" ]; then
  say "going on with $run; it keeps the settings that it began with"
  set -- --resume "$run" ${SMARTBIN_DATA:+--data-root "$SMARTBIN_DATA"}
else
  if [ -e "$run" ]; then # stopped before there was anything to go on from; kept, for it may be something else
    mv "$run" "$run.before-$(date +%Y%m%d-%H%M%S)"
  fi
  set -- "$@" --out "$run"
fi

count=$(processes)
command=("$python")
if [ "$count" -gt 1 ]; then
  command+=(-m torch.distributed.run --standalone "--nproc-per-node=$count")
fi
command+=("${train[@]}" "$@")
say "${command[*]}"

trap pass_on TERM INT
set -m # a process group for each child: Ctrl-C reaches this script only, and the copier ends with its sleep
if [ -n "$mirror" ]; then
  while sleep "${MIRROR_S:-120}"; do save_to_mirror || say "copying to $mirror failed; again in a while"; done &
  copier=$!
fi
"${command[@]}" &
child=$!
[ -z "$stopped" ] || pass_on
set +m # and no notices of their ends
wait "$child" && code=0 || code=$?
if [ -n "$stopped" ]; then # the signal ended `wait`, not the child
  wait "$child" && code=0 || code=$?
fi
trap '' TERM INT # what follows reads $( ): where a trapped signal comes meanwhile bash 5.2 ends with a syntax error
stop_copier
rm -f "$copied.next"
if ! save_to_mirror; then
  say "the last copy to $mirror failed: fetch $run from this machine" >&2
  exit 74 # EX_IOERR
fi
if [ "$code" = 0 ]; then
  touch "$run/.finished"
  [ -z "$mirror" ] || copy_file .finished
  say "finished: $run"
elif [ -n "$stopped" ]; then # torchrun ends with 1 after a signal
  if [ -e "$run/checkpoint.pt" ]; then say "stopped, state saved: $run"; else say "stopped, no state to save yet"; fi
  exit 143
else
  say "training ended with exit code $code" >&2
fi
exit "$code"
