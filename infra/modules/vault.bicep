// The vault, empty: the hook after provisioning puts the secrets in, so that none of them is ever a parameter.
param location string
param tags object
param token string
param purgeProtection bool
param subnetId string
param zoneId string
param workspaceId string
@description('Principal that reads secrets.')
param reader string

var secretsUser = '4633458b-17de-408a-b874-0445c86b69e6'

resource vault 'Microsoft.KeyVault/vaults@2024-11-01' = {
  // checkov:skip=CKV_AZURE_110: on in prod; elsewhere it would block the name for 90 days after a teardown
  // checkov:skip=CKV_AZURE_42: soft delete is on everywhere, purge protection in prod
  name: 'kv-${token}'
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    enableRbacAuthorization: true
    enabledForDeployment: false
    enabledForDiskEncryption: false
    enabledForTemplateDeployment: false
    enableSoftDelete: true
    softDeleteRetentionInDays: 90
    // Null, for Azure takes no false. With it a name is blocked for 90 days after a teardown, so only prod has it.
    enablePurgeProtection: purgeProtection ? true : null
    publicNetworkAccess: 'Disabled'
    networkAcls: {
      defaultAction: 'Deny'
      bypass: 'None'
    }
  }
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: vault
  name: guid(vault.id, reader, secretsUser)
  properties: {
    principalId: reader
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', secretsUser)
  }
}

module endpoint 'endpoint.bicep' = {
  name: 'endpoint-vault'
  params: {
    location: location
    tags: tags
    name: vault.name
    subnetId: subnetId
    targetId: vault.id
    part: 'vault'
    zoneId: zoneId
  }
}

resource log 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'workspace'
  properties: {
    workspaceId: workspaceId
    logs: [{ categoryGroup: 'audit', enabled: true }]
  }
}

output name string = vault.name
