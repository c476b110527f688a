#!/usr/bin/env bash
# Trains on AWS: one command starts a run on a GPU instance, one fetches the run directory.
#
#   train/cloud/aws.sh start RUN [flags of train/run.py]   this checkout, changed files included, up to the first epoch
#   train/cloud/aws.sh follow RUN                          the log as it comes
#   train/cloud/aws.sh status                              what runs now, and which runs are in the bucket
#   train/cloud/aws.sh stop RUN                            saves the state and ends the instance
#   train/cloud/aws.sh fetch RUN                           the run directory to runs/RUN
#
# `start` with the name of an earlier run goes on with it. Needs the AWS CLI, with a region and rights to make the stack.
#
# Environment: STACK (smartbin-train), DATA (garbage: names of data sets, or data/FOLDER in the bucket), HOURS (6, then
# everything ends), MARKET (spot or on-demand), INSTANCE (g6.xlarge), OTHER_INSTANCE (g5.xlarge; empty: none),
# VPC and SUBNETS (those of the default network; SUBNETS with commas).
set -euo pipefail
shopt -s inherit_errexit

stack=${STACK:-smartbin-train}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage() { sed -n '2,/^$/s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed '/^set /,$d' >&2 && exit 2; }
fail() { echo "aws.sh: $*" >&2 && exit 1; }

resource() {
  aws cloudformation describe-stack-resource --stack-name "$stack" --logical-resource-id "$1" --output text \
    --query StackResourceDetail.PhysicalResourceId
}

running() {
  aws ec2 describe-instances --output text --query 'Reservations[].Instances[].[InstanceId,State.Name,LaunchTime]' \
    --filters "Name=tag:smartbin-stack,Values=$stack" 'Name=instance-state-name,Values=pending,running,shutting-down'
}

deploy() {
  aws cloudformation deploy --stack-name "$stack" --template-file "$here/cloudformation.yaml" \
    --capabilities CAPABILITY_IAM --no-fail-on-empty-changeset --tags "smartbin-stack=$stack" --parameter-overrides "$@"
}

# The checkout as it is, with changed files, without untracked ones and history; prints its commit.
upload_source() {
  local commit state
  commit=$(git -C "$here" rev-parse HEAD)
  state=$(git -C "$here" -c user.name=smartbin -c user.email=smartbin@localhost stash create)
  git -C "$here/../.." archive --format=tar.gz "${state:-HEAD}" |
    aws s3 cp --only-show-errors - "s3://$1/source/$2.tar.gz"
  echo "$commit${state:++}"
}

group_size() {
  aws autoscaling describe-auto-scaling-groups --auto-scaling-group-names "$stack-$1" --output text \
    --query 'AutoScalingGroups[0].DesiredCapacity'
}

resize() {
  aws autoscaling update-auto-scaling-group --auto-scaling-group-name "$stack-$1" --min-size 0 --max-size "$2" \
    --desired-capacity "$2"
}

start() {
  local run=$1 vpc subnets bucket commit deadline before
  shift
  [[ $run =~ ^[a-z0-9][a-z0-9-]{0,46}[a-z0-9]$ ]] || fail "$run: a run is named by small letters, digits and hyphens"
  [ -z "$(running)" ] || fail "$stack has an instance already (train/cloud/aws.sh status); another STACK runs beside it"
  vpc=${VPC:-$(aws ec2 describe-vpcs --filters Name=is-default,Values=true --query 'Vpcs[0].VpcId' --output text)}
  [ "$vpc" != None ] || fail "this region has no default network: say VPC and SUBNETS"
  subnets=${SUBNETS:-$(aws ec2 describe-subnets --filters "Name=vpc-id,Values=$vpc" --query 'Subnets[].SubnetId' \
    --output text | tr '\t' ',')}
  if ! aws cloudformation describe-stacks --stack-name "$stack" >/dev/null 2>&1; then
    deploy RunName= "VpcId=$vpc" "SubnetIds=$subnets" # the bucket, for the source to be there when the instance starts
  fi
  before=$(group_size "$run")
  bucket=$(resource Bucket)
  commit=$(upload_source "$bucket" "$run")
  deadline=$(date -u -d "+${HOURS:-6} hours" +%FT%T)
  echo "starting; this waits for the first epoch, 10 to 45 minutes. Nothing runs after ${deadline}Z."
  deploy "RunName=$run" "Source=source/$run.tar.gz" "Commit=$commit" "DataSets=${DATA:-garbage}" \
    "TrainFlags=${*:---model efficientnet_lite0 --weights imagenet --epochs 20}" "Deadline=$deadline" \
    "InstanceType=${INSTANCE:-g6.xlarge}" "OtherInstanceType=${OTHER_INSTANCE-g5.xlarge}" "Market=${MARKET:-spot}" \
    "VpcId=$vpc" "SubnetIds=$subnets"
  if [ "$before" != None ] && [ "$(group_size "$run")" = 0 ]; then # the run ended before, and its group with it
    resize "$run" 1
  fi
  echo "training. Follow: train/cloud/aws.sh follow $run; then: train/cloud/aws.sh fetch $run"
}

status() {
  local bucket
  echo "instances of $stack now:" && running
  bucket=$(resource Bucket)
  echo "runs in $bucket:" && aws s3 ls "s3://$bucket/runs/"
}

[ $# -ge 1 ] || usage
command=$1
shift
[ "$command" = status ] || [ $# -ge 1 ] || usage
case $command in
  start) start "$@" ;;
  status) status ;;
  follow) aws logs tail "$(resource Logs)" --follow --log-stream-name-prefix "$1/" ;;
  stop) resize "$1" 0 ;;
  fetch) aws s3 sync "s3://$(resource Bucket)/runs/$1" "runs/$1" --exact-timestamps ;;
  *) usage ;;
esac
