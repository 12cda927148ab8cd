// One network, its subnets in the same resource: a second deployment then changes nothing, and nothing that follows can
// run before a subnet is there.
//
//   machines           agents. Nobody may call them; out to the internet on three ports, in here only to machine-endpoints
//   app                where the function app comes out
//   app-endpoints      private endpoints of the data: store, files, vault, hub, live channel
//   machine-endpoints  private endpoints that machines need: their source and the model
param location string
param tags object
param token string
@description('Address ranges: network, and in it machines, app, appEndpoints, machineEndpoints.')
param addresses object
param zoneRedundant bool

var denyInbound = {
  name: 'deny-inbound'
  properties: {
    description: 'Also what the default rules would let in from this network and from load balancers.'
    priority: 4096
    direction: 'Inbound'
    access: 'Deny'
    protocol: '*'
    sourceAddressPrefix: '*'
    sourcePortRange: '*'
    destinationAddressPrefix: '*'
    destinationPortRange: '*'
  }
}

resource machinesRules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-machines-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      denyInbound
      {
        name: 'allow-machine-endpoints'
        properties: {
          description: 'Source of the worker, model.'
          priority: 100
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: addresses.machineEndpoints
          destinationPortRange: '443'
        }
      }
      {
        name: 'deny-network'
        properties: {
          description: 'Other machines, the endpoints of the data, peered networks. Not the DNS and metadata services of the platform, which no rule of this kind reaches.'
          priority: 200
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: 'VirtualNetwork'
          destinationPortRange: '*'
        }
      }
      {
        name: 'allow-internet'
        properties: {
          description: 'Git, package registries, the app itself.'
          priority: 300
          direction: 'Outbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: 'Internet'
          destinationPortRanges: ['22', '80', '443']
        }
      }
      {
        name: 'deny-outbound'
        properties: {
          description: 'Mail, databases, anything by UDP.'
          priority: 4096
          direction: 'Outbound'
          access: 'Deny'
          protocol: '*'
          sourceAddressPrefix: '*'
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '*'
        }
      }
    ]
  }
}

resource appRules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-app-${token}'
  location: location
  tags: tags
  properties: { securityRules: [denyInbound] }
}

resource appEndpointsRules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-app-endpoints-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      denyInbound
      {
        name: 'allow-app'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefix: addresses.app
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
    ]
  }
}

resource machineEndpointsRules 'Microsoft.Network/networkSecurityGroups@2024-07-01' = {
  name: 'nsg-machine-endpoints-${token}'
  location: location
  tags: tags
  properties: {
    securityRules: [
      denyInbound
      {
        name: 'allow-machines-and-app'
        properties: {
          priority: 100
          direction: 'Inbound'
          access: 'Allow'
          protocol: 'Tcp'
          sourceAddressPrefixes: [addresses.machines, addresses.app]
          sourcePortRange: '*'
          destinationAddressPrefix: '*'
          destinationPortRange: '443'
        }
      }
    ]
  }
}

resource publicAddress 'Microsoft.Network/publicIPAddresses@2024-07-01' = {
  name: 'pip-nat-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  // A NAT gateway lives in one zone or in none, never in all.
  zones: zoneRedundant ? ['1', '2', '3'] : []
  properties: { publicIPAllocationMethod: 'Static' }
}

// The way out is named: subnets are closed by default, and one fixed address can be put on other people's allow lists.
resource nat 'Microsoft.Network/natGateways@2024-07-01' = {
  name: 'nat-${token}'
  location: location
  tags: tags
  sku: { name: 'Standard' }
  properties: {
    idleTimeoutInMinutes: 10
    publicIpAddresses: [{ id: publicAddress.id }]
  }
}

resource vnet 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: 'vnet-${token}'
  location: location
  tags: tags
  properties: {
    addressSpace: { addressPrefixes: [addresses.network] }
    subnets: [
      {
        name: 'machines'
        properties: {
          addressPrefix: addresses.machines
          networkSecurityGroup: { id: machinesRules.id }
          natGateway: { id: nat.id }
          defaultOutboundAccess: false
        }
      }
      {
        name: 'app'
        properties: {
          addressPrefix: addresses.app
          networkSecurityGroup: { id: appRules.id }
          natGateway: { id: nat.id }
          defaultOutboundAccess: false
          delegations: [
            {
              name: 'flex-consumption'
              properties: { serviceName: 'Microsoft.App/environments' }
            }
          ]
        }
      }
      {
        name: 'app-endpoints'
        properties: {
          addressPrefix: addresses.appEndpoints
          networkSecurityGroup: { id: appEndpointsRules.id }
          privateEndpointNetworkPolicies: 'Enabled' // or its rules would not count for private endpoints
          defaultOutboundAccess: false
        }
      }
      {
        name: 'machine-endpoints'
        properties: {
          addressPrefix: addresses.machineEndpoints
          networkSecurityGroup: { id: machineEndpointsRules.id }
          privateEndpointNetworkPolicies: 'Enabled'
          defaultOutboundAccess: false
        }
      }
    ]
  }

  resource machines 'subnets' existing = {
    name: 'machines'
  }
  resource app 'subnets' existing = {
    name: 'app'
  }
  resource appEndpoints 'subnets' existing = {
    name: 'app-endpoints'
  }
  resource machineEndpoints 'subnets' existing = {
    name: 'machine-endpoints'
  }
}

output vnetId string = vnet.id
output vnetName string = vnet.name
output machinesSubnetId string = vnet::machines.id
output machinesSubnetName string = vnet::machines.name
output appSubnetId string = vnet::app.id
output appEndpointsSubnetId string = vnet::appEndpoints.id
output machineEndpointsSubnetId string = vnet::machineEndpoints.id
output publicAddress string = publicAddress.properties.ipAddress
