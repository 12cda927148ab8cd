# Sourced by the hooks. azd hands them its environment, so what Bicep gave out and what `azd env set` kept are variables.
# shellcheck shell=bash
set -euo pipefail

say() { echo "nightshift: $*" >&2; }
stop() { say "$1"; [ $# -lt 2 ] || say "  $2"; exit 1; }
need() {
  for each in "$@"; do
    [ -n "${!each:-}" ] || stop "$each is not set" "Run this by azd (azd hooks run ...), or set it: azd env set $each VALUE"
  done
}
arm() { az rest --only-show-errors --method "$1" --url "https://management.azure.com$2" "${@:3}"; }
group() { echo "/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP"; }
