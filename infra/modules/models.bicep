// The model account and its deployments. Only machines call it, by their identity, over the network.
param location string
@description('Region of the network: a private endpoint lives there, wherever the account is.')
param endpointLocation string
param tags object
param token string
param models array
param subnetId string
param zoneId string
param workspaceId string
@description('Principal that calls the models.')
param user string

var openAIUser = '5e0bd9bd-7b93-4f28-af87-19fc36ad61bd'

resource account 'Microsoft.CognitiveServices/accounts@2025-06-01' = {
  // checkov:skip=CKV_AZURE_238: it calls nobody, so it needs no identity
  name: 'oai-${token}'
  location: location
  tags: tags
  kind: 'OpenAI'
  sku: { name: 'S0' }
  properties: {
    customSubDomainName: 'oai-${token}' // tokens and private endpoints want a name of its own
    disableLocalAuth: true
    publicNetworkAccess: 'Disabled'
    networkAcls: {
      defaultAction: 'Deny'
    }
  }
}

@batchSize(1) // the service refuses two at once
resource deployments 'Microsoft.CognitiveServices/accounts/deployments@2025-06-01' = [for model in models: {
  parent: account
  name: model.name
  sku: {
    name: model.sku
    capacity: model.capacity
  }
  properties: {
    model: {
      format: 'OpenAI'
      name: model.model
      version: model.version
    }
    versionUpgradeOption: 'NoAutoUpgrade' // the model that was tried is the model that runs
  }
}]

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: account
  name: guid(account.id, user, openAIUser)
  properties: {
    principalId: user
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', openAIUser)
  }
}

module endpoint 'endpoint.bicep' = {
  name: 'endpoint-models'
  // The account refuses a second change while a deployment is being made.
  dependsOn: [deployments]
  params: {
    location: endpointLocation
    tags: tags
    name: account.name
    subnetId: subnetId
    targetId: account.id
    part: 'account'
    zoneId: zoneId
  }
}

resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: account
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'Audit', enabled: true }]
  }
}

output id string = account.id
output baseUrl string = 'https://${account.properties.customSubDomainName}.openai.azure.com/openai/v1/'
