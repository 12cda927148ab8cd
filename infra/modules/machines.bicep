// The group of the machines holds no resource of the template: what is in it comes and goes with sessions.
param operator string
param operatorRoleId string

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(resourceGroup().id, operator, operatorRoleId)
  properties: {
    principalId: operator
    principalType: 'ServicePrincipal'
    roleDefinitionId: operatorRoleId
  }
}
