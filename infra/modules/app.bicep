// The function app: Flex Consumption, in the network, without a key anywhere.
param location string
param tags object
param token string
param size object
@description('id, clientId')
param identity object
param subnetId string
@description('Addresses that may call; empty: all.')
param allowedAddresses array
param storageName string
param storageEndpoint string
param insightsName string
param vaultName string
param entraClientId string
param gitHubAppId string
@description('Endpoint of the Durable Task Scheduler; empty: the hub is in the storage account.')
param schedulerEndpoint string
@description('App settings that name what else was deployed.')
param settings object

var signIn = !empty(entraClientId)
var name = 'func-nightshift-${token}'
var url = 'https://${name}.azurewebsites.net'
var secret = 'https://${vaultName}${az.environment().suffixes.keyvaultDns}/secrets'

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

var hostSettings = {
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identity.clientId
  AzureWebJobsStorage__accountName: storageName
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString // opens nothing: local auth is off
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identity.clientId};Authorization=AAD'
  AZURE_CLIENT_ID: identity.clientId
  NIGHTSHIFT_PUBLIC_URL: url
  NIGHTSHIFT_SIGNING_KEY: '@Microsoft.KeyVault(SecretUri=${secret}/signing-key)'
}

// The storage hub is laid over host.json, which says the scheduler.
var hubSettings = empty(schedulerEndpoint) ? {
  AzureFunctionsJobHost__extensions__durableTask__storageProvider__type: 'AzureStorage'
  AzureFunctionsJobHost__extensions__durableTask__storageProvider__connectionStringName: 'AzureWebJobsStorage'
} : {
  DURABLE_TASK_SCHEDULER_CONNECTION_STRING: 'Endpoint=${schedulerEndpoint};Authentication=ManagedIdentity;ClientID=${identity.clientId}'
}

// One or the other: a reference to a secret that is not there would come as its own text.
var gitHubSettings = empty(gitHubAppId) ? {
  GITHUB_TOKEN: '@Microsoft.KeyVault(SecretUri=${secret}/github-token)'
} : {
  GITHUB_APP_ID: gitHubAppId
  GITHUB_APP_PRIVATE_KEY: '@Microsoft.KeyVault(SecretUri=${secret}/github-app-private-key)'
}

// The last one: the registration trusts this identity in the place of a client secret.
var signInSettings = signIn ? {
  NIGHTSHIFT_ENTRA_TENANT_ID: tenant().tenantId
  NIGHTSHIFT_ENTRA_CLIENT_ID: entraClientId
  OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identity.clientId
} : {}

resource plan 'Microsoft.Web/serverfarms@2024-11-01' = {
  // checkov:skip=CKV_AZURE_225: the environment's file says so: prod is, dev and staging are not
  name: 'plan-${token}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true // Linux
    zoneRedundant: size.zoneRedundant
  }
}

resource site 'Microsoft.Web/sites@2024-11-01' = {
  // checkov:skip=CKV_AZURE_222: people, machines and GitHub call it; allowedAddresses narrows that
  // checkov:skip=CKV_AZURE_17: its callers are browsers, workers and GitHub, which have tokens and no certificates
  // checkov:skip=CKV_AZURE_212: Flex Consumption has always-ready instances instead, two of each in prod
  // checkov:skip=CKV_AZURE_213: Flex Consumption replaces instances by itself and has no health check; the alert app-down looks
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'app' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: 'Enabled'
    virtualNetworkSubnetId: subnetId
    keyVaultReferenceIdentity: identity.id
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
      ftpsState: 'Disabled'
      ipSecurityRestrictionsDefaultAction: empty(allowedAddresses) ? 'Allow' : 'Deny'
      ipSecurityRestrictions: [for (address, index) in allowedAddresses: {
        name: 'allowed-${index}'
        priority: 100 + index
        action: 'Allow'
        ipAddress: address
      }]
      // Deployments come from anywhere, with a token of Entra ID: basic credentials are off below.
      scmIpSecurityRestrictionsUseMain: false
    }
    functionAppConfig: {
      runtime: {
        name: 'python'
        version: '3.13'
      }
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${storageEndpoint}deployments'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identity.id
          }
        }
      }
      scaleAndConcurrency: {
        instanceMemoryMB: size.instanceMemoryMB
        maximumInstanceCount: size.maximumInstances
        // Each group scales by itself: one for requests, one for orchestrations and activities.
        alwaysReady: [
          { name: 'http', instanceCount: size.alwaysReady }
          { name: 'durable', instanceCount: size.alwaysReady }
        ]
        triggers: {
          http: { perInstanceConcurrency: 100 } // most of them wait for news
        }
      }
    }
  }

  resource ftp 'basicPublishingCredentialsPolicies' = {
    name: 'ftp'
    properties: { allow: false }
  }

  resource scm 'basicPublishingCredentialsPolicies' = {
    name: 'scm'
    properties: { allow: false }
  }

  // The whole set: what was added by hand goes with the next deployment.
  resource appSettings 'config' = {
    name: 'appsettings'
    properties: union(hostSettings, hubSettings, gitHubSettings, signInSettings, settings, size.settings)
  }
}

module signInOfApp 'sign-in.bicep' = if (signIn) {
  name: 'sign-in'
  dependsOn: [site::appSettings] // it names one of them
  params: { siteName: site.name, clientId: entraClientId }
}

output name string = site.name
output url string = url
