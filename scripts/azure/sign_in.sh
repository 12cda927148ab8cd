#!/usr/bin/env bash
# The registration in Entra ID by which people and programs sign in. Roles: user, admin.
#
#   sign_in.sh register    make it, or bring it up to date; before provisioning, which needs its id
#   sign_in.sh connect     tell it the app's address and identity; after provisioning
#
# There is no client secret: the registration trusts the app's identity. May be run again at any time.
# shellcheck source=scripts/azure/common.sh
. "$(dirname "$0")/common.sh"
need AZURE_ENV_NAME

name="Nightshift ($AZURE_ENV_NAME)"
graph=https://graph.microsoft.com/v1.0
body=$(mktemp)
trap 'rm -f "$body"' EXIT
send() { cat > "$body" && az rest --only-show-errors --method "$1" --url "$graph$2" --headers Content-Type=application/json --body "@$body"; }
registration() { az ad app list --display-name "$name" --query '[0].{id: id, appId: appId}' -o tsv; }

register() {
  local id app
  [ -n "$(registration)" ] || az ad app create --display-name "$name" --sign-in-audience AzureADMyOrg --only-show-errors -o none
  read -r id app < <(registration)
  # The ids are fixed, so that a second run changes nothing. 04b07795... is the Azure CLI: it may ask for tokens, so that
  # `az account get-access-token --resource api://<id>` works for people and pipelines.
  send PATCH "/applications/$id" <<JSON
{
  "identifierUris": ["api://$app"],
  "api": {
    "requestedAccessTokenVersion": 2,
    "oauth2PermissionScopes": [
      {"id": "7d9a43c2-5d0e-4f0b-9a0e-3a1c6f2b8e01", "value": "user_impersonation", "type": "User", "isEnabled": true,
       "adminConsentDisplayName": "Use Nightshift", "adminConsentDescription": "Use Nightshift as the person who signed in",
       "userConsentDisplayName": "Use Nightshift", "userConsentDescription": "Use Nightshift as you"}
    ],
    "preAuthorizedApplications": [
      {"appId": "04b07795-8ddb-461a-bbee-02f9e1bf7b46", "delegatedPermissionIds": ["7d9a43c2-5d0e-4f0b-9a0e-3a1c6f2b8e01"]}
    ]
  },
  "appRoles": [
    {"id": "7d9a43c2-5d0e-4f0b-9a0e-3a1c6f2b8e02", "value": "user", "displayName": "User", "isEnabled": true,
     "allowedMemberTypes": ["User", "Application"], "description": "Has sessions"},
    {"id": "7d9a43c2-5d0e-4f0b-9a0e-3a1c6f2b8e03", "value": "admin", "displayName": "Admin", "isEnabled": true,
     "allowedMemberTypes": ["User", "Application"], "description": "Sees and steers all sessions"}
  ],
  "web": {"implicitGrantSettings": {"enableIdTokenIssuance": true}}
}
JSON
  az ad sp show --id "$app" -o none 2>/dev/null || az ad sp create --id "$app" --only-show-errors -o none
  azd env set NIGHTSHIFT_ENTRA_CLIENT_ID "$app"
  say "sign-in by '$name' ($app). Give people a role: Entra ID, Enterprise applications, '$name', Users and groups"
}

connect() {
  need NIGHTSHIFT_PUBLIC_URL NIGHTSHIFT_APP_PRINCIPAL_ID AZURE_TENANT_ID
  local id app found
  read -r id app < <(registration)
  send PATCH "/applications/$id" <<< "{\"web\": {\"redirectUris\": [\"$NIGHTSHIFT_PUBLIC_URL/.auth/login/aad/callback\"]}}"
  found=$(az ad app federated-credential list --id "$id" --query "[?name=='nightshift-app'].subject" -o tsv)
  [ "$found" = "$NIGHTSHIFT_APP_PRINCIPAL_ID" ] && return
  [ -z "$found" ] || az ad app federated-credential delete --id "$id" --federated-credential-id nightshift-app
  send POST "/applications/$id/federatedIdentityCredentials" -o none <<JSON
{"name": "nightshift-app", "subject": "$NIGHTSHIFT_APP_PRINCIPAL_ID", "audiences": ["api://AzureADTokenExchange"],
 "issuer": "https://login.microsoftonline.com/$AZURE_TENANT_ID/v2.0"}
JSON
}

case ${1:-} in
  register | connect) "$1" ;;
  *) stop 'say register or connect' ;;
esac
