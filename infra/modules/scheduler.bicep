// The task hub: where orchestrations are kept and woken.
param location string
param tags object
param token string
param hubName string
param sku string
@description('Capacity units of the Dedicated SKU.')
param capacity int
@description('By private endpoint; else open to publicAddress alone.')
param private bool
param publicAddress string
param subnetId string
param zoneId string
@description('Principal that starts, runs and wakes orchestrations.')
param contributor string

var dataContributor = '0ad04412-c4d5-4796-b79c-f76d14c8d402'

resource scheduler 'Microsoft.DurableTask/schedulers@2026-02-01' = {
  name: 'dts-${token}'
  location: location
  tags: tags
  properties: {
    sku: sku == 'Dedicated' ? { name: sku, capacity: capacity } : { name: sku }
    publicNetworkAccess: private ? 'Disabled' : 'Enabled'
    ipAllowlist: private ? [] : ['${publicAddress}/32'] // an empty list lets nobody in
  }
}

resource hub 'Microsoft.DurableTask/schedulers/taskHubs@2026-02-01' = {
  parent: scheduler
  name: hubName
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: hub
  name: guid(hub.id, contributor, dataContributor)
  properties: {
    principalId: contributor
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', dataContributor)
  }
}

module endpoint 'endpoint.bicep' = if (private) {
  name: 'endpoint-scheduler'
  params: {
    location: location
    tags: tags
    name: scheduler.name
    subnetId: subnetId
    targetId: scheduler.id
    part: 'scheduler'
    zoneId: zoneId
  }
}

output endpoint string = scheduler.properties.endpoint
