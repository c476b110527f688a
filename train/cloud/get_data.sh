#!/usr/bin/env bash
# Brings data sets to this machine and prints what --data is to be told, a line each; all else goes to standard error.
#
#   train/cloud/get_data.sh BUCKET NAME...
#
# A NAME is a data set that `train/run.py data fetch` knows, or data/FOLDER: your own photos, one folder a class, which lie
# in BUCKET (a mounted folder or s3://NAME). Everything is put below SMARTBIN_DATA, whole or not at all.
#
# Environment: SMARTBIN_DATA (required), PYTHON (python).
set -euo pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
bucket=${1:?usage: get_data.sh BUCKET NAME...}
shift
root=${SMARTBIN_DATA:?names the folder for the photos}

own_photos() {
  local place=$root/$1
  if [ ! -d "$place" ]; then
    rm -rf "$place.part"
    mkdir -p "$(dirname "$place")"
    case $bucket in
      s3://*) aws s3 cp --only-show-errors --recursive "$bucket/$1" "$place.part" ;;
      *) cp -r "$bucket/$1" "$place.part" ;;
    esac
    if [ ! -d "$place.part" ]; then
      echo "get_data: no photos in $bucket/$1" >&2
      exit 1
    fi
    mv "$place.part" "$place"
  fi
  echo "$place"
}

for name; do
  case $name in
    data/*) own_photos "$name" ;;
    *) "${PYTHON:-python}" "$here/../run.py" data fetch "$name" --to "$root" >&2 && echo "$name" ;;
  esac
done
