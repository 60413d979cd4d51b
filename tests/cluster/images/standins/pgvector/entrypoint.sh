#!/usr/bin/env bash
# What the public PostgreSQL image documents of its start: the first one makes the cluster (POSTGRES_USER, POSTGRES_PASSWORD,
# POSTGRES_DB, POSTGRES_INITDB_ARGS, POSTGRES_HOST_AUTH_METHOD, each also as NAME_FILE), runs /docker-entrypoint-initdb.d, and
# every start ends in `postgres` with the arguments given. As root it goes on as the user postgres.
set -Eeuo pipefail

from_file() { # from_file NAME DEFAULT   $NAME, or what the file $NAME_FILE holds, or DEFAULT
  local name=$1 file="${1}_FILE"
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then echo "Set $name or $file, not both." >&2; exit 1; fi
  if [ -n "${!file:-}" ]; then export "$name=$(<"${!file}")"; else export "$name=${!name:-${2:-}}"; fi
  unset "$file"
}

[ "${1:0:1}" != - ] || set -- postgres "$@"
[ "${1:-}" = postgres ] || exec "$@"
# The public image is compiled with this folder; these binaries with /tmp.
shift
set -- postgres -c unix_socket_directories=/var/run/postgresql "$@"

if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" /var/run/postgresql
  chown -R postgres:postgres "$PGDATA" /var/run/postgresql
  exec setpriv --reuid postgres --regid postgres --init-groups "$0" "$@"
fi

mkdir -p "$PGDATA"
chmod 00700 "$PGDATA" 2>/dev/null || true
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  from_file POSTGRES_USER postgres
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
    echo "The database has no superuser password: set POSTGRES_PASSWORD." >&2
    exit 1
  fi
  # shellcheck disable=SC2086 - several arguments
  initdb --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") $POSTGRES_INITDB_ARGS -D "$PGDATA"
  printf '\nhost all all all %s\n' "$method" >>"$PGDATA/pg_hba.conf"
  # Until everything is made nobody gets in by the network.
  PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -o "$(printf '%q ' "${@:2}") -c listen_addresses= -p 5432" -w start
  ask() { PGPASSWORD="$POSTGRES_PASSWORD" psql -v ON_ERROR_STOP=1 --no-psqlrc -h /var/run/postgresql -U "$POSTGRES_USER" "$@"; }
  [ "$POSTGRES_DB" = postgres ] || ask -d postgres -v db="$POSTGRES_DB" <<<'create database :"db";'
  for file in /docker-entrypoint-initdb.d/*; do
    case "$file" in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) ask -d "$POSTGRES_DB" -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | ask -d "$POSTGRES_DB" ;;
    esac
  done
  PGUSER="$POSTGRES_USER" pg_ctl -D "$PGDATA" -m fast -w stop
  echo 'PostgreSQL init process complete; ready for start up.'
fi
unset POSTGRES_PASSWORD PGPASSWORD
exec "$@"
