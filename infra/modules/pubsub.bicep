// The live channel. Browsers and machines connect from outside, so that door is open, to whoever has a token for a
// group; sending, and making tokens, is only possible from inside.
param location string
param tags object
param token string
param units int
param subnetId string
param zoneId string
param workspaceId string
@description('Principal that sends and makes tokens.')
param owner string

var serviceOwner = '12cf5a90-567b-43ae-8102-96cf46c7d9b4'

resource service 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  // checkov:skip=CKV_AZURE_176: it calls nobody, so it needs no identity
  name: 'wps-${token}'
  location: location
  tags: tags
  kind: 'WebPubSub'
  sku: {
    name: 'Standard_S1' // the free tier has no private endpoint
    capacity: units
  }
  properties: {
    disableLocalAuth: true
    disableAadAuth: false
    publicNetworkAccess: 'Enabled'
    networkACLs: {
      defaultAction: 'Allow'
      publicNetwork: { deny: ['ServerConnection', 'RESTAPI', 'Trace'] }
    }
    tls: { clientCertEnabled: false }
  }
}

resource hub 'Microsoft.SignalRService/webPubSub/hubs@2024-03-01' = {
  parent: service
  name: 'nightshift' // nightshift/live.py names the same
  properties: { anonymousConnectPolicy: 'deny' }
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: service
  name: guid(service.id, owner, serviceOwner)
  properties: {
    principalId: owner
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', serviceOwner)
  }
}

module endpoint 'endpoint.bicep' = {
  name: 'endpoint-pubsub'
  params: {
    location: location
    tags: tags
    name: service.name
    subnetId: subnetId
    targetId: service.id
    part: 'webpubsub'
    zoneId: zoneId
  }
}

resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: service
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'ConnectivityLogs', enabled: true }]
  }
}

output endpoint string = 'https://${service.properties.hostName}'
