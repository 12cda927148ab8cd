// Three identities that share nothing: what one of them may do is of no use to whoever takes over another.
param location string
param tags object
param environmentName string

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-nightshift-${environmentName}-app'
  location: location
  tags: tags
}

// All machines share it: an identity for each would need the right to assign roles at run time.
resource machine 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-nightshift-${environmentName}-machine'
  location: location
  tags: tags
}

resource builder 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-nightshift-${environmentName}-image-builder'
  location: location
  tags: tags
}

output app object = {
  id: app.id
  clientId: app.properties.clientId
  principalId: app.properties.principalId
}
output machine object = {
  id: machine.id
  name: machine.name
  principalId: machine.properties.principalId
}
output builder object = {
  id: builder.id
  principalId: builder.properties.principalId
}
