// Roles of our own, for Azure's narrowest one that fits machines may change every virtual machine and network.
targetScope = 'subscription'
param environmentName string
param groupId string
param machineGroupId string

resource machineOperator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(machineGroupId, 'machine-operator')
  properties: {
    roleName: 'Nightshift machine operator (${environmentName}, ${uniqueString(machineGroupId)})'
    description: 'Creates, starts, deallocates and deletes machines with their disks and network interfaces.'
    type: 'CustomRole'
    assignableScopes: [machineGroupId]
    permissions: [
      {
        actions: [
          'Microsoft.Compute/virtualMachines/read'
          'Microsoft.Compute/virtualMachines/instanceView/read'
          'Microsoft.Compute/virtualMachines/write'
          'Microsoft.Compute/virtualMachines/start/action'
          'Microsoft.Compute/virtualMachines/deallocate/action'
          'Microsoft.Compute/virtualMachines/delete'
          'Microsoft.Compute/disks/read'
          'Microsoft.Compute/disks/write'
          'Microsoft.Compute/disks/delete'
          'Microsoft.Network/networkInterfaces/read'
          'Microsoft.Network/networkInterfaces/write'
          'Microsoft.Network/networkInterfaces/join/action'
          'Microsoft.Network/networkInterfaces/delete'
        ]
        notActions: []
      }
    ]
  }
}

// One role for three things, each of which has only one of these actions.
resource machinePartsUser 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(groupId, 'machine-parts-user')
  properties: {
    roleName: 'Nightshift machine parts user (${environmentName}, ${uniqueString(groupId)})'
    description: 'Puts machines into a subnet, makes them from an image and gives them an identity.'
    type: 'CustomRole'
    assignableScopes: [groupId]
    permissions: [
      {
        actions: [
          'Microsoft.Network/virtualNetworks/subnets/join/action'
          'Microsoft.Compute/galleries/images/read'
          'Microsoft.Compute/galleries/images/versions/read'
          'Microsoft.ManagedIdentity/userAssignedIdentities/assign/action'
        ]
        notActions: []
      }
    ]
  }
}

resource imagePublisher 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(groupId, 'image-publisher')
  properties: {
    roleName: 'Nightshift image publisher (${environmentName}, ${uniqueString(groupId)})'
    description: 'Adds versions of images to a gallery. Cannot change or remove one.'
    type: 'CustomRole'
    assignableScopes: [groupId]
    permissions: [
      {
        actions: [
          'Microsoft.Compute/galleries/read'
          'Microsoft.Compute/galleries/images/read'
          'Microsoft.Compute/galleries/images/versions/read'
          'Microsoft.Compute/galleries/images/versions/write'
        ]
        notActions: []
      }
    ]
  }
}

output machineOperator string = machineOperator.id
output machinePartsUser string = machinePartsUser.id
output imagePublisher string = imagePublisher.id
