#!/usr/bin/env bash
# Puts into the vault what is not there yet.
#
#   secrets.sh               signing key: made; GitHub token or app key: taken from the environment, or asked for
#   secrets.sh rotate NAME   signing-key | github-token | github-app-private-key
#
# It goes through the resource manager, as a deployment would: the vault itself answers only inside the network. Values
# pass in files that only you can read, never on a command line, and are no parameter of any deployment.
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
need AZURE_SUBSCRIPTION_ID AZURE_RESOURCE_GROUP NIGHTSHIFT_VAULT_NAME NIGHTSHIFT_APP_NAME

umask 077
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
place() { echo "$(group)/providers/Microsoft.KeyVault/vaults/$NIGHTSHIFT_VAULT_NAME/secrets/$1?api-version=2024-11-01"; }
is_there() { arm get "$(place "$1")" -o none 2>/dev/null; }

# put NAME < VALUE
put() {
  python3 -c 'import json, sys; print(json.dumps({"properties": {"value": sys.stdin.read().strip()}}))' > "$folder/body"
  arm put "$(place "$1")" --body "@$folder/body" -o none
  rm "$folder/body"
  say "secret $1 is in the vault"
}

value_of() {
  case $1 in
    signing-key) openssl rand -hex 32 ;;
    github-token)
      if [ -n "${GITHUB_TOKEN:-}" ]; then printenv GITHUB_TOKEN; elif [ -t 0 ]; then
        read -rsp 'GitHub token (may push and open pull requests): ' answer && echo >&2 && echo "$answer"
      fi ;;
    github-app-private-key) [ -z "${GITHUB_APP_PRIVATE_KEY_FILE:-}" ] || cat "$GITHUB_APP_PRIVATE_KEY_FILE" ;;
    *) stop "there is no secret '$1'" ;;
  esac
}

fill() {
  value_of "$1" > "$folder/value"
  [ -s "$folder/value" ] || stop "nothing to put into $1" "$2"
  put "$1" < "$folder/value"
}

if [ "${1:-}" = rotate ]; then
  fill "${2:?which secret?}" 'Set GITHUB_TOKEN or GITHUB_APP_PRIVATE_KEY_FILE'
else
  is_there signing-key || fill signing-key ''
  if [ -n "${GITHUB_APP_ID:-}" ]; then
    is_there github-app-private-key || fill github-app-private-key 'GITHUB_APP_PRIVATE_KEY_FILE=app.pem azd hooks run postprovision'
  else
    is_there github-token || fill github-token 'GITHUB_TOKEN=... azd hooks run postprovision'
  fi
fi

# The app looks at its references once a day, or now.
arm post "$(group)/providers/Microsoft.Web/sites/$NIGHTSHIFT_APP_NAME/config/configreferences/appsettings/refresh?api-version=2022-03-01" -o none
