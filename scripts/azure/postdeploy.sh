#!/usr/bin/env bash
# After a deployment: the worker's source, then a look at the whole from outside.
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
need NIGHTSHIFT_PUBLIC_URL
"$(dirname "$0")/upload_worker.sh"

if [ -n "${NIGHTSHIFT_ENTRA_CLIENT_ID:-}" ] && [ -z "${NIGHTSHIFT_TOKEN:-}" ]; then
  NIGHTSHIFT_TOKEN=$(az account get-access-token --resource "api://$NIGHTSHIFT_ENTRA_CLIENT_ID" --query accessToken -o tsv 2>/dev/null) ||
    say 'no token for the app: the smoke session is left out'
  export NIGHTSHIFT_TOKEN
fi
python3 "$(dirname "$0")/../verify_deployment.py" "$NIGHTSHIFT_PUBLIC_URL"
