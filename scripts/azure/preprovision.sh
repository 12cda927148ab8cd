#!/usr/bin/env bash
# Before provisioning: is this the right subscription and environment, and can it work at all? Each refusal says what to do.
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
need AZURE_ENV_NAME AZURE_LOCATION AZURE_SUBSCRIPTION_ID

account=$(az account show --query id -o tsv 2>/dev/null) || stop 'the Azure CLI is not signed in' 'az login'
[ "$account" = "$AZURE_SUBSCRIPTION_ID" ] ||
  stop "az works in subscription $account, azd in $AZURE_SUBSCRIPTION_ID" "az account set --subscription $AZURE_SUBSCRIPTION_ID"
[[ $AZURE_ENV_NAME =~ ^[a-z][a-z0-9-]{0,18}[a-z0-9]$ ]] ||
  stop "the environment's name '$AZURE_ENV_NAME' does not fit" '2 to 20 lower-case letters, digits and hyphens, a letter first'

tier=${NIGHTSHIFT_TIER:-dev}
[ -f "infra/environments/$tier.json" ] || stop "there is no tier '$tier'" 'azd env set NIGHTSHIFT_TIER dev|staging|prod'
case "$AZURE_ENV_NAME:$tier" in
  prod*:prod) ;;
  prod*:* | *:prod) stop "environment '$AZURE_ENV_NAME' with the sizes of '$tier'" 'The tier prod is for environments named prod..., and for no other.' ;;
esac
if [ "$tier" = prod ] && [ -z "${CI:-}" ] && [ "${NIGHTSHIFT_CONFIRM:-}" != "$AZURE_ENV_NAME" ]; then
  stop 'this changes production' "NIGHTSHIFT_CONFIRM=$AZURE_ENV_NAME azd provision"
fi

for provider in Microsoft.App Microsoft.Web Microsoft.DurableTask Microsoft.DocumentDB Microsoft.SignalRService \
  Microsoft.KeyVault Microsoft.CognitiveServices Microsoft.Compute Microsoft.Network Microsoft.Storage \
  Microsoft.ManagedIdentity Microsoft.VirtualMachineImages Microsoft.ContainerInstance Microsoft.OperationalInsights \
  Microsoft.Insights Microsoft.Consumption; do
  state=$(az provider show --namespace "$provider" --query registrationState -o tsv)
  if [ "$state" != Registered ]; then
    say "registering $provider"
    az provider register --namespace "$provider" --wait
  fi
done

# What was deleted but not purged still has the name that Bicep is about to use.
deleted=$(
  az keyvault list-deleted --resource-type vault --query "[?properties.tags.environment=='$AZURE_ENV_NAME'].name" -o tsv
  az cognitiveservices account list-deleted --query "[?tags.environment=='$AZURE_ENV_NAME'].name" -o tsv
)
if [ -n "$deleted" ]; then
  stop "deleted, but not purged:" "$(echo "$deleted" | tr '\n' ' ')   scripts/azure/teardown.sh --purge-only"
fi

# Azure takes the first day of the present month when the budget is made, and never another one after that.
[ -n "${NIGHTSHIFT_BUDGET_START:-}" ] || azd env set NIGHTSHIFT_BUDGET_START "$(date -u +%Y-%m-01)"

[ "${NIGHTSHIFT_SIGN_IN:-}" != 1 ] || "$(dirname "$0")/sign_in.sh" register
