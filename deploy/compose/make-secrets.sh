#!/bin/sh
# Makes the secrets of production.yaml as files, once: make-secrets.sh FOLDER. What is there already stays as it is, for a new
# password does not change the database's, and a new API_KEY_SECRET makes every API key and join token invalid.
set -eu
umask 077
folder=${1:?usage: make-secrets.sh FOLDER}
# The control plane's user in its image.
owner=1000
mkdir -p "$folder"

random() {
  od -An -N32 -tx1 /dev/urandom | tr -d ' \n'
}

# keep NAME: what stdin says, whole or not at all.
keep() {
  cat >"$folder/$1.new"
  chmod 400 "$folder/$1.new"
  mv "$folder/$1.new" "$folder/$1"
  echo "made $folder/$1"
}

[ -e "$folder/postgres-password" ] || random | keep postgres-password
[ -e "$folder/metrics-token" ] || random | keep metrics-token
if [ ! -e "$folder/control-plane.env" ]; then
  password=$(cat "$folder/postgres-password")
  {
    echo "DATABASE_URL=postgresql://wolfpack:$password@postgres:5432/wolfpack"
    echo "API_KEY_SECRET=$(random)"
    echo "# Enrols any host. Without it each host needs a join token, which is better."
    echo "# RUNNER_TOKEN="
  } | keep control-plane.env
fi

# Docker hands files over with the owner that they have here. PostgreSQL's image reads its password as root.
if [ "$(id -u)" = 0 ]; then
  chown "$owner" "$folder/control-plane.env" "$folder/metrics-token"
elif [ "$(id -u)" != "$owner" ]; then
  echo "give these to user $owner, as root: chown $owner $folder/control-plane.env $folder/metrics-token" >&2
fi
