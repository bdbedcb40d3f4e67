#!/bin/sh
# Puts what the secret files say where the programs look for it, readable by this user alone, and becomes the program.
# So a password is in no image, no environment and no argument, and a process started later (docker compose exec) has
# it too.
#
# PGPASS_SECRET   file with a password of PostgreSQL, for ~/.pgpass, which libpq and asyncpg read
# PGPASS_LOGIN    whose it is: host:port:database:user
# PREFECT_SECRET  file with the login "user:password" of the Prefect server, for Prefect's profile
set -eu
umask 077

refuse() {
    echo "motherlode-entrypoint: $1" >&2
    exit 78
}

if [ -n "${PGPASS_SECRET:-}" ]; then
    password=$(cat "$PGPASS_SECRET") || refuse "$PGPASS_SECRET cannot be read by user $(id -u): see docs/containers.md"
    [ -n "$password" ] || refuse "$PGPASS_SECRET is empty"
    escaped=$(printf '%s' "$password" | sed 's/[\\:]/\\&/g')
    printf '%s:%s\n' "${PGPASS_LOGIN:?host:port:database:user}" "$escaped" > "$HOME/.pgpass"
    unset password escaped
fi

if [ -n "${PREFECT_SECRET:-}" ]; then
    login=$(cat "$PREFECT_SECRET") || refuse "$PREFECT_SECRET cannot be read by user $(id -u): see docs/containers.md"
    case $login in
        *[!A-Za-z0-9:._~+/=-]*) refuse "$PREFECT_SECRET may hold letters, digits and : . _ ~ + / = - only" ;;
        ?*:?*) ;;
        *) refuse "$PREFECT_SECRET must say user:password" ;;
    esac
    mkdir -p "$PREFECT_HOME"
    printf '%s\n' 'active = "container"' '[profiles.container]' \
        "PREFECT_API_AUTH_STRING = \"$login\"" "PREFECT_SERVER_API_AUTH_STRING = \"$login\"" \
        > "$PREFECT_HOME/profiles.toml"
    unset login
fi

exec "$@"
