#!/usr/bin/env bash
# Uploads the source of the worker; machines take it at their next boot.
#
# The account has no public door. For the time of the upload it is opened to this computer's address alone, and closed
# again whatever happens; only the worker's source lies in it. NIGHTSHIFT_UPLOAD=inside: this computer is in the network
# (a self-hosted runner), leave the door alone.
#
#   upload_worker.sh                upload it, if it is not there already
#   upload_worker.sh --pack FILE    only pack it
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
cd "$(dirname "$0")/../.."

folder=$(mktemp -d)
address=''
close() {
  rm -rf "$folder"
  [ -n "$address" ] || return 0
  az storage account network-rule remove -g "$AZURE_RESOURCE_GROUP" -n "$NIGHTSHIFT_WORKER_STORAGE" --ip-address "$address" -o none || true
  az storage account update -g "$AZURE_RESOURCE_GROUP" -n "$NIGHTSHIFT_WORKER_STORAGE" --public-network-access Disabled -o none ||
    say "CLOSE IT BY HAND: az storage account update -g $AZURE_RESOURCE_GROUP -n $NIGHTSHIFT_WORKER_STORAGE --public-network-access Disabled"
}
trap close EXIT

# The same source makes the same archive, whoever packs it when.
tar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --exclude=__pycache__ --exclude='*.pyc' \
  -cf - worker nightshift requirements.txt | gzip -n > "$folder/worker.tar.gz"
digest=$(sha256sum "$folder/worker.tar.gz" | cut -d' ' -f1)
if [ "${1:-}" = --pack ]; then
  cp "$folder/worker.tar.gz" "${2:?where to?}"
  exit
fi
need AZURE_RESOURCE_GROUP NIGHTSHIFT_WORKER_STORAGE

if [ "${NIGHTSHIFT_UPLOAD:-}" != inside ]; then
  address=${NIGHTSHIFT_UPLOAD_ADDRESS:-$(curl -fsS --max-time 10 https://api.ipify.org)}
  az storage account update -g "$AZURE_RESOURCE_GROUP" -n "$NIGHTSHIFT_WORKER_STORAGE" --public-network-access Enabled --default-action Deny -o none
  az storage account network-rule add -g "$AZURE_RESOURCE_GROUP" -n "$NIGHTSHIFT_WORKER_STORAGE" --ip-address "$address" -o none
fi

blob=(--account-name "$NIGHTSHIFT_WORKER_STORAGE" --container-name worker --name worker.tar.gz --auth-mode login --only-show-errors)
for attempt in $(seq 12); do # a rule takes up to a minute until it counts
  if there=$(az storage blob exists "${blob[@]}" --query exists -o tsv 2>"$folder/why"); then break; fi
  [ "$attempt" -lt 12 ] || stop "cannot reach the account: $(tail -1 "$folder/why")"
  sleep 10
done
if [ "$there" = true ] && [ "$(az storage blob show "${blob[@]}" --query metadata.sha256 -o tsv)" = "$digest" ]; then
  say 'the source of the worker has not changed'
else
  az storage blob upload "${blob[@]}" --file "$folder/worker.tar.gz" --metadata "sha256=$digest" --overwrite --no-progress -o none
  say "source of the worker: ${digest:0:16}"
fi
