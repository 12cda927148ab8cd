// Private DNS: inside the network the public names of the services lead to their private endpoints.
param tags object
param vnetId string

var names = [
  'privatelink.blob.${environment().suffixes.storage}'
  'privatelink.queue.${environment().suffixes.storage}'
  'privatelink.table.${environment().suffixes.storage}'
  'privatelink.documents.azure.com'
  'privatelink.vaultcore.azure.net'
  'privatelink.webpubsub.azure.com'
  'privatelink.openai.azure.com'
  'privatelink.durabletask.io'
]

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for name in names: {
  name: name
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (name, index) in names: {
  parent: zones[index]
  name: 'nightshift'
  location: 'global'
  tags: tags
  properties: {
    virtualNetwork: { id: vnetId }
    registrationEnabled: false
  }
}]

output storage object = {
  blob: zones[0].id
  queue: zones[1].id
  table: zones[2].id
}
output cosmos string = zones[3].id
output vault string = zones[4].id
output pubsub string = zones[5].id
output openai string = zones[6].id
output scheduler string = zones[7].id
