#!/usr/bin/env bash
# What an instance of cloudformation.yaml does from its first boot to its end. The template carries this text as user data,
# behind its settings: STACK REGION LOG_GROUP BUCKET RUN_NAME SOURCE COMMIT DATA FLAGS DEADLINE (UTC).
# tools/embed_user_data.py puts it there; a test compares the two.
#
# The instance ends itself in every case: finished, failed or out of time, it leaves its group, which is then empty. Only
# when a spot instance is taken away does it stay in, so that the group starts another one, which goes on with the run.
#
# bash 5.2 ends with a syntax error where a trapped signal comes while it reads a $( ). So there is none in the shell that
# traps SIGTERM: a function that needs one has a subshell for a body, ( ), and answers are read from a file.
set -euo pipefail
shopt -s inherit_errexit
export PATH=$PATH:/opt/aws/bin:/opt/aws/amazon-cloudwatch-agent/bin

root=${SMARTBIN_ROOT:-/opt/smartbin}
log=${SMARTBIN_LOG:-/var/log/smartbin-train.log}
imds=${SMARTBIN_IMDS:-http://169.254.169.254/latest}
poll_s=${SMARTBIN_POLL_S:-5}
copy_s=${SMARTBIN_COPY_S:-120} # from copy to copy of the log
spare_s=300 # before the deadline, for the state to be saved and copied
run=$root/runs/$RUN_NAME
training='' ending='' signalled='' id='' copier='' answer=''

say() { TZ=UTC printf '%(%FT%TZ)T smartbin: %s\n' -1 "$*"; }
metadata() (
  token=$(curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' "$imds/api/token") &&
    curl -sf -m 5 -H "X-aws-ec2-metadata-token: $token" "$imds/meta-data/$1"
)
seconds_left() { echo $(($(date -u -d "${DEADLINE}Z" +%s) - $(date +%s))); }
out_of_time() (
  left=$(seconds_left)
  [ "$left" -le "$spare_s" ]
)
# Ends the machine even if all of this hangs. The third guard is outside of it: the schedule in the template.
shut_down_later() (
  left=$(seconds_left)
  shutdown -P "+$((left / 60 + 10))"
)
as_trainer=( # not root; an array, since a function in the background would be one process more, which takes the signals
  setpriv --reuid=trainer --regid=trainer --init-groups -- env HOME="$root" PYTHONUNBUFFERED=1
  AWS_DEFAULT_REGION="$REGION" SMARTBIN_DATA="$root/photos" SMARTBIN_COMMIT="$COMMIT" PYTHON="$root/env/bin/python"
  MIRROR="s3://$BUCKET/runs/$RUN_NAME"
)

# Tells CloudFormation once whether training has begun. It is not waiting where an instance replaces another.
tell_stack() {
  [ -z "$signalled" ] || return 0
  signalled=yes
  cfn-signal --exit-code "$1" --reason "$2" --stack "$STACK" --resource Trainer --region "$REGION" ||
    say "the stack takes no signal now"
}

copy_log() {
  aws s3 cp --only-show-errors "$log" "s3://$BUCKET/logs/$RUN_NAME/$id.log" || say "the log could not be copied"
}

# While the instance lives: one that is lost all at once copies nothing any more.
start_copier() {
  set -m # a process group, so that it ends with its sleep
  while sleep "$copy_s"; do copy_log; done &
  copier=$!
  set +m
}

stop_copier() {
  [ -z "$copier" ] || { kill -TERM -- "-$copier" && wait "$copier"; } 2>/dev/null || true
}

# Ends the instance and makes its group smaller by it, so that nothing replaces it.
leave() {
  say "the end: $1"
  copy_log
  sleep "${SMARTBIN_LOG_S:-15}" # for the CloudWatch agent to send the last lines
  aws autoscaling terminate-instance-in-auto-scaling-group --region "$REGION" --instance-id "$id" \
    --should-decrement-desired-capacity || shutdown -P now
}

at_exit() {
  local code=$?
  trap - EXIT
  trap '' TERM # it is ending
  rm -f "$answer"
  stop_copier
  case $ending in
    'the spot instance is taken away' | 'the instance is stopped')
      say "$ending; the state is saved"
      copy_log
      ;;
    *)
      tell_stack "$code" "${ending:-ended with code $code before training began}"
      leave "${ending:-code $code}"
      ;;
  esac
}

# Once is enough. Until there is training SIGTERM is not ignored: it would inherit that.
# shellcheck disable=SC2329  # the trap and the watch call it
stop() {
  ending=$1
  say "$ending"
  [ -n "$training" ] || return 0
  trap '' TERM
  kill -TERM "$training" 2>/dev/null || true
}

guard() {
  if out_of_time; then
    ending='the deadline has passed'
    return 1
  fi
  shut_down_later
}

logs() {
  local settings=$root/cloudwatch.json
  cat >"$settings" <<JSON
{"logs": {"logs_collected": {"files": {"collect_list": [
  {"file_path": "$log", "log_group_name": "$LOG_GROUP", "log_stream_name": "$RUN_NAME/{instance_id}"}]}}}}
JSON
  amazon-cloudwatch-agent-ctl -a fetch-config -m ec2 -s -c "file:$settings" >/dev/null ||
    say "no logs in CloudWatch; the log is in the bucket"
}

source_code() {
  mkdir -p "$root/source"
  case $SOURCE in
    https://*)
      git -C "$root/source" init --quiet
      git -C "$root/source" fetch --quiet --depth 1 "$SOURCE" "${COMMIT:-HEAD}"
      git -C "$root/source" checkout --quiet FETCH_HEAD
      ;;
    *) aws s3 cp --only-show-errors "s3://$BUCKET/$SOURCE" - | tar -xz -C "$root/source" ;;
  esac
}

packages() {
  "${as_trainer[@]}" python3.12 -m venv "$root/env"
  (cd "$root/source" &&
    "${as_trainer[@]}" "$root/env/bin/python" -m pip install --quiet --constraint constraints.txt '.[train,data]')
  "${as_trainer[@]}" "$root/env/bin/python" -c "import torch; assert torch.cuda.is_available(), 'torch sees no GPU'"
}

watch_training() {
  while kill -0 "$training" 2>/dev/null; do
    [ ! -e "$run/config.toml" ] || tell_stack 0 "training has begun"
    if [ -n "$ending" ]; then
      :
    elif metadata spot/instance-action >/dev/null; then
      stop 'the spot instance is taken away'
    elif out_of_time; then
      stop 'the deadline has passed'
    fi
    sleep "$poll_s" &
    wait $! || true # SIGTERM ends it early
  done
}

main() {
  local code=0
  local -a names photos flags
  read -r -a names <<<"$DATA"
  read -r -a flags <<<"${FLAGS?}"
  answer=$(mktemp)
  trap at_exit EXIT
  trap "stop 'the instance is stopped'" TERM
  metadata instance-id >"$answer"
  read -r id <"$answer" || [ -n "$id" ] # it has no newline
  say "instance $id, run $RUN_NAME, until ${DEADLINE}Z"
  start_copier
  guard
  dnf install -y -q amazon-cloudwatch-agent git-core python3.12 python3.12-pip python3.12-devel gcc tar gzip
  id trainer >/dev/null 2>&1 || useradd --system --home-dir "$root" trainer
  install -d -o trainer -g trainer "$root" "$root/runs" "$root/photos"
  logs
  source_code
  chown -R trainer:trainer "$root/source"
  packages
  cd "$root/source"
  "${as_trainer[@]}" train/cloud/get_data.sh "s3://$BUCKET" "${names[@]}" >"$answer"
  readarray -t photos <"$answer"
  "${as_trainer[@]}" train/cloud/run_or_resume.sh "$run" --data "${photos[@]}" "${flags[@]}" &
  training=$!
  [ -z "$ending" ] || stop "$ending"
  watch_training
  wait "$training" || code=$?
  if [ "$code" = 0 ]; then
    tell_stack 0 'training has begun' # a short run can end before the watch looks
    ending='finished'
  fi
  exit "$code"
}

# cloud-init runs this without an argument. As a unit of systemd it gets SIGTERM when the machine goes down, alone, and
# has time for the last copy before the network does.
if [ "${1:-}" = unit ]; then
  exec >>"$log" 2>&1
  main
else
  exec systemd-run --unit=smartbin-train --property=After=network.target --property=KillMode=mixed \
    --property=TimeoutStopSec=115 /bin/bash "$0" unit
fi
