// azd and `az deployment sub` both read this. One file for all environments: the variable NIGHTSHIFT_TIER chooses the
// sizes, azd's environment (azd env set NAME VALUE) gives the rest. No value here is a secret.
using 'main.bicep'

var tiers = {
  dev: loadJsonContent('environments/dev.json')
  staging: loadJsonContent('environments/staging.json')
  prod: loadJsonContent('environments/prod.json')
}

var emails = readEnvironmentVariable('NIGHTSHIFT_ALERT_EMAILS', '')
var addresses = readEnvironmentVariable('NIGHTSHIFT_ALLOWED_ADDRESSES', '')
var modelRegion = readEnvironmentVariable('NIGHTSHIFT_MODEL_LOCATION', '')

param environmentName = readEnvironmentVariable('AZURE_ENV_NAME')
param location = readEnvironmentVariable('AZURE_LOCATION')
param modelLocation = empty(modelRegion) ? readEnvironmentVariable('AZURE_LOCATION') : modelRegion
param size = tiers[readEnvironmentVariable('NIGHTSHIFT_TIER', 'dev')]
param taskHub = readEnvironmentVariable('NIGHTSHIFT_TASK_HUB', 'scheduler')
param privateScheduler = bool(readEnvironmentVariable('NIGHTSHIFT_PRIVATE_SCHEDULER', 'true'))
param entraClientId = readEnvironmentVariable('NIGHTSHIFT_ENTRA_CLIENT_ID', '')
param allowedAddresses = empty(addresses) ? [] : split(addresses, ',')
param deployerPrincipalId = readEnvironmentVariable('AZURE_PRINCIPAL_ID', '')
param gitHubApiUrl = readEnvironmentVariable('GITHUB_API_URL', 'https://api.github.com')
param gitHubAppId = readEnvironmentVariable('GITHUB_APP_ID', '')
param alertEmails = empty(emails) ? [] : split(emails, ',')
param alertWebhook = readEnvironmentVariable('NIGHTSHIFT_ALERT_WEBHOOK', '')
param budgetStart = readEnvironmentVariable('NIGHTSHIFT_BUDGET_START')
