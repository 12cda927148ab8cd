// What a machine is made of, elsewhere: its subnet, its image, its identity. Each right ends at that one thing.
param operator string
param roleId string
param vnetName string
param subnetName string
param galleryName string
param identityName string

resource subnet 'Microsoft.Network/virtualNetworks/subnets@2024-07-01' existing = {
  name: '${vnetName}/${subnetName}'
}

resource gallery 'Microsoft.Compute/galleries@2024-03-03' existing = {
  name: galleryName
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' existing = {
  name: identityName
}

resource joinSubnet 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: subnet
  name: guid(subnet.id, operator, roleId)
  properties: {
    principalId: operator
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}

resource readImage 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: gallery
  name: guid(gallery.id, operator, roleId)
  properties: {
    principalId: operator
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}

resource giveIdentity 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: identity
  name: guid(identity.id, operator, roleId)
  properties: {
    principalId: operator
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}
