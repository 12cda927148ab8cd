// A storage account without keys and without a public door, its containers, and who may do what in it.
param location string
param tags object
@maxLength(24)
param name string
param sku string
param containers array
param subnetId string
@description('Which parts get a private endpoint: blob, queue, table.')
param services array
@description('Id of the DNS zone of each part.')
param zoneIds object
@description('May do everything with the data. The Functions host needs it: it keeps leases and host keys here.')
param accountOwners array = []
@description('May read the first container, no other.')
param containerReaders array = []
@description('May read and write the first container, no other.')
param containerWriters array = []

var blobDataOwner = 'b7e6dc6d-f1e8-4753-8033-0f276bb0955b'
var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var blobDataReader = '2a2b9908-6ea1-4ae2-8e65-a410df84e7d1'
var queueDataContributor = '974c5e8b-45b9-4653-ba55-5f855dd0fb88'
var tableDataContributor = '0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3'
var hub = contains(services, 'queue')

resource account 'Microsoft.Storage/storageAccounts@2025-01-01' = {
  // checkov:skip=CKV_AZURE_36: nothing of Azure's own comes in past the private endpoint; the firewall makes no exception
  // checkov:skip=CKV_AZURE_206: the environment's file says how often it is kept: once in dev, in three zones elsewhere
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  properties: {
    accessTier: 'Hot'
    allowSharedKeyAccess: false
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: 'Disabled'
    networkAcls: {
      defaultAction: 'Deny'
      bypass: 'None'
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-01-01' = {
  parent: account
  name: 'default'
  properties: {
    deleteRetentionPolicy: {
      enabled: true
      days: 14
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: 14
    }
    isVersioningEnabled: true
  }
}

resource folders 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-01-01' = [for container in containers: {
  parent: blobs
  name: container
  properties: { publicAccess: 'None' }
}]

// Versions make an overwritten file come back; kept for ever they would only cost.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-01-01' = {
  parent: account
  name: 'default'
  dependsOn: [blobs]
  properties: {
    policy: {
      rules: [
        {
          name: 'old-versions'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: { blobTypes: ['blockBlob'] }
            actions: {
              version: {
                delete: { daysAfterCreationGreaterThan: 30 }
              }
            }
          }
        }
      ]
    }
  }
}

module endpoints 'endpoint.bicep' = [for service in services: {
  name: 'endpoint-${name}-${service}'
  params: {
    location: location
    tags: tags
    name: '${name}-${service}'
    subnetId: subnetId
    targetId: account.id
    part: service
    zoneId: zoneIds[service]
  }
}]

resource owners 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principal in accountOwners: {
  scope: account
  name: guid(account.id, principal, blobDataOwner)
  properties: {
    principalId: principal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataOwner)
  }
}]

resource queueOwners 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principal in (hub ? accountOwners : []): {
  scope: account
  name: guid(account.id, principal, queueDataContributor)
  properties: {
    principalId: principal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', queueDataContributor)
  }
}]

resource tableOwners 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principal in (hub ? accountOwners : []): {
  scope: account
  name: guid(account.id, principal, tableDataContributor)
  properties: {
    principalId: principal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', tableDataContributor)
  }
}]

resource readers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principal in containerReaders: {
  scope: folders[0]
  name: guid(folders[0].id, principal, blobDataReader)
  properties: {
    principalId: principal
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataReader)
  }
}]

// Without principalType: a person deploys from a laptop, a service principal from a pipeline.
resource writers 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for principal in containerWriters: {
  scope: folders[0]
  name: guid(folders[0].id, principal, blobDataContributor)
  properties: {
    principalId: principal
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
  }
}]

output name string = account.name
output blobEndpoint string = account.properties.primaryEndpoints.blob
