#!/usr/bin/env bash
# Removes an environment with everything in it: conversations, files, images, machines. Asks for its name first.
#
#   teardown.sh                 all of it; what Azure keeps after a deletion is purged too
#   teardown.sh --purge-only    only what an earlier deletion left behind
#   teardown.sh --with-sign-in  the registration in Entra ID as well
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
need AZURE_ENV_NAME AZURE_SUBSCRIPTION_ID

main="rg-nightshift-$AZURE_ENV_NAME"
machines="$main-machines"
az account set --subscription "$AZURE_SUBSCRIPTION_ID"

purge() {
  az keyvault list-deleted --resource-type vault --query "[?properties.tags.environment=='$AZURE_ENV_NAME'].[name, properties.location]" -o tsv |
    while read -r name location; do
      az keyvault purge --name "$name" --location "$location" ||
        say "vault $name has purge protection: its name is blocked until its 90 days are over"
    done
  az cognitiveservices account list-deleted --query "[?tags.environment=='$AZURE_ENV_NAME'].[name, location, id]" -o tsv |
    while read -r name location id; do
      az cognitiveservices account purge --name "$name" --location "$location" --resource-group "$(cut -d/ -f9 <<< "$id")"
    done
}

if [ "${1:-}" = --purge-only ]; then
  purge
  exit
fi

say "This deletes $main and $machines in subscription $AZURE_SUBSCRIPTION_ID, with all conversations."
answer=${NIGHTSHIFT_CONFIRM:-}
[ -n "$answer" ] || read -rp "Type the environment's name to go on: " answer
[ "$answer" = "$AZURE_ENV_NAME" ] || stop 'nothing was deleted'

# Templates first: their groups (IT_...) go with them, and would stay behind without them.
az resource list -g "$main" --resource-type Microsoft.VirtualMachineImages/imageTemplates --query '[].id' -o tsv 2>/dev/null |
  while read -r id; do az resource delete --ids "$id" -o none; done
# Without --force a workspace stays for 14 days under its name.
az monitor log-analytics workspace list -g "$main" --query '[].name' -o tsv 2>/dev/null |
  while read -r name; do az monitor log-analytics workspace delete -g "$main" -n "$name" --force --yes -o none; done
# Machines before the network they are in.
for each in "$machines" "$main"; do
  if [ "$(az group exists -n "$each")" = true ]; then az group delete -n "$each" --yes; fi
done

az role definition list --custom-role-only --query "[?starts_with(roleName, 'Nightshift ') && contains(roleName, '($AZURE_ENV_NAME, ')].name" -o tsv |
  while read -r role; do az role definition delete --name "$role" --custom-role-only; done
arm delete "/subscriptions/$AZURE_SUBSCRIPTION_ID/providers/Microsoft.Consumption/budgets/nightshift-$AZURE_ENV_NAME?api-version=2024-08-01" -o none || true
purge

if [ "${1:-}" = --with-sign-in ]; then
  az ad app list --display-name "Nightshift ($AZURE_ENV_NAME)" --query '[].id' -o tsv |
    while read -r id; do az ad app delete --id "$id"; done
fi
say "$AZURE_ENV_NAME is gone. azd keeps its settings: azd env delete $AZURE_ENV_NAME"
