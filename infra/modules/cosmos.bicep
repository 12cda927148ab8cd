// The store: one container of documents, partitioned by session.
param location string
param tags object
param token string
@description('Autoscale up to this many request units a second; 0: serverless.')
param maximumRUs int
param backup string
param zoneRedundant bool
param subnetId string
param zoneId string
param workspaceId string
@description('Principal that reads and writes documents.')
param contributor string

var serverless = maximumRUs == 0
var dataContributor = '00000000-0000-0000-0000-000000000002' // built in, of Cosmos DB's own roles

resource account 'Microsoft.DocumentDB/databaseAccounts@2025-04-15' = {
  name: 'cosmos-${token}'
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: [
      {
        locationName: location
        failoverPriority: 0
        isZoneRedundant: zoneRedundant
      }
    ]
    capabilities: serverless ? [{ name: 'EnableServerless' }] : []
    // A bell that is rung tells of a message that was written. Whichever instance of the app answers it must see that
    // message: in the region of the writes this level reads the newest, Session (the default) does not.
    consistencyPolicy: {
      defaultConsistencyLevel: 'BoundedStaleness'
      maxStalenessPrefix: 100000
      maxIntervalInSeconds: 300
    }
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: backup }
    }
    disableLocalAuth: true
    disableKeyBasedMetadataWriteAccess: true
    enableAutomaticFailover: true
    enableMultipleWriteLocations: false // `seq` is given by the one that comes first
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: 'Disabled'
    networkAclBypass: 'None'
  }
}

resource database 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2025-04-15' = {
  parent: account
  name: 'nightshift'
  tags: tags
  properties: {
    resource: { id: 'nightshift' }
  }
}

resource container 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2025-04-15' = {
  parent: database
  name: 'documents'
  tags: tags
  properties: {
    resource: {
      id: 'documents'
      partitionKey: {
        kind: 'Hash'
        version: 2
        paths: ['/pk']
      }
      defaultTtl: -1 // nothing expires that does not say so itself
      // Only what nightshift/store/cosmos.py asks for, and the partition key, which is not by itself; `id` always is. A body is never searched, and indexing it would
      // cost most of what a write costs.
      indexingPolicy: {
        indexingMode: 'consistent'
        automatic: true
        includedPaths: [{ path: '/pk/?' }, { path: '/key/?' }, { path: '/listed/?' }, { path: '/owned/?' }, { path: '/sorted/*' }, { path: '/find/*' }]
        excludedPaths: [{ path: '/*' }]
      }
    }
    options: serverless ? {} : { autoscaleSettings: { maxThroughput: maximumRUs } }
  }
}

resource access 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2025-04-15' = {
  parent: account
  name: guid(database.id, contributor, dataContributor)
  properties: {
    principalId: contributor
    roleDefinitionId: '${account.id}/sqlRoleDefinitions/${dataContributor}'
    scope: '${account.id}/dbs/${database.name}'
  }
}

module endpoint 'endpoint.bicep' = {
  name: 'endpoint-cosmos'
  params: {
    location: location
    tags: tags
    name: account.name
    subnetId: subnetId
    targetId: account.id
    part: 'Sql'
    zoneId: zoneId
  }
}

// Who changed the account. Requests for documents are counted by metrics; a line for each would cost more than they do.
resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: account
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'ControlPlaneRequests', enabled: true }]
  }
}

output id string = account.id
output endpoint string = account.properties.documentEndpoint
